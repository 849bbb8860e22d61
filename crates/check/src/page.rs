//! The report as a page: one HTML file without scripts. It needs no other file and fetches nothing.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::grid::{
    CHECK, DID, EXPECTED, FAILED, FIGURES, Findings, GONE, INCONCLUSIVE, INTERRUPTED, LEVELS, Mark,
    NEXT, NOTHING_FAILED, READ, Row, SERVERS, SKIPPED, THE_SERVER, TITLE, UNDECIDED, WHY, failures,
    knows_the_place, level_meaning, level_name, made_by, next, place, rows, undecided_on_the_way,
    visible,
};
use crate::outcome::Level;
use crate::report::{CheckReport, Report, ServerReport};
use crate::words::{Language, Words, words};

/// Writes the whole page.
#[must_use]
pub fn page(report: &Report, language: Language) -> String {
    let title = match report.servers.as_slice() {
        [server] => format!("{}: {}", TITLE.of(language), visible(&server.name)),
        _ => TITLE.of(language).to_owned(),
    };
    let code = match language {
        Language::English => "en",
        Language::Japanese => "ja",
    };
    let levels: Vec<(Level, Vec<Row<'_>>)> = LEVELS
        .into_iter()
        .map(|level| (level, rows(report, level)))
        .filter(|(_, rows)| !rows.is_empty())
        .collect();
    let markup = html! {
        (DOCTYPE)
        html lang=(code) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // Even if a remark contained markup, the browser would fetch nothing and run no script.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    p.when { (made_by(report)) }
                }
                main {
                    (overview(report, language))
                    (grid(report, &levels, language))
                    @for (n, server) in report.servers.iter().enumerate() {
                        (findings(n + 1, &title_of(report, n), server, language))
                    }
                    (descriptions(&levels, language))
                }
            }
        }
    };
    markup.into_string()
}

/// Writes a card for each server: its failures and its place on the ladder.
fn overview(report: &Report, language: Language) -> Markup {
    html! {
        section {
            h2 { (if report.servers.len() == 1 { THE_SERVER } else { SERVERS }.of(language)) }
            ol.servers {
                @for (n, server) in report.servers.iter().enumerate() {
                    li {
                        a.name href={ "#s" (n + 1) } { (title_of(report, n)) }
                        p { (counts(server, language)) }
                        p.soft { (rung(server, language)) }
                    }
                }
            }
        }
    }
}

/// Writes the number of a server's rung and the next check to pass, for its card.
fn rung(server: &ServerReport, language: Language) -> Markup {
    let standing = &server.standing;
    html! {
        @if knows_the_place(server) {
            @match (standing.rung, language) {
                (Some(number), Language::English) => { "rung " (number) }
                (Some(number), Language::Japanese) => { (number) " 段目" }
                (None, _) => (place(standing, language)),
            }
        }
        @if let Some(next) = next(server) {
            @if knows_the_place(server) { "; " }
            (NEXT.of(language)) ": " (to_description(next))
        }
    }
}

/// Returns the name of a server, with its number if there are several.
fn title_of(report: &Report, n: usize) -> String {
    let name = report.servers.get(n).map_or("", |server| &server.name);
    match report.servers.len() {
        1 => visible(name),
        _ => format!("{}. {}", n + 1, visible(name)),
    }
}

/// Writes how many checks failed, for each level that can fail.
fn counts(server: &ServerReport, language: Language) -> Markup {
    let count = |level: Level| {
        let n = failures(server, level);
        html! {
            span.failures.(level_name(level)).none[n == 0] { (n) " " (level_name(level)) }
        }
    };
    html! { (FAILED.of(language)) ": " (count(Level::Must)) ", " (count(Level::Should)) }
}

/// Writes where a server stands on the ladder, and the next check to pass.
fn standing(server: &ServerReport, language: Language) -> Markup {
    let standing = &server.standing;
    html! {
        @if knows_the_place(server) { (place(standing, language)) }
        @if let Some(next) = next(server) {
            @if knows_the_place(server) { "; " }
            (NEXT.of(language)) ": " (to_description(next))
        }
        @for (n, name) in undecided_on_the_way(server).iter().enumerate() {
            @if n == 0 { "; " (UNDECIDED.of(language)) ": " } @else { ", " }
            (to_description(name))
        }
    }
}

