//! The report as Markdown: the grid, and below it what was found about each server. It can be read as plain text too.

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use crate::grid::{
    CHECK, FAILED, FIGURES, Findings, GONE, INCONCLUSIVE, INTERRUPTED, LEVELS, Mark, NEXT,
    NOTHING_FAILED, RUNG, Row, SERVER, SKIPPED, TITLE, UNDECIDED, failures, knows_the_place,
    level_meaning, level_name, made_by, next, place, rows, undecided_on_the_way, visible,
};
use crate::outcome::Level;
use crate::report::{CheckReport, Report, ServerReport};
use crate::rungs::Place;
use crate::words::{Language, Words, words};

/// Writes the report as Markdown.
#[must_use]
pub fn markdown(report: &Report, language: Language) -> String {
    let mut text = format!(
        "# {}\n\n{}\n\n",
        TITLE.of(language),
        escape(&made_by(report))
    );
    text.push_str(&overview(report, language));
    let _ = writeln!(text, "\n{}", legend(report, language));
    // Numbers instead of names, if the names would make the grid wider than a page of text.
    let names: Vec<String> = report
        .servers
        .iter()
        .map(|server| escape(&server.name))
        .collect();
    let heads = match width_with(&names) > COLUMNS {
        true => (1..=names.len()).map(|n| n.to_string()).collect(),
        false => names,
    };
    for level in LEVELS {
        let rows = rows(report, level);
        if !rows.is_empty() {
            let (name, meaning) = (level_name(level), level_meaning(level).of(language));
            let _ = write!(
                text,
                "\n## {name}: {meaning}\n\n{}",
                grid(&rows, &heads, language)
            );
        }
    }
    for (n, server) in report.servers.iter().enumerate() {
        let _ = write!(text, "\n## {}. {}\n\n", n + 1, escape(&server.name));
        text.push_str(&findings(server, language));
    }
    text
}

/// Writes one row for each server: its failures, and its place on the ladder.
fn overview(report: &Report, language: Language) -> String {
    let failed = |level| format!("{} ({})", FAILED.of(language), level_name(level));
    let head = [
        "".to_owned(),
        SERVER.of(language).to_owned(),
        failed(Level::Must),
        failed(Level::Should),
        RUNG.of(language).to_owned(),
        NEXT.of(language).to_owned(),
    ];
    let mut lines = vec![head.to_vec()];
    for (n, server) in report.servers.iter().enumerate() {
        let standing = &server.standing;
        let rung = match standing.place() {
            _ if !knows_the_place(server) => "–".to_owned(),
            Place::On(number) => number.to_string(),
            Place::Top => words("all", "すべて").of(language).to_owned(),
            Place::Partly => words("all made", "実施分すべて").of(language).to_owned(),
            Place::Unknown => "–".to_owned(),
        };
        lines.push(vec![
            (n + 1).to_string(),
            escape(&server.name),
            failures(server, Level::Must).to_string(),
            failures(server, Level::Should).to_string(),
            rung,
            next(server).map_or("–".to_owned(), code),
        ]);
    }
    table(&lines, &["--:", ":--", "--:", "--:", "--:", ":--"])
}

fn legend(report: &Report, language: Language) -> String {
    let entries = Mark::used(report).into_iter().map(|mark| {
        let sign = match mark {
            Mark::NotMade => words("(empty)", "(空欄)").of(language),
            mark => mark.sign(),
        };
        format!("{sign} {}", mark.meaning().of(language))
    });
    entries.collect::<Vec<_>>().join(" · ")
}

