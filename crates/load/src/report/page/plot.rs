//! A plot: a frame with two axes, and the curves and points in it.

use maud::{Markup, html};

use super::axis::Axis;

/// A frame with two axes.
#[derive(Debug)]
pub(super) struct Plot {
    pub(super) x: Axis,
    pub(super) y: Axis,
}

impl Plot {
    /// Returns the place of a point, in the units of the drawing.
    pub(super) fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (self.x_at(x), self.y_at(y))
    }

    pub(super) fn x_at(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    pub(super) fn y_at(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    /// Draws the frame and, inside it, the given markup. `described` is the text for screen readers.
    pub(super) fn draw(&self, described: &str, inside: &Markup) -> Markup {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        html! {
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(described) {
                @for (value, shown) in &self.y.ticks {
                    @let y = number(self.y_at(*value));
                    line.grid x1=(LEFT) x2=(right) y1=(y) y2=(y) {}
                    text x=(LEFT - 6.0) y=(y) dy="4" text-anchor="end" { (shown) }
                }
                @for (value, shown) in self.apart() {
                    @let x = number(self.x_at(value));
                    line.grid x1=(x) x2=(x) y1=(TOP) y2=(bottom) {}
                    text x=(x) y=(bottom + 17.0) text-anchor="middle" { (shown) }
                }
                text x=(number((LEFT + right) / 2.0)) y=(HEIGHT - 6.0) text-anchor="middle" { (self.x.label) }
                text x="2" y="13" { (self.y.label) }
                (inside)
            }
        }
    }

    /// Returns the values of the horizontal axis whose texts do not touch each other.
    fn apart(&self) -> Vec<(f64, &str)> {
        let mut free_from = f64::MIN;
        let ticks = self.x.ticks.iter().filter_map(|(value, shown)| {
            let (middle, half) = (self.x_at(*value), width_of(shown) / 2.0);
            if middle - half < free_from {
                return None;
            }
            free_from = middle + half + 5.0;
            Some((*value, shown.as_str()))
        });
        ticks.collect()
    }

    /// Draws a line through points.
    pub(super) fn curve(&self, class: &str, points: &[(f64, f64)]) -> Markup {
        let mut path = String::new();
        for (n, (x, y)) in points.iter().enumerate() {
            let (x, y) = self.at(*x, *y);
            let verb = if n == 0 { 'M' } else { 'L' };
            path.push_str(&format!("{verb}{} {}", number(x), number(y)));
        }
        html! { path class=(format!("curve {class}")) d=(path) {} }
    }

    /// Draws a point. The browser shows `told` when the mouse is over it.
    pub(super) fn dot(&self, class: &str, (x, y): (f64, f64), told: &str) -> Markup {
        let (x, y) = self.at(x, y);
        html! {
            circle class=(format!("dot {class}")) cx=(number(x)) cy=(number(y)) r="3.5" { title { (told) } }
        }
    }
}

/// Writes the names of up to two curves, for a line above the drawing: inside, they could lie on a curve.
pub(super) fn legend(names: &[&str]) -> Markup {
    html! {
        p.legend {
            @for (name, class) in names.iter().zip(["one", "two"]) {
                span class=(format!("key {class}")) { (name) }
                " "
            }
        }
    }
}

/// Returns about how wide a text is, in the units of a drawing.
pub(super) fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * 7.2
}

/// Writes a coordinate. A tenth of a unit is less than a pixel of any screen.
pub(super) fn number(value: f64) -> String {
    format!("{value:.1}")
}

/// The size of a drawing and its margins, in its own units. On a phone of 400 pixels a unit is nine tenths of a pixel,
/// and the style sheet makes the text so large that it has 12 pixels there.
pub(super) const WIDTH: f64 = 400.0;
pub(super) const HEIGHT: f64 = 260.0;
pub(super) const LEFT: f64 = 66.0;
pub(super) const RIGHT: f64 = 26.0;
pub(super) const TOP: f64 = 26.0;
pub(super) const BOTTOM: f64 = 46.0;
