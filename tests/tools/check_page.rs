//! The pages of `mio-echo check` in a browser: the grid of several servers, and `docs/survival.html`.

use std::fs;
use std::path::Path;

use crate::browser::{
    assert_that_a_phone_shows_all, assert_that_light_dark_and_print_are_drawn, opened,
    opened_with_messages,
};
use crate::common::mio_echo;

pub(crate) fn a_grid_is_shown_without_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("grid.html");
    let serve = format!("{} serve {{address}} -q", env!("CARGO_BIN_EXE_mio-echo"));
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/00_page_server.py");
    let output = mio_echo()
        .args(["check", "--only", "hello,again,memory", "--html"])
        .arg(&page)
        .arg("--server")
        .arg(format!("mio-echo={serve}"))
        .arg("--server")
        .arg(format!("<b>page</b>=python3 {python} {{address}}"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:#?}");
    let shown = opened(folder.path(), &page);
    for part in [
        "What echo servers survive",
        "mio-echo",
        // The name of a server is text, and never markup.
        "&lt;b&gt;page&lt;/b&gt;",
        "✗",
        "KiB",
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    // A cell that failed leads to what came instead.
    let target = "href=\"#";
    for (at, _) in shown.match_indices(target) {
        let id = shown[at + target.len()..].split('"').next().unwrap();
        assert!(shown.contains(&format!("id=\"{id}\"")), "{id} is no target");
    }
    assert!(shown.contains(target), "no cell leads to its failure");
    assert_that_a_phone_shows_all(folder.path(), "grid.html");
    assert_that_light_dark_and_print_are_drawn(folder.path(), &page);
    // Shows that `opened` would fail for a page that loads anything.
    let text = fs::read_to_string(&page).unwrap();
    let asking = folder.path().join("asking.html");
    fs::write(&asking, text.replace("</h1>", "</h1><img src='a.png'>")).unwrap();
    let (_, messages) = opened_with_messages(folder.path(), &asking);
    assert!(!messages.is_empty(), "the image caused no message");
}

pub(crate) fn the_survival_grid_is_shown_without_the_network() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/survival.html");
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("survival.html");
    fs::copy(page, &copy).unwrap();
    let shown = opened(folder.path(), &copy);
    assert!(shown.contains("socat"), "{shown}");
    assert_that_a_phone_shows_all(folder.path(), "survival.html");
    assert_that_light_dark_and_print_are_drawn(folder.path(), &copy);
}
