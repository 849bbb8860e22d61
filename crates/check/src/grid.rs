//! The report as a grid: one row for each check, one column for each server. The Markdown and the page write it.

use crate::checks;
use crate::outcome::{Level, Verdict};
use crate::report::{CheckReport, Report, ServerReport};
use crate::rungs::{Place, RUNGS, Standing};
use crate::words::{Language, Text, Words, words};

/// A check, and what it found about each server.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    /// The name of the check.
    pub(crate) name: &'a str,
    /// Its level.
    pub(crate) level: Level,
    /// The results, in the order of the servers; `None` where the check was not made.
    pub(crate) cells: Vec<Option<&'a CheckReport>>,
}

/// The sign in a cell of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The server did what it should.
    Passed,
    /// The server did something else.
    Failed,
    /// The machine could not decide it.
    Inconclusive,
    /// The check was not tried.
    Skipped,
    /// The check has a figure or a choice, and requires nothing.
    Noted,
    /// The run ended before the check.
    NotMade,
}

/// What a report says about one server, in the order in which a reader wants it.
#[derive(Debug)]
pub(crate) struct Findings<'a> {
    /// The checks that failed.
    pub(crate) failed: Vec<&'a CheckReport>,
    /// The checks that were not decided.
    pub(crate) inconclusive: Vec<&'a CheckReport>,
    /// Figures and choices, of notes and of checks that passed.
    pub(crate) figures: Vec<&'a CheckReport>,
    /// The reasons for which checks were skipped, and the names of these checks.
    pub(crate) skipped: Vec<(Option<&'a Text>, Vec<&'a str>)>,
}

/// Returns the rows of one level, in the order of the list of checks. Checks that this version does not know are last.
pub(crate) fn rows(report: &Report, level: Level) -> Vec<Row<'_>> {
    let made = || report.servers.iter().flat_map(|server| &server.checks);
    let mut names: Vec<&str> = Vec::new();
    for check in made() {
        if !names.contains(&check.name.as_str()) {
            names.push(&check.name);
        }
    }
    let place = |name: &&str| checks::all().position(|check| check.name == *name);
    names.sort_by_key(|name| place(name).unwrap_or(usize::MAX));
    let row = |name| {
        let of = |server: &'_ ServerReport| server.checks.iter().position(|made| made.name == name);
        let cells = report
            .servers
            .iter()
            .map(|server| server.checks.get(of(server)?));
        let cells: Vec<Option<&CheckReport>> = cells.collect();
        // `--drains` changes the level of a check, so two servers can have different ones. The strictest one counts.
        let level = cells.iter().flatten().map(|made| made.level).min()?;
        Some(Row { name, level, cells })
    };
    let rows = names.into_iter().filter_map(row);
    rows.filter(|row| row.level == level).collect()
}

impl Mark {
    /// All marks, in the order of the legend.
    pub(crate) const ALL: [Mark; 6] = [
        Mark::Passed,
        Mark::Failed,
        Mark::Inconclusive,
        Mark::Skipped,
        Mark::Noted,
        Mark::NotMade,
    ];

    /// Returns the mark of a cell.
    pub(crate) fn of(cell: Option<&CheckReport>) -> Mark {
        match cell {
            None => Mark::NotMade,
            Some(made) => match made.verdict {
                Verdict::Pass if made.level == Level::Note => Mark::Noted,
                Verdict::Pass => Mark::Passed,
                Verdict::Fail => Mark::Failed,
                Verdict::Inconclusive => Mark::Inconclusive,
                Verdict::Skipped => Mark::Skipped,
            },
        }
    }

    /// Returns the sign: one column wide.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Mark::Passed => "✓",
            Mark::Failed => "✗",
            Mark::Inconclusive => "?",
            Mark::Skipped => "–",
            Mark::Noted => "•",
            Mark::NotMade => " ",
        }
    }

    /// Returns the meaning, for the legend.
    pub(crate) fn meaning(self) -> Words {
        match self {
            Mark::Passed => words("passed", "合格"),
            Mark::Failed => words("failed", "不合格"),
            Mark::Inconclusive => words("inconclusive", "判定不能"),
            Mark::Skipped => words("skipped", "省略"),
            Mark::Noted => words("noted", "参考"),
            Mark::NotMade => words("not made", "未実施"),
        }
    }

    /// Returns the marks for the legend of a report: those of the four results, and the others if the grid has them.
    pub(crate) fn used(report: &Report) -> Vec<Mark> {
        let is_used = |mark: Mark| {
            let mut rows = LEVELS.into_iter().flat_map(|level| rows(report, level));
            rows.any(|row| row.cells.iter().any(|cell| Mark::of(*cell) == mark))
        };
        let is_extra = |mark| matches!(mark, Mark::Noted | Mark::NotMade);
        let all = Mark::ALL.into_iter();
        all.filter(|mark| !is_extra(*mark) || is_used(*mark))
            .collect()
    }
}

