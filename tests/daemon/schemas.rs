//! Whatever the daemon says must fit the schemas.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

static SCHEMAS: LazyLock<Schemas> = LazyLock::new(Schemas::new);

struct Schemas {
    answer: Validator,
    of_commands: BTreeMap<String, Validator>,
    event: Validator,
}

/// A file of the source tree.
pub fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(name: &str) -> Value {
    let path = source(&format!("schemas/{name}.schema.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The schema with those that it refers to within it.
fn bundled(name: &str) -> Value {
    let mut schema = read(name);
    for other in ["run-report", "sync-answers"] {
        if other != name {
            schema["$defs"][format!("{other}.schema.json")] = read(other);
        }
    }
    schema
}

impl Schemas {
    fn new() -> Self {
        let answers = bundled("sync-answers");
        let of = |command: &String| {
            let mut schema = answers.clone();
            schema["properties"]["result"] = json!({ "$ref": format!("#/results/{command}") });
            (command.clone(), jsonschema::validator_for(&schema).unwrap())
        };
        Self {
            answer: jsonschema::validator_for(&answers).unwrap(),
            of_commands: answers["results"]
                .as_object()
                .unwrap()
                .keys()
                .map(of)
                .collect(),
            event: jsonschema::validator_for(&bundled("sync-events")).unwrap(),
        }
    }
}

/// What is wrong with a message of the daemon, which answers `command` if that is known and it is an answer.
pub fn faults(message: &Value, command: Option<&str>) -> Vec<String> {
    let schema = match message.get("event") {
        Some(_) => &SCHEMAS.event,
        None => command
            .and_then(|command| SCHEMAS.of_commands.get(command))
            .unwrap_or(&SCHEMAS.answer),
    };
    let faults = schema.iter_errors(message);
    faults
        .map(|error| format!("{}: {error} in {message}", error.instance_path()))
        .collect()
}
