//! All checks, in the order in which they are made: simple ones first, so that a report can be read from the top.

mod cost;
mod echo;
mod ends;
mod many;
mod pressure;
mod process;
mod resets;

use crate::check::Check;

/// Returns all checks, in their order.
pub fn all() -> impl Iterator<Item = &'static Check> {
    [
        echo::CHECKS,
        ends::CHECKS,
        resets::CHECKS,
        pressure::CHECKS,
        many::CHECKS,
        cost::CHECKS,
        process::CHECKS,
    ]
    .into_iter()
    .flatten()
}
