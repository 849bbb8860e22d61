//! This library is empty. The package contains only the tests in `tests/`.
