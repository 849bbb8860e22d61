//! The report as text for a terminal: one line for each check, five more for a failure, and the conclusion.

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use crate::check::Check;
use crate::grid::{
    self, CAME, DID, EXPECTED, Findings, NEXT, READ, UNDECIDED, WHY, level_name, visible,
};
use crate::outcome::{Level, Verdict};
use crate::report::{CheckReport, ServerReport};
use crate::words::{Language, Words, words};

/// Writes what a check found: a line, and after a failure what was done, what came, what should have come, why it
/// matters, and where to read more.
#[must_use]
pub fn found(made: &CheckReport, language: Language) -> String {
    let verdict = verdict(made).of(language);
    let mut text = format!(
        "{verdict}{:room$} {:<22} {}\n",
        "",
        made.name,
        level_name(made.level),
        room = 13_usize.saturating_sub(verdict.width()),
    );
    // A remark can quote the server's standard error, and an escape sequence would change the terminal.
    let remark = made
        .remark
        .as_ref()
        .map(|remark| visible(remark.of(language)));
    match (made.verdict, made.check()) {
        (Verdict::Fail, Some(check)) if made.level != Level::Note => {
            let came = remark.as_deref().unwrap_or_default();
            for (name, said) in [
                (DID, check.does.of(language)),
                (CAME, came),
                (EXPECTED, check.passes.of(language)),
                (WHY, check.why.of(language)),
                (READ, check.read),
            ] {
                entry(&mut text, name.of(language), said);
            }
        }
        _ => {
            if let Some(remark) = remark {
                entry(&mut text, "", &remark);
            }
        }
    }
    text
}

/// Writes the conclusion: how many checks have which verdict, the rung of the ladder, and the next check to pass.
#[must_use]
pub fn conclusion(server: &ServerReport, language: Language) -> String {
    let count = |level: Option<Level>, verdict: Verdict| {
        let checks = server.checks.iter().filter(|made| {
            made.verdict == verdict && level.is_none_or(|level| made.level == level)
        });
        checks.count()
    };
    let passed = count(None, Verdict::Pass);
    let musts = count(Some(Level::Must), Verdict::Fail);
    let shoulds = count(Some(Level::Should), Verdict::Fail);
    let (undecided, skipped) = (
        count(None, Verdict::Inconclusive),
        count(None, Verdict::Skipped),
    );
    let mut text = match language {
        Language::English => format!(
            "\n{passed} passed; failed: {musts} of level must, {shoulds} of level should; {undecided} inconclusive, \
             {skipped} skipped\n"
        ),
        Language::Japanese => format!(
            "\n合格 {passed}、不合格: must {musts}、should {shoulds}、判定不能 {undecided}、省略 {skipped}\n"
        ),
    };
    for (reason, names) in Findings::of(server).skipped {
        let mut line = names.join(", ");
        if let Some(reason) = reason {
            let _ = write!(line, ": {}", visible(reason.of(language)));
        }
        let _ = writeln!(
            text,
            "{} {line}",
            verdict_word(Verdict::Skipped).of(language)
        );
    }
    if server.interrupted {
        text.push_str(match language {
            Language::English => "interrupted: the remaining checks were not made\n",
            Language::Japanese => "中断: 残りのチェックは行っていない\n",
        });
    }
    if let Some(name) = &server.gone_since {
        let _ = match language {
            Language::English => writeln!(text, "the server has not answered since {name}"),
            Language::Japanese => writeln!(text, "サーバーは {name} 以降応答しない"),
        };
    }
    text.push_str(&standing(server, language));
    text
}

/// Writes where a server stands on the ladder, and the next check to pass. A part of the list says too little about the
/// place.
fn standing(server: &ServerReport, language: Language) -> String {
    let standing = &server.standing;
    let mut text = String::new();
    if grid::knows_the_place(server) {
        text = grid::place(standing, language);
        text.push_str("; ");
    }
    match grid::next(server) {
        Some(next) => {
            let _ = write!(text, "{}: {next}", NEXT.of(language));
        }
        None => text.truncate(text.trim_end_matches("; ").len()),
    }
    if !text.is_empty() {
        text.push('\n');
    }
    let undecided = grid::undecided_on_the_way(server).join(", ");
    if !undecided.is_empty() {
        let _ = writeln!(text, "{}: {undecided}", UNDECIDED.of(language));
    }
    text
}

