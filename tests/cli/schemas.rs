//! The schemas, and the examples that must pass or be refused.

use std::fs;

use serde_json::{Value, json};

use crate::support::source;

fn read(path: &std::path::Path) -> Value {
    let text = fs::read_to_string(path).unwrap();
    match path.extension().and_then(|end| end.to_str()) {
        Some("yaml") => serde_saphyr::from_str(&text).unwrap_or(Value::Null),
        _ => serde_json::from_str(&text).unwrap(),
    }
}

fn schema(name: &str) -> Value {
    read(&source(&format!("schemas/{name}.schema.json")))
}

/// The schemas that others refer to, each by its file's name.
const REFERRED: [&str; 3] = ["storage", "run-report", "sync-answers"];

/// The schema with those that it refers to within it.
fn bundled(name: &str) -> Value {
    let mut schema = match name {
        "sync-commands" => read(&source("schemas/sync-commands.json")),
        name => self::schema(name),
    };
    for other in REFERRED.iter().filter(|other| **other != name) {
        schema["$defs"][format!("{other}.schema.json")] = self::schema(other);
    }
    schema
}

/// What an example must fit; the name of an answer's example begins with its command.
fn validator(name: &str, example: &str) -> jsonschema::Validator {
    let mut schema = bundled(name);
    let command = example.split('.').next().unwrap();
    if name == "sync-answers" && !["", "error"].contains(&command) {
        assert!(schema["results"].get(command).is_some(), "{example}");
        schema["properties"]["result"] = json!({ "$ref": format!("#/results/{command}") });
    }
    jsonschema::validator_for(&schema).unwrap()
}

/// Fails unless the value fits the schema.
pub fn check(name: &str, value: &Value) {
    let faults: Vec<_> = validator(name, "")
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(faults.is_empty(), "{name}: {faults:#?}\n{value:#}");
}

#[test]
fn every_example_passes_or_is_refused() {
    for name in [
        "container",
        "storage",
        "run-report",
        "run-reports",
        "sync-commands",
        "sync-answers",
        "sync-events",
    ] {
        for verdict in ["accepted", "refused"] {
            let folder = source(&format!("schemas/examples/{name}/{verdict}"));
            let entries: Vec<_> = fs::read_dir(&folder).unwrap().collect();
            assert!(!entries.is_empty(), "{}", folder.display());
            for entry in entries {
                let path = entry.unwrap().path();
                // Two storages with one name are beyond what a schema can say.
                let beyond = path.ends_with("twins.yaml");
                let example = path.file_name().unwrap().to_str().unwrap();
                let fits = validator(name, example).is_valid(&read(&path)) && !beyond;
                assert_eq!(fits, verdict == "accepted", "{}", path.display());
            }
        }
    }
}

#[test]
fn every_schema_is_one_and_has_examples() {
    for entry in fs::read_dir(source("schemas")).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap();
        let Some(name) = file.strip_suffix(".schema.json") else {
            continue;
        };
        assert!(jsonschema::meta::is_valid(&read(&path)), "{file}");
        assert!(source("schemas/examples").join(name).is_dir(), "{file}");
    }
}

#[test]
fn every_command_has_an_answer_and_examples_of_both() {
    let commands = bundled("sync-commands");
    let named = commands["properties"]["cmd"]["enum"].as_array().unwrap();
    let mut named: Vec<_> = named.iter().map(|it| it.as_str().unwrap()).collect();
    named.sort_unstable();
    let mut args: Vec<_> = commands["args"].as_object().unwrap().keys().collect();
    args.sort_unstable();
    assert_eq!(named, args);
    let answers = bundled("sync-answers");
    let mut results: Vec<_> = answers["results"].as_object().unwrap().keys().collect();
    results.sort_unstable();
    assert_eq!(named, results);
    for name in named {
        for of in ["commands", "answers"] {
            let path = format!("schemas/examples/sync-{of}/accepted/{name}.json");
            assert!(source(&path).exists(), "{path}");
        }
    }
}