impl<'a> Findings<'a> {
    /// Sorts the checks of a server.
    pub(crate) fn of(server: &'a ServerReport) -> Findings<'a> {
        let with = |verdict| -> Vec<&CheckReport> {
            let mut checks: Vec<_> = server
                .checks
                .iter()
                .filter(|made| made.verdict == verdict)
                .collect();
            checks.sort_by_key(|made| made.level);
            checks
        };
        let mut failed = with(Verdict::Fail);
        let mut figures = with(Verdict::Pass);
        figures.retain(|made| made.remark.is_some());
        // Nothing is required of a note.
        figures.extend(failed.extract_if(.., |made| made.level == Level::Note));
        let mut skipped: Vec<(Option<&Text>, Vec<&str>)> = Vec::new();
        for made in with(Verdict::Skipped) {
            let reason = made.remark.as_ref();
            match skipped.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, names)) => names.push(&made.name),
                None => skipped.push((reason, vec![&made.name])),
            }
        }
        Findings {
            failed,
            inconclusive: with(Verdict::Inconclusive),
            figures,
            skipped,
        }
    }
}

/// Returns how many checks of a level failed.
pub(crate) fn failures(server: &ServerReport, level: Level) -> usize {
    let failed = |made: &&CheckReport| made.level == level && made.verdict == Verdict::Fail;
    server.checks.iter().filter(failed).count()
}

/// Describes where a server stands on the ladder, without the next check and those that were not decided.
pub(crate) fn place(standing: &Standing, language: Language) -> String {
    let sentence = match standing.place() {
        Place::On(number) => {
            let rung = RUNGS.iter().find(|rung| rung.number == number);
            let file = rung.map_or(String::new(), |rung| format!(" (examples/{})", rung.file));
            return match language {
                Language::English => format!("stands on rung {number} of the ladder{file}"),
                Language::Japanese => format!("はしごの {number} 段目{file} に立っている"),
            };
        }
        Place::Top => words(
            "passes the checks of every rung of the ladder",
            "はしごのすべての段のチェックに合格している",
        ),
        Place::Partly => words(
            "passes all checks of the ladder that were made",
            "行ったかぎりでは、はしごのチェックに合格している",
        ),
        Place::Unknown => words(
            "no check of the ladder was made",
            "はしごのチェックは行っていない",
        ),
    };
    sentence.of(language).to_owned()
}

/// Returns true if the checks show where a server stands: they are all of the ladder up to this place, or were skipped
/// or not decided for a reason that the report names.
pub(crate) fn knows_the_place(server: &ServerReport) -> bool {
    let standing = &server.standing;
    let is_made = |name: &String| server.verdict(name).is_some();
    standing.place() != Place::Unknown && standing.undecided.iter().all(is_made)
}

/// Returns the next check to pass: that of the ladder, or the first one that failed.
pub(crate) fn next(server: &ServerReport) -> Option<&str> {
    let of_the_ladder = server.standing.next.as_deref();
    let failed = || {
        Findings::of(server)
            .failed
            .first()
            .map(|made| made.name.as_str())
    };
    of_the_ladder.or_else(failed)
}

/// Returns the checks of the ladder that were made and not decided, if the place of the server is known apart from
/// them.
pub(crate) fn undecided_on_the_way(server: &ServerReport) -> &[String] {
    match knows_the_place(server) {
        true => &server.standing.undecided,
        false => &[],
    }
}

/// Replaces characters that a document must not have, or that could mislead its reader.
///
/// Control characters become their pictures, and line ends become spaces. Characters that change the direction of the
/// text become U+FFFD.
pub(crate) fn visible(text: &str) -> String {
    text.chars().map(visible_char).collect()
}