/// Writes the grid in a box that scrolls sideways, and its legend.
fn grid(report: &Report, levels: &[(Level, Vec<Row<'_>>)], language: Language) -> Markup {
    html! {
        section {
            h2 #grid { (GRID.of(language)) }
            ul.legend {
                @for mark in Mark::used(report) {
                    li { span.cell.(class(mark)) { (mark.sign()) } " " (mark.meaning().of(language)) }
                }
            }
            p.soft { (LINKS.of(language)) }
            // The box takes the keyboard's focus, so that its content can be scrolled without a mouse.
            div.scroll tabindex="0" role="region" aria-labelledby="grid" {
                table.upright[report.servers.len() > 3] {
                    thead {
                        tr {
                            th scope="col" { (CHECK.of(language)) }
                            @for n in 0..report.servers.len() {
                                th scope="col" { a href={ "#s" (n + 1) } { (title_of(report, n)) } }
                            }
                        }
                    }
                    @for (level, rows) in levels {
                        tbody {
                            tr.level {
                                th scope="rowgroup" title=(level_meaning(*level).of(language)) { (level_name(*level)) }
                                // Below the first screen the numbers stand for the names.
                                @for n in 1..=report.servers.len() { td { @if report.servers.len() > 1 { (n) } } }
                            }
                            @for row in rows { (line(row, language)) }
                        }
                    }
                }
            }
            dl.levels {
                @for (level, _) in levels {
                    div { dt { (level_name(*level)) } dd { (level_meaning(*level).of(language)) } }
                }
            }
        }
    }
}

/// Writes a row of the grid. A cell with something to say is a link to it.
fn line(row: &Row<'_>, language: Language) -> Markup {
    html! {
        tr {
            th scope="row" { (to_description(row.name)) }
            @for (n, cell) in row.cells.iter().enumerate() {
                @let mark = Mark::of(*cell);
                @let meaning = mark.meaning().of(language);
                td.cell.(class(mark)).(level_name(row.level)) {
                    @match cell.and_then(|made| made.remark.as_ref()) {
                        Some(remark) if mark != Mark::Skipped => {
                            a href={ "#" (anchor(n + 1, row.name)) } title=(visible(remark.of(language))) {
                                (mark.sign()) span.hidden { " " (meaning) }
                            }
                        }
                        _ => { (mark.sign()) span.hidden { " " (meaning) } }
                    }
                }
            }
        }
    }
}

/// Writes what was found about one server.
fn findings(n: usize, title: &str, server: &ServerReport, language: Language) -> Markup {
    let findings = Findings::of(server);
    html! {
        section.server id={ "s" (n) } {
            h2 { (title) }
            p { (counts(server, language)) }
            p.soft { (standing(server, language)) }
            @if let Some(name) = &server.gone_since {
                p.bad { (GONE.of(language)) " " (to_description(name)) }
            }
            @if server.interrupted { p.bad { (INTERRUPTED.of(language)) } }
            @if findings.failed.is_empty() { p { (NOTHING_FAILED.of(language)) } }
            (list(n, FAILED, &findings.failed, language))
            (list(n, INCONCLUSIVE, &findings.inconclusive, language))
            (list(n, FIGURES, &findings.figures, language))
            @if !findings.skipped.is_empty() {
                h3 { (SKIPPED.of(language)) }
                dl.found {
                    @for (reason, skipped) in &findings.skipped {
                        div {
                            dt { (names(skipped)) }
                            dd { (visible(reason.map_or("", |reason| reason.of(language)))) }
                        }
                    }
                }
            }
        }
    }
}

/// Writes the remarks of checks, if there are any.
fn list(n: usize, title: Words, checks: &[&CheckReport], language: Language) -> Markup {
    html! {
        @if !checks.is_empty() {
            h3 { (title.of(language)) }
            dl.found {
                @for made in checks {
                    @let mark = Mark::of(Some(made));
                    div id=(anchor(n, &made.name)) {
                        dt {
                            span.cell.(class(mark)).(level_name(made.level)) aria-hidden="true" { (mark.sign()) } " "
                            (to_description(&made.name)) " " span.soft { (level_name(made.level)) }
                        }
                        dd { (visible(made.remark.as_ref().map_or("", |remark| remark.of(language)))) }
                    }
                }
            }
        }
    }
}

/// Writes what each check of the grid does, when a server passes it, and why it matters.
fn descriptions(levels: &[(Level, Vec<Row<'_>>)], language: Language) -> Markup {
    let rows = levels.iter().flat_map(|(_, rows)| rows);
    html! {
        section.checks {
            h2 { (DESCRIPTIONS.of(language)) }
            @for row in rows {
                @let made = row.cells.iter().flatten().next();
                article id={ "check-" (slug(row.name)) } {
                    h3 { (visible(row.name)) " " span.soft { (level_name(row.level)) } }
                    @if let Some(check) = made.and_then(|made| made.check()) {
                        dl {
                            @for (name, said) in [
                                (DID, check.does.of(language)),
                                (EXPECTED, check.passes.of(language)),
                                (WHY, check.why.of(language)),
                                (READ, check.read),
                            ] {
                                div { dt { (name.of(language)) } dd { (with_code(said)) } }
                            }
                        }
                    }
                }
            }
            p { a href="#grid" { (BACK.of(language)) } }
        }
    }
}

/// Writes a sentence of the list of checks, in which backquotes enclose code.
fn with_code(sentence: &str) -> Markup {
    html! {
        @for (n, part) in sentence.split('`').enumerate() {
            @if n % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// Writes names of checks, with commas.
fn names(names: &[impl AsRef<str>]) -> Markup {
    html! {
        @for (n, name) in names.iter().enumerate() {
            @if n > 0 { ", " }
            (to_description(name.as_ref()))
        }
    }
}

/// Writes the name of a check as a link to its description.
fn to_description(name: &str) -> Markup {
    html! { a.check href={ "#check-" (slug(name)) } { (visible(name)) } }
}

/// Returns the anchor of what a check found about a server.
fn anchor(n: usize, check: &str) -> String {
    format!("s{n}-{}", slug(check))
}

/// Returns a name with no characters that an anchor must not have.
fn slug(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric();
    name.chars()
        .map(|c| if is_plain(c) { c } else { '-' })
        .collect()
}

/// Returns the class of a mark in the style sheet.
fn class(mark: Mark) -> &'static str {
    match mark {
        Mark::Passed => "pass",
        Mark::Failed => "fail",
        Mark::Inconclusive => "unclear",
        Mark::Skipped => "skip",
        Mark::Noted => "noted",
        Mark::NotMade => "missing",
    }
}

const GRID: Words = words("The checks", "チェックの結果");
const DESCRIPTIONS: Words = words("What each check does", "各チェックの内容");
const LINKS: Words = words(
    "An underlined sign links to what was found. The name of a check links to its description.",
    "下線のある記号は見つかったことへ、チェックの名前はその説明へのリンクである。",
);
const BACK: Words = words("Back to the grid", "表に戻る");

const STYLE: &str = include_str!("page/style.css");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::sample;

    #[test]
    fn each_failed_cell_leads_to_its_remark() {
        let page = page(&sample::report(), Language::English);
        for part in [
            "<html lang=\"en\">",
            "default-src 'none'; style-src 'unsafe-inline'",
            "2030-01-31 · mio-echo check 9.8.7 · Linux 6.1",
            "href=\"#s1-again\"",
            "<div id=\"s1-again\">",
            "<dd>3 of 5 bytes &lt;b&gt;&amp;|*came*\u{2400}\u{241b}[31m</dd>",
            "stands on rung 5 of the ladder (examples/05_keep_the_rest.rs); next: ",
            "<article id=\"check-two-at-once\">",
            "The run was interrupted",
            "1. the &lt;page|server&gt;",
        ] {
            assert!(page.contains(part), "{part:?} is not in\n{page}");
        }
        let text = page.replace(STYLE, "");
        assert!(text.chars().all(|c| !c.is_control()), "{text}");
        assert!(!page.contains("<b>") && !page.contains("<script"), "{page}");
    }

    #[test]
    fn each_link_has_its_target() {
        let report = sample::report();
        for language in [Language::English, Language::Japanese] {
            let page = page(&report, language);
            let links = page.split("href=\"#").skip(1);
            for link in links.filter_map(|rest| rest.split('"').next()) {
                // The next check on the ladder, and one that was not decided, need not be in the report.
                let is_made = rows_of(&report)
                    .iter()
                    .any(|name| link == format!("check-{name}"));
                if is_made || !link.starts_with("check-") {
                    let target = format!("id=\"{link}\"");
                    assert!(page.contains(&target), "{target} is not in\n{page}");
                }
            }
        }
    }

    fn rows_of(report: &Report) -> Vec<String> {
        let rows = LEVELS.into_iter().flat_map(|level| rows(report, level));
        rows.map(|row| row.name.to_owned()).collect()
    }

    #[test]
    fn japanese_has_no_english_sentence() {
        let page = page(&sample::report(), Language::Japanese);
        for part in [
            "<html lang=\"ja\">",
            "はしごの 5 段目",
            "日本語: the last client",
            "判定不能",
        ] {
            assert!(page.contains(part), "{part:?} is not in\n{page}");
        }
        let text = page.replace(STYLE, "");
        for part in ["Failed", "passed", "stands on", "The client", "not made"] {
            assert!(!text.contains(part), "{part:?} is in\n{page}");
        }
    }
}
