//! Which mutant is on: one at most, on each thread.

use std::cell::Cell;

thread_local! {
    static ON: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Whether this mutant is on.
macro_rules! mutant {
    ($name:ident) => {
        crate::switch::is_on(stringify!($name))
    };
}

pub(crate) fn is_on(name: &str) -> bool {
    ON.get().is_some_and(|on| on == name)
}

/// Runs something with a mutant on.
pub(crate) fn with<T>(name: &'static str, run: impl FnOnce() -> T) -> T {
    ON.set(Some(name));
    let result = run();
    ON.set(None);
    result
}