fn visible_char(c: char) -> char {
    match c {
        '\t' | '\n' | '\r' => ' ',
        // The block of control pictures has the same order as the control characters.
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'),
        '\x7f' => '\u{2421}',
        '\u{80}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            '\u{fffd}'
        }
        c => c,
    }
}

/// All levels, the strictest first.
pub(crate) const LEVELS: [Level; 3] = [Level::Must, Level::Should, Level::Note];

/// Returns the name of a level.
pub(crate) fn level_name(level: Level) -> &'static str {
    match level {
        Level::Must => "must",
        Level::Should => "should",
        Level::Note => "note",
    }
}

/// Returns what a level asks for.
pub(crate) fn level_meaning(level: Level) -> Words {
    match level {
        Level::Must => words(
            "bytes, their order, ends of streams, and that other clients are not harmed",
            "バイトとその順序、ストリームの終わり、ほかのクライアントに害がないこと",
        ),
        Level::Should => words(
            "bounded use of resources, fair service, and no processor time without work",
            "資源の使用に上限があり、公平で、待機中に CPU を使わないこと",
        ),
        Level::Note => words(
            "a figure or a choice; nothing is required",
            "数値や選択。何も要求しない",
        ),
    }
}

pub(crate) const TITLE: Words = words("What echo servers survive", "エコーサーバーは何に耐えるか");
pub(crate) const SERVERS: Words = words("The servers", "サーバー");
pub(crate) const THE_SERVER: Words = words("The server", "サーバー");
pub(crate) const SERVER: Words = words("server", "サーバー");
pub(crate) const CHECK: Words = words("check", "チェック");
pub(crate) const RUNG: Words = words("rung", "段");
pub(crate) const NEXT: Words = words("next", "次");
pub(crate) const UNDECIDED: Words =
    words("not decided on the way there", "途中で判定しなかったもの");
pub(crate) const FAILED: Words = words("Failed", "不合格");
pub(crate) const INCONCLUSIVE: Words = words("Inconclusive", "判定不能");
pub(crate) const SKIPPED: Words = words("Skipped", "省略");
pub(crate) const FIGURES: Words = words("Figures and choices", "数値と選択");
pub(crate) const INTERRUPTED: Words = words(
    "The run was interrupted: the remaining checks were not made.",
    "中断された: 残りのチェックは行っていない。",
);
pub(crate) const GONE: Words = words(
    "The server did not answer any more after this check:",
    "このチェックの後、サーバーは応答しなくなった:",
);
pub(crate) const NOTHING_FAILED: Words = words("No check failed.", "不合格のチェックはない。");

pub(crate) const DID: Words = words("the client", "クライアントの動作");
pub(crate) const CAME: Words = words("what came", "結果");
pub(crate) const EXPECTED: Words = words("what should come", "期待");
pub(crate) const WHY: Words = words("why it matters", "理由");
pub(crate) const READ: Words = words("read", "参照");

/// Returns when, by what and on what the report was made.
pub(crate) fn made_by(report: &Report) -> String {
    let (date, version, system) = (&report.date, &report.version, &report.system);
    visible(&format!("{date} · mio-echo check {version} · {system}"))
}

#[cfg(test)]
pub(crate) mod sample {
    //! A small report, with all marks and with text that needs care.

    use super::*;
    use crate::check::Group;
    use crate::report::SCHEMA;

    /// A remark with markup, a NUL and an ESC character.
    pub(crate) const WILD: &str = "3 of 5 bytes <b>&|*came*\0\u{1b}[31m";

    fn made(name: &str, level: Level, verdict: Verdict, remark: &str) -> CheckReport {
        CheckReport {
            name: name.to_owned(),
            group: checks::all()
                .find(|check| check.name == name)
                .map_or(Group::Echo, |check| check.group),
            level,
            verdict,
            remark: (!remark.is_empty()).then(|| Text {
                en: remark.to_owned(),
                ja: format!("日本語: {remark}"),
            }),
            took_ms: 1234,
        }
    }