/// Writes the rows of one level.
fn grid(rows: &[Row<'_>], heads: &[String], language: Language) -> String {
    let mut lines = vec![[CHECK.of(language).to_owned()].to_vec()];
    lines[0].extend_from_slice(heads);
    for row in rows {
        let cells = row
            .cells
            .iter()
            .map(|cell| Mark::of(*cell).sign().to_owned());
        lines.push([code(row.name)].into_iter().chain(cells).collect());
    }
    let mut rules = vec![":--"];
    rules.resize(1 + heads.len(), ":-:");
    table(&lines, &rules)
}

/// Writes what was found about one server.
fn findings(server: &ServerReport, language: Language) -> String {
    let standing = &server.standing;
    let knows = knows_the_place(server);
    let mut stands = match knows {
        true => place(standing, language),
        false => String::new(),
    };
    if let Some(next) = next(server) {
        let before = if knows { "; " } else { "" };
        let _ = write!(stands, "{before}{}: {}", NEXT.of(language), code(next));
    }
    let undecided = undecided_on_the_way(server);
    if !undecided.is_empty() {
        let _ = write!(stands, "; {}: {}", UNDECIDED.of(language), codes(undecided));
    }
    let mut text = wrapped(&stands, "");
    if let Some(name) = &server.gone_since {
        let _ = write!(text, "\n{} {}\n", GONE.of(language), code(name));
    }
    if server.interrupted {
        let _ = write!(text, "\n{}\n", INTERRUPTED.of(language));
    }
    let mut findings = Findings::of(server);
    // Those of other checks are in the page. Here they would be longer than what failed.
    findings.figures.retain(|made| made.level == Level::Note);
    if findings.failed.is_empty() {
        let _ = write!(text, "\n{}\n", NOTHING_FAILED.of(language));
    }
    for (title, checks) in [
        (FAILED, &findings.failed),
        (INCONCLUSIVE, &findings.inconclusive),
        (FIGURES, &findings.figures),
    ] {
        text.push_str(&list(title, checks, language));
    }
    if !findings.skipped.is_empty() {
        let _ = write!(text, "\n**{}**\n\n", SKIPPED.of(language));
        for (reason, names) in &findings.skipped {
            let reason = reason.map_or(String::new(), |reason| escape(reason.of(language)));
            text.push_str(&wrapped(&format!("- {}: {reason}", codes(names)), "  "));
        }
    }
    text
}

/// Writes the remarks of checks, if there are any.
fn list(title: Words, checks: &[&CheckReport], language: Language) -> String {
    if checks.is_empty() {
        return String::new();
    }
    let mut text = format!("\n**{}**\n\n", title.of(language));
    for made in checks {
        let remark = made
            .remark
            .as_ref()
            .map_or("", |remark| remark.of(language));
        let (name, level) = (code(&made.name), level_name(made.level));
        let item = format!("- {name} ({level}): {}", escape(remark));
        text.push_str(&wrapped(&item, "  "));
    }
    text
}

/// Divides a paragraph into lines of at most [`LINE`] columns, where it has spaces. All lines but the first one are
/// indented.
fn wrapped(paragraph: &str, indent: &str) -> String {
    let mut text = String::new();
    let mut used = 0;
    for word in paragraph.split_whitespace() {
        let needed = word.width();
        if used == 0 {
            text.push_str(word);
        } else if used + 1 + needed <= LINE {
            let _ = write!(text, " {word}");
            used += 1;
        } else {
            let _ = write!(text, "\n{indent}{}", at_the_start(word));
            used = indent.width();
        }
        used += needed;
    }
    text + "\n"
}

/// Escapes a word that would begin a list, a heading, a quotation or a rule at the start of a line.
fn at_the_start(word: &str) -> String {
    let is_marker = ["-", "+", "#", "="]
        .iter()
        .any(|c| word.replace(c, "").is_empty());
    let digits = word.trim_end_matches(['.', ')']);
    let is_number = digits.len() + 1 == word.len() && digits.chars().all(|c| c.is_ascii_digit());
    match word.strip_prefix(digits) {
        Some(rest) if is_number => format!("{digits}\\{rest}"),
        _ if is_marker || word.starts_with('>') => format!("\\{word}"),
        _ => word.to_owned(),
    }
}

/// Writes a table whose columns are aligned in plain text too. The first line is the head.
fn table(lines: &[Vec<String>], rules: &[&str]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.width()).max().unwrap_or(0).max(3)
    };
    let widths: Vec<usize> = (0..rules.len()).map(width).collect();
    let mut text = String::new();
    for (n, line) in lines.iter().enumerate() {
        for ((cell, &width), rule) in line.iter().zip(&widths).zip(rules) {
            let room = width - cell.width().min(width);
            let before = match *rule {
                "--:" => room,
                ":-:" => room / 2,
                _ => 0,
            };
            let _ = write!(text, "| {:before$}{cell}{:2$} ", "", "", room - before);
        }
        text.push_str("|\n");
        if n == 0 {
            for (rule, &width) in rules.iter().zip(&widths) {
                let dashes = "-".repeat(width - 2);
                let rule = match *rule {
                    "--:" => format!("-{dashes}:"),
                    ":-:" => format!(":{dashes}:"),
                    _ => format!(":{dashes}-"),
                };
                let _ = write!(text, "| {rule} ");
            }
            text.push_str("|\n");
        }
    }
    text
}

/// Returns the width of a grid with these column heads.
fn width_with(heads: &[String]) -> usize {
    const NAMES: usize = 26;
    heads
        .iter()
        .map(|head| head.width().max(3) + 3)
        .sum::<usize>()
        + NAMES
}

/// Writes names as code, with commas.
fn codes(names: &[impl AsRef<str>]) -> String {
    let names = names.iter().map(|name| code(name.as_ref()));
    names.collect::<Vec<_>>().join(", ")
}

/// Writes a name as code.
fn code(name: &str) -> String {
    // Inside a code span a backslash does not escape, and a table ends its cell at `|` all the same.
    format!(
        "`{}`",
        visible(name).replace('`', "'").replace('|', "\u{a6}")
    )
}

