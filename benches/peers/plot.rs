//! Two pictures as SVG: processor time ÷ that of the cheaper bare epoll loop for each workload, and processor time over
//! the number of clients.

use maud::{Markup, html};

use crate::common::spread::Spread;
use crate::goals::cpu;
use crate::growth::Point;
use crate::race::{Comparison, Row};
use crate::servers::BARE;

/// Draws a point for each workload and server, and a line between its quartiles, on a logarithmic axis.
pub(crate) fn ratios(comparisons: &[Comparison]) -> String {
    let mut marks = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    let mut y = TOP;
    for comparison in comparisons {
        y += LINE;
        marks.push(html! { text x="8" y=(y) font-weight="bold" { (comparison.workload.name) } });
        let Some(bare) = comparison.barest(cpu) else {
            continue;
        };
        for row in comparison.rows.iter().filter(|row| row.name != bare.name) {
            let ratio = row.by(bare, cpu);
            if ratio.median.is_nan() {
                continue;
            }
            y += LINE;
            if !names.contains(&row.name.as_str()) {
                names.push(&row.name);
            }
            let colour = COLOURS
                [names.iter().position(|name| *name == row.name).unwrap_or(0) % COLOURS.len()];
            marks.push(html! {
                text x="20" y=(y) { (row.name) }
                line x1=(at(ratio.low)) x2=(at(ratio.high)) y1=(y - 4) y2=(y - 4) stroke=(colour) stroke-width="2" {}
                circle cx=(at(ratio.median)) cy=(y - 4) r="4" fill=(colour) {}
                text x=(WIDTH - 8) y=(y) text-anchor="end" { (format!("{ratio}")) }
            });
        }
    }
    let bottom = y + LINE / 2;
    let axis = html! {
        @for tick in [0.5, 1.0, 2.0, 4.0] {
            line x1=(at(tick)) x2=(at(tick)) y1=(TOP) y2=(bottom) stroke="#8888"
                stroke-dasharray=(if tick == 1.0 { "none" } else { "2 4" }) {}
            text x=(at(tick)) y=(TOP - 6) text-anchor="middle" { (tick) "×" }
        }
    };
    let title =
        "Server processor time a message ÷ the cheaper bare epoll loop's: median and quartiles";
    picture(
        title,
        bottom + 8,
        &html! { (axis) @for mark in &marks { (mark) } },
    )
}

/// Draws the curves over the number of clients.
pub(crate) fn growth(points: &[Point]) -> String {
    let rows: [fn(&Point) -> &Row; 3] = [
        |point| &point.ours,
        |point| &point.bare[0],
        |point| &point.bare[1],
    ];
    let of = |point: &Point, row: fn(&Point) -> &Row| row(point).spread(cpu);
    let most = points
        .iter()
        .flat_map(|point| rows.iter().map(|row| of(point, *row).high));
    let most = most.fold(1.0, f64::max) * 1.1;
    let (left, right, bottom) = (60.0, f64::from(WIDTH) - 20.0, 320.0);
    let x = |clients: usize| {
        let share = (clients as f64 / 10.0).log10() / 1500_f64.log10();
        left + share * (right - left)
    };
    let y = |us: f64| bottom - us / most * (bottom - f64::from(TOP) - 10.0);
    let curve = |colour: &str, row: fn(&Point) -> &Row| {
        let spreads: Vec<(usize, Spread)> = points
            .iter()
            .map(|point| (point.clients, of(point, row)))
            .filter(|(_, spread)| !spread.median.is_nan())
            .collect();
        let path: Vec<String> = spreads
            .iter()
            .map(|(clients, spread)| format!("{:.1},{:.1}", x(*clients), y(spread.median)))
            .collect();
        html! {
            polyline points=(path.join(" ")) fill="none" stroke=(colour) stroke-width="2" {}
            @for (clients, spread) in &spreads {
                line x1=(x(*clients)) x2=(x(*clients)) stroke=(colour) y1=(y(spread.low)) y2=(y(spread.high)) {}
                circle cx=(x(*clients)) cy=(y(spread.median)) r="3" fill=(colour) {}
            }
        }
    };
    let step = 2.0_f64.powf((most / 4.0).log2().floor());
    let body = html! {
        line x1=(left) x2=(right) y1=(bottom) y2=(bottom) stroke="#888" {}
        @for point in points {
            text x=(x(point.clients)) y=(bottom + 18.0) text-anchor="middle" { (short(point.clients)) }
        }
        @for tick in (0..10).map(|n| f64::from(n) * step).filter(|tick| *tick < most) {
            text x=(left - 8.0) y=(y(tick) + 4.0) text-anchor="end" { (tick) }
            line x1=(left) x2=(right) y1=(y(tick)) y2=(y(tick)) stroke="#8884" {}
        }
        @for (n, row) in rows.iter().enumerate() { (curve(COLOURS[n], *row)) }
        text x=(left + 10.0) y=(TOP + 12) fill=(COLOURS[0]) { "mio-echo" }
        text x=(left + 90.0) y=(TOP + 12) fill=(COLOURS[1]) { (BARE[0]) }
        text x=(left + 210.0) y=(TOP + 12) fill=(COLOURS[2]) { (BARE[1]) }
    };
    let title = "Server processor time a message, µs, by clients: median and quartiles";
    picture(title, 350, &body)
}

fn picture(title: &str, height: u32, body: &Markup) -> String {
    // The picture has its own background, so that it is readable on a light page and on a dark one.
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {WIDTH} {height}"))
            font-family="sans-serif" font-size="12" {
            title { (title) }
            rect width="100%" height="100%" fill="#fff" {}
            text x="8" y="16" font-size="14" { (title) }
            (body)
        }
    }
    .into_string()
}

/// Shortens 15,000 to `15k`: the labels of the axis stand close together.
fn short(clients: usize) -> String {
    match clients {
        1_000.. if clients.is_multiple_of(1_000) => format!("{}k", clients / 1_000),
        _ => clients.to_string(),
    }
}

/// Returns the horizontal position of a ratio. Ratios below 0.4 and above 6 are drawn at the ends of the axis.
fn at(ratio: f64) -> f64 {
    let share = (ratio.clamp(0.4, 6.0) / 0.4).ln() / (6.0_f64 / 0.4).ln();
    200.0 + share * 400.0
}

/// Width of a picture.
const WIDTH: u32 = 760;
/// Height of the title.
const TOP: u32 = 44;
/// Height of a line of text.
const LINE: u32 = 16;

/// Colours that colour-blind readers can tell apart too (Okabe and Ito, 2008).
const COLOURS: [&str; 8] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#b8a500",
];