    /// Returns a report on two servers. The second one was interrupted after its second check.
    pub(crate) fn report() -> Report {
        let first = vec![
            made("hello", Level::Must, Verdict::Pass, ""),
            made("again", Level::Must, Verdict::Fail, WILD),
            made(
                "two-at-once",
                Level::Must,
                Verdict::Inconclusive,
                "this machine was busy",
            ),
            made(
                "storm",
                Level::Should,
                Verdict::Fail,
                "the last client waited 1.2 s",
            ),
            made("no-delay", Level::Should, Verdict::Pass, "median 0.1 ms"),
            made(
                "unix",
                Level::Note,
                Verdict::Skipped,
                "no such address was named",
            ),
            made("memory", Level::Note, Verdict::Pass, "21 KiB a client"),
        ];
        let second = vec![
            made("hello", Level::Must, Verdict::Pass, ""),
            made("again", Level::Must, Verdict::Pass, ""),
        ];
        let standing = |rung: Option<u32>, next: Option<&str>| Standing {
            rung,
            next: next.map(str::to_owned),
            undecided: vec!["two-at-once".to_owned()],
        };
        Report {
            schema: SCHEMA.to_owned(),
            version: "9.8.7".to_owned(),
            date: "2030-01-31".to_owned(),
            system: "Linux 6.1".to_owned(),
            servers: vec![
                ServerReport {
                    name: "the <page|server>".to_owned(),
                    checks: first,
                    gone_since: Some("memory".to_owned()),
                    interrupted: false,
                    standing: standing(Some(5), Some("bounded-intake")),
                },
                ServerReport {
                    name: "other".to_owned(),
                    checks: second,
                    gone_since: None,
                    interrupted: true,
                    standing: standing(None, None),
                },
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_a_cell_for_each_server() {
        let report = sample::report();
        let rows = rows(&report, Level::Must);
        let marks: Vec<(&str, Vec<Mark>)> = rows
            .iter()
            .map(|row| (row.name, row.cells.iter().copied().map(Mark::of).collect()))
            .collect();
        assert_eq!(
            marks,
            [
                ("hello", vec![Mark::Passed, Mark::Passed]),
                ("again", vec![Mark::Failed, Mark::Passed]),
                ("two-at-once", vec![Mark::Inconclusive, Mark::NotMade]),
            ]
        );
    }

    #[test]
    fn the_legend_has_the_marks_of_the_grid() {
        let mut report = sample::report();
        assert_eq!(Mark::used(&report), Mark::ALL);
        report.servers.truncate(1);
        report.servers[0]
            .checks
            .retain(|made| made.level == Level::Must);
        assert_eq!(Mark::used(&report), Mark::ALL[..4]);
    }

    #[test]
    fn a_note_is_no_failure() {
        let mut server = sample::report().servers.remove(0);
        let failures = Findings::of(&server).failed.len();
        server.checks[6].verdict = Verdict::Fail;
        let findings = Findings::of(&server);
        assert_eq!(findings.failed.len(), failures);
        assert!(findings.figures.iter().any(|made| made.name == "memory"));
    }

    #[test]
    fn checks_that_were_skipped_for_one_reason_are_together() {
        let mut server = sample::report().servers.remove(0);
        let mut ipv6 = server.checks[5].clone();
        ipv6.name = "ipv6".to_owned();
        server.checks.push(ipv6);
        let findings = Findings::of(&server);
        assert_eq!(findings.skipped.len(), 1);
        assert_eq!(findings.skipped[0].1, ["unix", "ipv6"]);
        let names = |checks: &[&CheckReport]| -> Vec<String> {
            checks.iter().map(|made| made.name.clone()).collect()
        };
        assert_eq!(names(&findings.failed), ["again", "storm"]);
        assert_eq!(names(&findings.figures), ["no-delay", "memory"]);
    }

    #[test]
    fn control_characters_become_visible() {
        assert_eq!(
            visible("a\0b\u{1b}c\r\nd\x7f"),
            "a\u{2400}b\u{241b}c  d\u{2421}"
        );
        assert_eq!(visible("\u{202e}txt\u{9b}"), "\u{fffd}txt\u{fffd}");
        assert_eq!(visible("日本語 ✓"), "日本語 ✓");
    }

    #[test]
    fn the_place_names_the_rung_and_its_file() {
        let standing = &sample::report().servers[0].standing;
        assert_eq!(
            place(standing, Language::English),
            "stands on rung 5 of the ladder (examples/05_keep_the_rest.rs)"
        );
        assert!(place(standing, Language::Japanese).contains("5 段目"));
        let unknown = Standing {
            rung: Some(99),
            ..standing.clone()
        };
        assert_eq!(
            place(&unknown, Language::English),
            "stands on rung 99 of the ladder"
        );
    }
}
