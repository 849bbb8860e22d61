//! The documents agree with the sources and with each other.
//!
//! The documents are parsed as Markdown and the sources as Rust tokens. The tests look at every `*.md` file of the
//! repository.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use proc_macro2::{TokenStream, TokenTree};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

#[test]
fn every_name_in_a_document_exists_in_the_sources() {
    let mut known = identifiers();
    known.extend(FROM_THE_SYSTEM.map(str::to_owned));
    let mut problems = String::new();
    let mut names = 0;
    for document in documents() {
        for span in &document.code {
            // tests/metrics.rs compares the names of metrics with the running commands.
            if is_long_name(span) && !span.starts_with("mio_echo_") {
                names += 1;
                if !known.contains(span) {
                    let path = document.path.display();
                    writeln!(problems, "{path}: `{span}` is no identifier of the sources").unwrap();
                }
            }
        }
    }
    assert!(names > 200, "only {names} names were found");
    assert!(problems.is_empty(), "\n{problems}");
}

/// Names in the documents that belong to the system, and that the sources reach through a crate.
const FROM_THE_SYSTEM: [&str; 1] = ["tcpi_last_ack_recv"];

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let documents = documents();
    let anchors: BTreeMap<&Path, Vec<String>> = documents
        .iter()
        .map(|document| {
            let anchors = document.headings.iter().map(|(_, text)| anchor(text));
            (document.path.as_path(), anchors.collect())
        })
        .collect();
    let mut problems = String::new();
    let mut links = 0;
    for document in &documents {
        for link in &document.links {
            if link.contains("://") {
                continue;
            }
            links += 1;
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => document.path.clone(),
                file => normal(&document.path.parent().unwrap().join(file)),
            };
            let path = document.path.display();
            if !root().join(&target).exists() {
                writeln!(problems, "{path}: {link}: there is no such file").unwrap();
            } else if !fragment.is_empty()
                && !anchors
                    .get(target.as_path())
                    .is_some_and(|anchors| anchors.iter().any(|anchor| anchor == fragment))
            {
                writeln!(problems, "{path}: {link}: there is no such heading").unwrap();
            }
        }
    }
    assert!(links > 100, "only {links} links were found");
    assert!(problems.is_empty(), "\n{problems}");
}

#[test]
fn each_document_begins_with_its_table_of_contents() {
    let mut checked = 0;
    for document in documents() {
        if !document.path.starts_with("docs") {
            continue;
        }
        checked += 1;
        let mut headings = document.headings.iter();
        assert_eq!(headings.next().unwrap().0, 1, "{}", document.path.display());
        let expected: Vec<String> = headings
            .filter(|(level, _)| *level == 2)
            .map(|(_, text)| format!("#{}", anchor(text)))
            .collect();
        assert_eq!(document.first_list, expected, "{}", document.path.display());
    }
    assert!(checked >= 8, "only {checked} documents were found");
}

#[test]
fn the_readme_has_at_most_150_lines() {
    let lines = fs::read_to_string(root().join("README.md"))
        .unwrap()
        .lines()
        .count();
    assert!(lines <= 150, "{lines} lines");
}

/// Rows of tables are exempt, because Markdown has no line break within a row. So is all that a program wrote: whole
/// files, and blocks of output in the documents (```` ```text ````).
#[test]
fn lines_of_sources_and_documents_have_at_most_120_columns() {
    let mut problems = String::new();
    let mut files = 0;
    for path in repository() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let is_generated = matches!(
            extension,
            Some("lock" | "svg" | "png" | "proptest-regressions")
        ) || name.ends_with(".schema.json")
            || name == "peers.md"
            || name == "survival.html"
            || name.starts_with("LICENSE");
        if is_generated {
            continue;
        }
        files += 1;
        let text = fs::read_to_string(root().join(&path))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let is_document = extension == Some("md");
        let mut is_output = false;
        for (number, line) in text.lines().enumerate() {
            if is_document && line.starts_with("```") {
                is_output = line == "```text";
            }
            let is_row = is_document && line.starts_with('|');
            let columns = line.chars().count();
            if columns > 120 && !is_row && !is_output {
                let path = path.display();
                writeln!(problems, "{path}:{}: {columns} columns", number + 1).unwrap();
            }
        }
    }
    assert!(files > 200, "only {files} files were found");
    assert!(problems.is_empty(), "\n{problems}");
}

#[test]
fn the_picture_of_the_states_has_every_state() {
    let source = fs::read_to_string(root().join("src/server/connection.rs")).unwrap();
    let file = syn::parse_file(&source).unwrap();
    let states = file.items.iter().find_map(|item| match item {
        syn::Item::Enum(item) if item.ident == "State" => Some(&item.variants),
        _ => None,
    });
    let picture = fs::read_to_string(root().join("docs/pictures/states.svg")).unwrap();
    for state in states.expect("connection.rs has no enum State") {
        let label = format!(">{}<", state.ident);
        assert!(
            picture.contains(&label),
            "states.svg has no box {}",
            state.ident
        );
    }
}