/// Escapes what Markdown or HTML would take for markup, and nothing else: the text is read as it is too.
fn escape(text: &str) -> String {
    let text = visible(text);
    let chars: Vec<char> = text.trim().chars().collect();
    let is_word = |c: char| c.is_alphanumeric();
    let mut escaped = String::new();
    for (at, &c) in chars.iter().enumerate() {
        let last = at.checked_sub(1).and_then(|at| chars.get(at).copied());
        let next = chars.get(at + 1).copied();
        let is_markup = match c {
            '`' | '*' | '<' | '|' | '~' => true,
            // A backslash escapes punctuation, and at the end of a line it breaks the line.
            '\\' => !next.is_some_and(is_word),
            '_' => !last.is_some_and(is_word) || !next.is_some_and(is_word),
            // The end of a link's text.
            ']' => next.is_some_and(|next| matches!(next, '(' | '[' | ':')),
            // The start of an entity.
            '&' => next.is_some_and(|next| next == '#' || is_word(next)),
            _ => false,
        };
        if is_markup {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// The most columns of a grid with the names of the servers.
const COLUMNS: usize = 120;

/// The most columns of a line of text.
const LINE: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::sample;

    #[test]
    fn the_grid_has_a_row_for_each_check_and_a_column_for_each_server() {
        let text = markdown(&sample::report(), Language::English);
        for line in [
            "# What echo servers survive",
            "2030-01-31 · mio-echo check 9.8.7 · Linux 6.1",
            "|     | server              | Failed (must) | Failed (should) | rung | next             |",
            "|   1 | the \\<page\\|server> |             1 |               1 |    5 | `bounded-intake` |",
            "✓ passed · ✗ failed · ? inconclusive · – skipped · • noted · (empty) not made",
            "| check         | the \\<page\\|server> | other |",
            "| `hello`       |          ✓          |   ✓   |",
            "| `again`       |          ✗          |   ✓   |",
            "| `two-at-once` |          ?          |       |",
            "stands on rung 5 of the ladder (examples/05_keep_the_rest.rs); next: `bounded-intake`; not decided",
            "on the way there: `two-at-once`",
            "The server did not answer any more after this check: `memory`",
            "The run was interrupted: the remaining checks were not made.",
            "- `again` (must): 3 of 5 bytes \\<b>&\\|\\*came\\*\u{2400}\u{241b}[31m",
            "- `storm` (should): the last client waited 1.2 s",
            "- `memory` (note): 21 KiB a client",
            "- `unix`: no such address was named",
        ] {
            assert!(
                text.lines().any(|have| have == line),
                "{line:?} is not in\n{text}"
            );
        }
        assert!(!text.contains("median"), "{text}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
    }

    #[test]
    fn japanese_has_no_english_sentence() {
        let text = markdown(&sample::report(), Language::Japanese);
        for part in [
            "不合格",
            "はしごの 5 段目",
            "日本語: the last client",
            "空欄",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        for part in ["passed", "Failed", "stands on", "not made"] {
            assert!(!text.contains(part), "{part:?} is in\n{text}");
        }
        // The columns are aligned by the width of the characters on a terminal.
        let width = |start: &str| {
            let line = text.lines().find(|line| line.starts_with(start));
            line.unwrap_or_default().width()
        };
        assert_eq!(width("| チェック"), width("| `hello`"));
    }

    #[test]
    fn long_names_are_replaced_by_numbers() {
        let mut report = sample::report();
        report.servers[0].name = "python3 mine.py ".repeat(8);
        let text = markdown(&report, Language::English);
        assert!(text.contains("| check         |  1  |  2  |"), "{text}");
        assert!(text.contains("## 1. python3 mine.py"), "{text}");
    }

    #[test]
    fn a_line_does_not_begin_with_markup_by_chance() {
        let text = wrapped(&format!("- {} - 12. # a", "x".repeat(95)), "  ");
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines, ["  12\\. # a"], "{text}");
        for (word, expected) in [
            ("-", "\\-"),
            ("===", "\\==="),
            (">a", "\\>a"),
            ("12)", "12\\)"),
            ("127.0.0.1:7007", "127.0.0.1:7007"),
            ("-1", "-1"),
            ("#1", "#1"),
            ("日本", "日本"),
        ] {
            assert_eq!(at_the_start(word), expected);
        }
    }

    #[test]
    fn only_markup_is_escaped() {
        for (text, expected) in [
            ("SO_LINGER _a_", "SO_LINGER \\_a\\_"),
            ("C:\\a \\", "C:\\a \\\\"),
            ("[Errno 104] a -> b", "[Errno 104] a -> b"),
            ("[a](b) [c][d]", "[a\\](b) [c\\][d]"),
            ("a & b &lt; &#60;", "a & b \\&lt; \\&#60;"),
        ] {
            assert_eq!(escape(text), expected);
        }
        assert_eq!(code("a`b|c"), "`a'b\u{a6}c`");
    }
}
