//! The schemas, and the examples that must pass or be refused.

use std::fs;

use serde_json::Value;

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

fn validator(name: &str) -> jsonschema::Validator {
    let mut schema = schema(name);
    // References between schemas are by file name; put what they mean in their place.
    for (at, other) in [
        ("/properties/backends/properties/storage/items", "storage"),
        ("/properties/runs/items", "run-report"),
    ] {
        if let Some(place) = schema.pointer_mut(at) {
            assert_eq!(place["$ref"], format!("{other}.schema.json"));
            *place = self::schema(other);
        }
    }
    jsonschema::validator_for(&schema).unwrap()
}

/// Fails unless the value fits the schema.
pub fn check(name: &str, value: &Value) {
    let faults: Vec<_> = validator(name)
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(faults.is_empty(), "{name}: {faults:#?}\n{value:#}");
}

#[test]
fn every_example_passes_or_is_refused() {
    for name in ["container", "storage", "run-report", "run-reports"] {
        let validator = validator(name);
        for verdict in ["accepted", "refused"] {
            let folder = source(&format!("schemas/examples/{name}/{verdict}"));
            let entries: Vec<_> = fs::read_dir(&folder).unwrap().collect();
            assert!(!entries.is_empty(), "{}", folder.display());
            for entry in entries {
                let path = entry.unwrap().path();
                // Two storages with one name are beyond what a schema can say.
                let beyond = path.ends_with("twins.yaml");
                let fits = validator.is_valid(&read(&path)) && !beyond;
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
