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
                @for (value, shown) in &self.x.ticks {
                    @let x = number(self.x_at(*value));
                    line.grid x1=(x) x2=(x) y1=(TOP) y2=(bottom) {}
                    text x=(x) y=(bottom + 16.0) text-anchor="middle" { (shown) }
                }
                text x=(number((LEFT + right) / 2.0)) y=(HEIGHT - 6.0) text-anchor="middle" { (self.x.label) }
                text x="4" y="12" { (self.y.label) }
                (inside)
            }
        }
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

    /// Writes the names of up to two curves, in the upper left corner.
    pub(super) fn legend(&self, names: &[&str]) -> Markup {
        html! {
            @for (n, (name, class)) in names.iter().zip(["one", "two"]).enumerate() {
                @let y = TOP + 16.0 + 17.0 * n as f64;
                line class=(format!("curve {class}")) x1=(LEFT + 10.0) x2=(LEFT + 34.0) y1=(y - 4.0) y2=(y - 4.0) {}
                text class=(format!("label {class}")) x=(LEFT + 40.0) y=(y) { (name) }
            }
        }
    }
}

/// Writes a coordinate. A tenth of a unit is less than a pixel of any screen.
pub(super) fn number(value: f64) -> String {
    format!("{value:.1}")
}

/// The size of a drawing and its margins, in its own units. On a phone a unit is three quarters of a pixel, so text of
/// 12 units is still readable.
pub(super) const WIDTH: f64 = 480.0;
pub(super) const HEIGHT: f64 = 300.0;
pub(super) const LEFT: f64 = 64.0;
pub(super) const RIGHT: f64 = 30.0;
pub(super) const TOP: f64 = 22.0;
pub(super) const BOTTOM: f64 = 44.0;