#[test]
fn the_documents_have_every_option() {
    for (command, document) in [
        ("serve", "docs/COMMANDS.md"),
        ("send", "docs/COMMANDS.md"),
        ("bench", "docs/BENCHMARKING.md"),
        ("check", "docs/CHECKS.md"),
    ] {
        let help = Command::new(env!("CARGO_BIN_EXE_mio-echo"))
            .args([command, "--help"])
            .output()
            .unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        let text = fs::read_to_string(root().join(document)).unwrap();
        let options: BTreeSet<&str> = help
            .lines()
            .filter_map(|line| {
                let line = line.trim_start();
                let line = line.split_once(", --").map_or(line, |(_, long)| long);
                let name = line.strip_prefix("--").unwrap_or(line);
                let is_option = line != name || help.contains(&format!(", --{name}"));
                let end = name.find(|c: char| !c.is_ascii_lowercase() && c != '-');
                is_option.then(|| &name[..end.unwrap_or(name.len())])
            })
            .filter(|name| !matches!(*name, "" | "help" | "version" | "verbose" | "quiet"))
            .collect();
        assert!(!options.is_empty(), "{help}");
        let missing: Vec<&&str> = options
            .iter()
            .filter(|name| !text.contains(&format!("--{name}")))
            .collect();
        assert!(
            missing.is_empty(),
            "{document} lacks options of {command}: {missing:?}"
        );
    }
}

/// The checks find what they are there to find.
#[test]
fn headings_links_and_tables_of_a_document_are_found() {
    let text = "# A title\n\n- [One](#one)\n- [Two `b`](#two-b)\n\n\
        ## One\n\n- [x](y.md#z) `a_long_name`\n\n## Two `b`\n";
    let document = Document::parse(PathBuf::from("a.md"), text);
    assert_eq!(document.first_list, ["#one", "#two-b"]);
    assert_eq!(document.links, ["#one", "#two-b", "y.md#z"]);
    assert_eq!(document.code, ["b", "a_long_name", "b"]);
    let headings: Vec<String> = document
        .headings
        .iter()
        .map(|(_, text)| anchor(text))
        .collect();
    assert_eq!(headings, ["a-title", "one", "two-b"]);
    assert!(
        is_long_name("a_long_name")
            && !is_long_name("read_file")
            && !is_long_name("two words_or_more")
    );
}

/// What the tests look at in a Markdown file.
struct Document {
    /// Relative to the repository's root.
    path: PathBuf,
    /// Level and text.
    headings: Vec<(u8, String)>,
    /// Targets of links and pictures.
    links: Vec<String>,
    /// Targets of the links in the first list.
    first_list: Vec<String>,
    /// Inline code.
    code: Vec<String>,
}

impl Document {
    fn parse(path: PathBuf, text: &str) -> Document {
        let mut document = Document {
            path,
            headings: Vec::new(),
            links: Vec::new(),
            first_list: Vec::new(),
            code: Vec::new(),
        };
        let mut is_heading = false;
        let mut lists = 0;
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Heading { level, .. }) => {
                    is_heading = true;
                    document.headings.push((level as u8, String::new()));
                }
                Event::End(TagEnd::Heading(_)) => is_heading = false,
                Event::Start(Tag::List(_)) => lists += 1,
                Event::End(TagEnd::List(_)) if lists == 1 => lists = 2,
                Event::Start(Tag::Link { dest_url, .. }) => {
                    if lists == 1 {
                        document.first_list.push(dest_url.to_string());
                    }
                    document.links.push(dest_url.to_string());
                }
                Event::Start(Tag::Image { dest_url, .. }) => {
                    document.links.push(dest_url.to_string())
                }
                Event::Text(text) if is_heading => {
                    document.headings.last_mut().unwrap().1.push_str(&text)
                }
                Event::Code(text) => {
                    if is_heading {
                        document.headings.last_mut().unwrap().1.push_str(&text);
                    }
                    document.code.push(text.to_string());
                }
                _ => {}
            }
        }
        document
    }
}

fn documents() -> Vec<Document> {
    let mut documents = Vec::new();
    for path in repository() {
        if path.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(root().join(&path)).unwrap();
            documents.push(Document::parse(path, &text));
        }
    }
    documents
}

/// Returns the anchor that GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Returns true for names with at least three words, such as those of tests. Shorter ones can belong to the system.
fn is_long_name(code: &str) -> bool {
    code.split('_').filter(|word| !word.is_empty()).count() >= 3
        && code
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Returns every identifier of the Rust sources, also those in the arguments of macros.
fn identifiers() -> BTreeSet<String> {
    fn collect(tokens: TokenStream, found: &mut BTreeSet<String>) {
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => _ = found.insert(ident.to_string()),
                TokenTree::Group(group) => collect(group.stream(), found),
                _ => {}
            }
        }
    }
    let mut found = BTreeSet::new();
    for path in repository() {
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(root().join(&path)).unwrap();
            let tokens = text.parse::<TokenStream>();
            collect(
                tokens.unwrap_or_else(|error| panic!("{}: {error}", path.display())),
                &mut found,
            );
        }
    }
    found
}

/// Returns the files of the repository, without those of Git and of builds. Paths are relative to its root.
fn repository() -> Vec<PathBuf> {
    walkdir::WalkDir::new(root())
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| {
            let name = entry.file_name();
            let is_hidden =
                entry.depth() > 0 && name.to_str().is_some_and(|name| name.starts_with('.'));
            let is_ours = name == ".ci" || name == ".github" || name == ".gitignore";
            (is_ours || !is_hidden) && name != "target" && name != "__pycache__" && name != "corpus"
        })
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| entry.path().strip_prefix(root()).unwrap().to_owned())
        .collect()
}

/// Resolves `..`, without a look at the file system.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part.as_os_str().to_str() {
            Some("..") => _ = normal.pop(),
            _ => normal.push(part),
        }
    }
    normal
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
