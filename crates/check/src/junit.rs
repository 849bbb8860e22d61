//! The report as JUnit XML, which servers for continuous integration read.

use std::fmt::Write;

use crate::grid::{Mark, level_name, place, visible};
use crate::outcome::{Level, Verdict};
use crate::report::{CheckReport, Report, ServerReport};
use crate::words::Language;

/// Writes the report as JUnit XML, in English: a test suite for each server, and a test case for each check.
///
/// A failure is a check of level must or should that failed. A check that was not decided counts as skipped, with the
/// reason, because the format has no other word for it.
#[must_use]
pub fn junit(report: &Report) -> String {
    let all = report.servers.iter().flat_map(|server| &server.checks);
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"mio-echo check\" {}>\n",
        counts(all)
    );
    for server in &report.servers {
        suite(&mut xml, report, server);
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn suite(xml: &mut String, report: &Report, server: &ServerReport) {
    let name = attribute(&server.name);
    let counts = counts(server.checks.iter());
    let _ = writeln!(xml, "  <testsuite name=\"{name}\" {counts}>");
    let standing = &server.standing;
    let properties = [
        ("date", Some(report.date.clone())),
        ("version", Some(report.version.clone())),
        ("system", Some(report.system.clone())),
        ("rung", Some(place(standing, Language::English))),
        ("next", standing.next.clone()),
        ("gone_since", server.gone_since.clone()),
        ("interrupted", server.interrupted.then(|| "true".to_owned())),
    ];
    let _ = writeln!(xml, "    <properties>");
    for (name, value) in properties {
        if let Some(value) = value {
            let value = attribute(&value);
            let _ = writeln!(xml, "      <property name=\"{name}\" value=\"{value}\"/>");
        }
    }
    let _ = writeln!(xml, "    </properties>");
    for made in &server.checks {
        case(xml, server, made);
    }
    let _ = writeln!(xml, "  </testsuite>");
}

fn case(xml: &mut String, server: &ServerReport, made: &CheckReport) {
    let (class, name) = (attribute(&server.name), attribute(&made.name));
    let time = seconds(made.took_ms);
    let _ = write!(
        xml,
        "    <testcase classname=\"{class}\" name=\"{name}\" time=\"{time}\""
    );
    let remark = made
        .remark
        .as_ref()
        .map_or("", |remark| remark.of(Language::English));
    let said = attribute(remark);
    let result = match made.verdict {
        Verdict::Fail if is_failure(made) => {
            let (level, about) = (level_name(made.level), content(&about(made)));
            format!("<failure type=\"{level}\" message=\"{said}\">{about}</failure>")
        }
        Verdict::Inconclusive => {
            let meaning = Mark::Inconclusive.meaning().of(Language::English);
            format!("<skipped message=\"{meaning}: {said}\"/>")
        }
        Verdict::Skipped => format!("<skipped message=\"{said}\"/>"),
        Verdict::Pass | Verdict::Fail if !remark.is_empty() => {
            format!("<system-out>{}</system-out>", content(remark))
        }
        Verdict::Pass | Verdict::Fail => String::new(),
    };
    let _ = match result.is_empty() {
        true => writeln!(xml, "/>"),
        false => writeln!(xml, ">\n      {result}\n    </testcase>"),
    };
}

/// Describes a check that failed: what was done, what came, what should have come, why it matters, and where to read.
fn about(made: &CheckReport) -> String {
    let remark = made
        .remark
        .as_ref()
        .map_or("", |remark| remark.of(Language::English));
    let Some(check) = made.check() else {
        return remark.to_owned();
    };
    format!(
        "the client: {}\nwhat came: {remark}\nwhat should come: {}\nwhy it matters: {}\nread: {}",
        check.does.en, check.passes.en, check.why.en, check.read
    )
}

/// Returns the attributes that count test cases and their time.
fn counts<'a>(checks: impl Iterator<Item = &'a CheckReport>) -> String {
    let (mut tests, mut failures, mut skipped, mut time) = (0, 0, 0, 0);
    for made in checks {
        tests += 1;
        failures += usize::from(is_failure(made));
        skipped += usize::from(matches!(
            made.verdict,
            Verdict::Inconclusive | Verdict::Skipped
        ));
        time += made.took_ms;
    }
    let time = seconds(time);
    format!(
        "tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" time=\"{time}\""
    )
}

/// Whether the check failed, and is not a note.
fn is_failure(made: &CheckReport) -> bool {
    made.verdict == Verdict::Fail && made.level != Level::Note
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// Escapes the value of an attribute. XML forbids most control characters, even as references.
fn attribute(text: &str) -> String {
    escape(&visible(text)).replace('"', "&quot;")
}

/// Escapes text between tags. Its lines stay lines.
fn content(text: &str) -> String {
    let lines = text.lines().map(|line| escape(&visible(line)));
    lines.collect::<Vec<_>>().join("\n")
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::sample;

    #[test]
    fn each_server_is_a_suite_and_each_check_a_case() {
        let xml = junit(&sample::report());
        for part in [
            "<testsuites name=\"mio-echo check\" tests=\"9\" failures=\"2\" errors=\"0\" skipped=\"2\" ",
            "time=\"11.106\">",
            "<testsuite name=\"the &lt;page|server&gt;\" tests=\"7\" failures=\"2\" errors=\"0\" skipped=\"2\"",
            "<property name=\"rung\" value=\"stands on rung 5 of the ladder (examples/05_keep_the_rest.rs)\"/>",
            "<property name=\"interrupted\" value=\"true\"/>",
            "<testcase classname=\"other\" name=\"hello\" time=\"1.234\"/>",
            "<failure type=\"must\" message=\"3 of 5 bytes &lt;b&gt;&amp;|*came*\u{2400}\u{241b}[31m\">the client: ",
            "<skipped message=\"inconclusive: this machine was busy\"/>",
            "<skipped message=\"no such address was named\"/>",
            "<system-out>21 KiB a client</system-out>",
        ] {
            assert!(xml.contains(part), "{part:?} is not in\n{xml}");
        }
        assert!(xml.chars().all(|c| c == '\n' || !c.is_control()), "{xml}");
    }

    #[test]
    fn a_note_that_failed_is_no_failure() {
        let mut report = sample::report();
        report.servers[0].checks[6].verdict = Verdict::Fail;
        let xml = junit(&report);
        assert!(xml.contains("failures=\"2\""), "{xml}");
        assert!(
            xml.contains("<system-out>21 KiB a client</system-out>"),
            "{xml}"
        );
    }

    #[test]
    fn quotes_and_line_ends_are_escaped() {
        assert_eq!(attribute("a \"b\"\nc'"), "a &quot;b&quot; c'");
        assert_eq!(content("a<\r\nb\x01"), "a&lt;\nb\u{2401}");
    }
}
