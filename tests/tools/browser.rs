//! Pages in a real browser: Chromium without a window.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Returns true if Chromium is installed.
pub(crate) fn browser_works() -> bool {
    browser().is_some()
}

fn browser() -> Option<&'static str> {
    ["chromium", "chromium-browser"].into_iter().find(|name| {
        let version = Command::new(name)
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        version.is_ok_and(|status| status.success())
    })
}

/// Opens a file in Chromium with these options, and returns its output.
fn chromium(folder: &Path, args: &[&str], page: &Path) -> Output {
    chromium_at(folder, args, &format!("file://{}", page.display()))
}

/// Opens an address in Chromium with these options, and returns its output.
fn chromium_at(folder: &Path, args: &[&str], address: &str) -> Output {
    let profile = tempfile::tempdir_in(folder).unwrap();
    let output = Command::new(browser().unwrap())
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args([
            "--enable-logging=stderr",
            "--log-level=0",
            "--timeout=20000",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(args)
        .arg(address)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

/// Returns the page as the browser parsed it. Fails if the console has a message: an error, or an attempt to load
/// anything, which the page's content security policy forbids.
pub(crate) fn opened(folder: &Path, page: &Path) -> String {
    let (page, messages) = opened_with_messages(folder, page);
    assert!(messages.is_empty(), "{messages:#?}");
    page
}

/// Returns the page as the browser parsed it, and the messages of the console.
pub(crate) fn opened_with_messages(folder: &Path, page: &Path) -> (String, Vec<String>) {
    messages_of(chromium(folder, &["--dump-dom"], page))
}

/// Opens an address with these options, and returns the page and the messages of the console.
pub(crate) fn opened_at(folder: &Path, args: &[&str], address: &str) -> (String, Vec<String>) {
    messages_of(chromium_at(folder, args, address))
}

fn messages_of(output: Output) -> (String, Vec<String>) {
    let said = String::from_utf8_lossy(&output.stderr);
    let messages = said.lines().filter(|line| line.contains("CONSOLE"));
    let messages = messages.map(str::to_owned).collect();
    (String::from_utf8(output.stdout).unwrap(), messages)
}

/// Fails if the page needs sideways scrolling on a phone. Another page shows it in a frame as wide as a phone
/// (360 pixels), and measures the width that it needs. Both pages are in `folder`.
pub(crate) fn assert_that_a_phone_shows_all(folder: &Path, page: &str) {
    // Checks the measurement itself: a page that is too wide must not fit.
    fs::write(folder.join("wide.html"), "<p style='width: 500px'>wide").unwrap();
    let wide = in_a_narrow_frame(folder, "wide.html");
    assert!(wide.contains("<title>fits false</title>"), "{wide}");
    let page = in_a_narrow_frame(folder, page);
    assert!(page.contains("<title>fits true</title>"), "{page}");
}

fn in_a_narrow_frame(folder: &Path, page: &str) -> String {
    let script =
        "document.title = 'fits ' + (f.contentDocument.documentElement.scrollWidth <= 360);";
    in_a_frame(folder, page, 360, script)
}

/// Returns the size of the smallest text on a screen of 400 pixels, in pixels. In a drawing, the size of a text is in
/// the units of the drawing.
pub(crate) fn smallest_text_on_a_phone(folder: &Path, page: &str) -> f64 {
    let script = "const sizes = [...f.contentDocument.querySelectorAll('body *')].filter( \
                      e => [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()) && e.getClientRects().length \
                  ).map(e => { \
                      const size = parseFloat(f.contentWindow.getComputedStyle(e).fontSize); \
                      const svg = e.ownerSVGElement; \
                      return svg ? size * svg.clientWidth / svg.viewBox.baseVal.width : size; \
                  }); \
                  document.title = 'smallest ' + Math.min(...sizes).toFixed(2);";
    let measured = in_a_frame(folder, page, 400, script);
    let smallest = measured
        .split_once("<title>smallest ")
        .and_then(|(_, rest)| rest.split('<').next()?.parse().ok());
    smallest.unwrap_or_else(|| panic!("{measured}"))
}

/// Shows the page in a frame of this width, runs the script in the page around it, where `f` is the frame, and returns
/// the page around it.
fn in_a_frame(folder: &Path, page: &str, width: u32, script: &str) -> String {
    let text = format!(
        "<!DOCTYPE html><iframe style='border:0' width={width} height=600></iframe>\
         <script>const f = document.querySelector('iframe'); f.onload = () => {{ {script} }}; f.src = '{page}'</script>"
    );
    let file = folder.join(format!("around-{page}"));
    fs::write(&file, text).unwrap();
    let asked = [
        "--allow-file-access-from-files",
        "--virtual-time-budget=5000",
        "--dump-dom",
    ];
    let output = chromium(folder, &asked, &file);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Draws the page with light colours, with dark colours and for print. Fails if light and dark do not differ.
pub(crate) fn assert_that_light_dark_and_print_are_drawn(folder: &Path, page: &Path) {
    let picture = |name: &str, args: &[&str]| {
        let file = folder.join(name);
        let to = match name.ends_with("pdf") {
            true => format!("--print-to-pdf={}", file.display()),
            false => format!("--screenshot={}", file.display()),
        };
        let args = [args, &[to.as_str(), "--window-size=1200,2000"]].concat();
        chromium(folder, &args, page);
        fs::read(file).unwrap()
    };
    let light = picture("light.png", &[]);
    let dark = picture("dark.png", &["--blink-settings=preferredColorScheme=0"]);
    let paper = picture("paper.pdf", &[]);
    assert!(light.len() > 20_000 && dark.len() > 20_000 && light != dark);
    assert!(paper.starts_with(b"%PDF") && paper.len() > 20_000);
}
