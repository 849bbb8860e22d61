//! Names what differs between two saved reports: options, the program, the machine.

use serde_json::Value;

use crate::report::document::Document;
use crate::report::findings::{Difference, Origin};
use crate::report::options::{as_written, option_name};

/// Returns the differences that may explain a difference of the figures. The targets, the seeds and the number of runs
/// are no differences of the load.
pub(super) fn between(a: &Document, b: &Document) -> Vec<Difference> {
    let program = Difference {
        of: Origin::Program,
        name: "version".to_owned(),
        a: format!("{} {}", a.program.name, a.program.version),
        b: format!("{} {}", b.program.name, b.program.version),
    };
    let mut found = of_objects(Origin::Option, &a.options, &b.options);
    found.extend((program.a != program.b).then_some(program));
    found.extend(of_objects(
        Origin::Environment,
        &a.environment,
        &b.environment,
    ));
    found
}

/// Compares the fields of two values that are objects in JSON. The fields of an object within them are compared too.
fn of_objects(of: Origin, a: &impl serde::Serialize, b: &impl serde::Serialize) -> Vec<Difference> {
    let fields = |value: Result<Value, serde_json::Error>| match value {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (a, b) = (
        fields(serde_json::to_value(a)),
        fields(serde_json::to_value(b)),
    );
    let names = a
        .keys()
        .chain(b.keys().filter(|name| !a.contains_key(*name)));
    let mut found = Vec::new();
    for name in names.filter(|name| !(of == Origin::Option && IGNORED.contains(&name.as_str()))) {
        let (a, b) = (
            a.get(name).unwrap_or(&Value::Null),
            b.get(name).unwrap_or(&Value::Null),
        );
        match (a, b) {
            _ if a == b => {}
            (Value::Object(_), Value::Object(_)) => found.extend(of_objects(of, a, b)),
            _ => found.push(Difference {
                of,
                name: match of {
                    Origin::Option => option_name(name),
                    _ => name.clone(),
                },
                a: as_written(name, a),
                b: as_written(name, b),
            }),
        }
    }
    found
}

/// Options that do not change the load of a run.
const IGNORED: [&str; 9] = [
    "targets",
    "commands",
    "seed",
    "payload_key",
    "start_at",
    "runs",
    "order",
    "fail_if",
    "sweep",
];