/// Writes the list of checks, one line for each.
#[must_use]
pub fn list<'a>(checks: impl Iterator<Item = &'a Check>, language: Language) -> String {
    let mut text = String::new();
    for check in checks {
        let _ = writeln!(
            text,
            "{:<22} {:<9} {:<7} {}",
            check.name,
            check.group.name(),
            level_name(check.level),
            check.does.of(language)
        );
    }
    text
}

/// Writes the description of a check.
#[must_use]
pub fn explanation(check: &Check, language: Language) -> String {
    let mut text = format!("{} ({})\n", check.name, level_name(check.level));
    for (name, said) in [
        (DID, check.does.of(language)),
        (EXPECTED, check.passes.of(language)),
        (WHY, check.why.of(language)),
        (READ, check.read),
    ] {
        entry(&mut text, name.of(language), said);
    }
    text
}

/// Writes a named sentence, indented, in lines of at most [`COLUMNS`].
fn entry(text: &mut String, name: &str, said: &str) {
    let name = match name.is_empty() {
        true => String::new(),
        false => format!("{name}:"),
    };
    let mut line = String::new();
    let mut indent = INDENT;
    for word in name.split_whitespace().chain(said.split_whitespace()) {
        if !line.is_empty() && indent + line.width() + 1 + word.width() > COLUMNS {
            let _ = writeln!(text, "{:indent$}{line}", "");
            line.clear();
            indent = INDENT + 2;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(text, "{:indent$}{line}", "");
}

fn verdict(made: &CheckReport) -> Words {
    match made.verdict {
        Verdict::Pass | Verdict::Fail if made.level == Level::Note => words("note", "参考"),
        verdict => verdict_word(verdict),
    }
}

fn verdict_word(verdict: Verdict) -> Words {
    match verdict {
        Verdict::Pass => words("pass", "合格"),
        Verdict::Fail => words("FAIL", "不合格"),
        Verdict::Inconclusive => words("inconclusive", "判定不能"),
        Verdict::Skipped => words("skipped", "省略"),
    }
}

/// The indentation of a sentence below its check.
const INDENT: usize = 14;

/// The most columns of a line.
const COLUMNS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Group;
    use crate::rungs::Standing;
    use crate::words::Text;

    fn made(verdict: Verdict) -> CheckReport {
        CheckReport {
            name: "again".to_owned(),
            group: Group::Echo,
            level: Level::Must,
            verdict,
            remark: Some(Text {
                en: "no connection".to_owned(),
                ja: "接続できない".to_owned(),
            }),
            took_ms: 3,
        }
    }

    #[test]
    fn a_failure_has_five_entries() {
        let text = found(&made(Verdict::Fail), Language::English);
        for part in [
            "FAIL",
            "the client:",
            "what came: no connection",
            "should",
            "why",
            "read:",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        assert!(text.lines().all(|line| line.width() <= COLUMNS), "{text}");
        let text = found(&made(Verdict::Fail), Language::Japanese);
        assert!(
            text.contains("接続できない") && !text.contains("what came"),
            "{text}"
        );
        assert_eq!(
            found(&made(Verdict::Inconclusive), Language::English)
                .lines()
                .count(),
            2
        );
    }

    #[test]
    fn a_remark_does_not_change_the_terminal_and_columns_are_aligned() {
        let mut wild = made(Verdict::Fail);
        wild.remark = Some(Text {
            en: "it said \u{1b}[31mred".to_owned(),
            ja: String::new(),
        });
        let text = found(&wild, Language::English);
        assert!(
            !text.contains('\u{1b}') && text.contains("[31mred"),
            "{text:?}"
        );
        // The characters of Japanese need two columns.
        for verdict in [Verdict::Pass, Verdict::Fail, Verdict::Inconclusive] {
            let text = found(&made(verdict), Language::Japanese);
            let (before, _) = text.split_once("again").unwrap();
            assert_eq!(before.width(), INDENT, "{text}");
        }
    }

    #[test]
    fn the_conclusion_names_the_rung_and_the_next_check() {
        let checks = vec![made(Verdict::Fail)];
        let server = ServerReport {
            name: "a".to_owned(),
            standing: Standing::of(|name| (name == "again").then_some(Verdict::Fail)),
            checks,
            gone_since: Some("again".to_owned()),
            interrupted: true,
        };
        let text = conclusion(&server, Language::English);
        for part in [
            "1 of level must",
            "rung 0",
            "next: again",
            "not answered since again",
            "interrupted",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        let text = conclusion(&server, Language::Japanese);
        assert!(text.contains("0 段目"), "{text}");
    }
}
