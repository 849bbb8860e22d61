//! Writes the options of a report as on the command line.

use std::time::Duration;

use serde_json::Value;

/// Returns the name of an option on the command line, without the hyphens, for its name in the report.
pub(super) fn option_name(name: &str) -> String {
    match name {
        "half_close" => "no-half-close".to_owned(),
        name => name.trim_end_matches("_ns").replace('_', "-"),
    }
}

/// Writes the value of an option as on the command line.
pub(super) fn as_written(name: &str, value: &Value) -> String {
    match value {
        Value::Bool(on) if name == "half_close" => as_written("", &Value::Bool(!on)),
        Value::Bool(true) if name == "verify" => "full".to_owned(),
        Value::Null => "none".to_owned(),
        Value::Bool(true) => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match (number.as_u64(), number.as_f64()) {
            (Some(ns), _) if name.ends_with("_ns") => {
                humantime::format_duration(Duration::from_nanos(ns)).to_string()
            }
            (None, Some(number)) => number.to_string(),
            _ => number.to_string(),
        },
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::Array(values) => {
            let values = values.iter().map(|value| as_written(name, value));
            values.collect::<Vec<_>>().join(", ")
        }
        Value::Object(_) => value.to_string(),
    }
}
