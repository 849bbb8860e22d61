//! Runs the examples.

#[path = "../examples/measure.rs"]
mod measure;

#[test]
fn the_example_measures_and_reports() {
    measure::main().unwrap();
}
