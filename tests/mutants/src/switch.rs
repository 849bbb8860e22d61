//! The switch of the mutants: on each thread, at most one mutant is on.

use std::cell::Cell;

thread_local! {
    /// The name of the mutant that is on.
    static ON: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Whether this mutant is on.
macro_rules! mutant {
    ($name:ident) => {
        crate::switch::is_on(stringify!($name))
    };
}

/// Whether the mutant with this name is on.
pub(crate) fn is_on(name: &str) -> bool {
    ON.get().is_some_and(|on| on == name)
}

/// Runs a function with a mutant switched on.
pub(crate) fn with<T>(name: &'static str, run: impl FnOnce() -> T) -> T {
    ON.set(Some(name));
    let result = run();
    ON.set(None);
    result
}
