//! Licences and sources of all dependencies, as `cargo metadata` lists them. Cargo downloads what is missing, also the
//! crates of other systems.

use cargo_metadata::{CargoOpt, MetadataCommand, Package};
use spdx::{Expression, ParseMode};

/// The project is `MIT OR Apache-2.0`. These licences permit its distribution under those two.
const ALLOWED: [&str; 5] = ["MIT", "Apache-2.0", "MIT-0", "Zlib", "Unicode-3.0"];

/// Crates under another licence, each with its reason.
const EXCEPTIONS: [(&str, &str); 1] = [
    // Colours of log lines, through simple_logger. The MPL covers only the crate's own files, which are not changed.
    ("colored", "MPL-2.0"),
];

#[test]
fn every_dependency_has_an_allowed_licence_and_a_known_source() {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .features(CargoOpt::AllFeatures)
        .other_options(["--locked".to_owned()])
        .exec()
        .unwrap();
    let problems: Vec<String> = metadata.packages.iter().filter_map(problem).collect();
    assert!(
        metadata.packages.len() > 100,
        "only {} packages",
        metadata.packages.len()
    );
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// The checker finds what it is there to find.
#[test]
fn other_licences_are_refused() {
    for (licence, is_allowed) in [
        ("MIT OR Apache-2.0", true),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0-only OR MIT", true),
        ("GPL-3.0-only", false),
        ("MIT AND GPL-3.0-only", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("", false),
        ("my own", false),
    ] {
        assert_eq!(is_permitted("a", licence), is_allowed, "{licence}");
    }
    assert!(is_permitted("colored", "MPL-2.0") && !is_permitted("another", "MPL-2.0"));
}

fn problem(package: &Package) -> Option<String> {
    let name = &package.name;
    let licence = package.license.as_deref().unwrap_or_default();
    if !is_permitted(name, licence) {
        return Some(format!("{name}: the licence {licence:?} is not allowed"));
    }
    match &package.source {
        Some(source) if !source.is_crates_io() => Some(format!("{name}: comes from {source}")),
        _ => None,
    }
}

fn is_permitted(name: &str, licence: &str) -> bool {
    let is_allowed = |one: &str| ALLOWED.contains(&one) || EXCEPTIONS.contains(&(name, one));
    // Some crates still write a slash for OR.
    Expression::parse_mode(licence, ParseMode::LAX).is_ok_and(|expression| {
        expression.evaluate(|requirement| {
            requirement
                .license
                .id()
                .is_some_and(|id| is_allowed(id.name))
        })
    })
}
