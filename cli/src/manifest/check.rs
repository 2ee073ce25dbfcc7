//! Checks manifests and names. Every fault names the field and the fix; values are not repeated, they may be secrets.

use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::Value;

use crate::error::{CliError, CliResult};
use crate::output::escape;

const CONTAINER: &str = include_str!("../../../schemas/container.schema.json");
const STORAGE: &str = include_str!("../../../schemas/storage.schema.json");

/// The faults of a container manifest, one line each.
pub fn container(manifest: &Value) -> Vec<String> {
    let schema = match schema() {
        Ok(schema) => schema,
        Err(error) => return vec![format!("the built-in schema is no JSON: {error}")],
    };
    let validator = match jsonschema::validator_for(&schema) {
        Ok(validator) => validator,
        Err(error) => return vec![format!("the built-in schema is no schema: {error}")],
    };
    let faults: Vec<_> = validator
        .iter_errors(manifest)
        .map(|error| describe(&error, &schema))
        .collect();
    match faults.is_empty() {
        true => twins(manifest),
        false => faults,
    }
}

/// The container schema with the storage schema put where it refers to it.
fn schema() -> serde_json::Result<Value> {
    let mut schema: Value = serde_json::from_str(CONTAINER)?;
    let mut storage: Value = serde_json::from_str(STORAGE)?;
    if let Some(fields) = storage.as_object_mut() {
        // A schema inside another has no identity of its own.
        fields.remove("$id");
        fields.remove("$schema");
    }
    if let Some(items) = schema.pointer_mut("/properties/backends/properties/storage/items") {
        *items = storage;
    }
    Ok(schema)
}

fn describe(error: &jsonschema::ValidationError<'_>, schema: &Value) -> String {
    let field = field(&error.instance_path().to_string());
    let rule = error.schema_path().to_string();
    // The last part names the keyword; the rest is the part of the schema that holds it.
    let part = rule.rsplit_once('/').map_or("", |(part, _)| part);
    let part = schema.pointer(part).unwrap_or(schema);
    let within = match field.is_empty() {
        true => String::new(),
        false => format!("{field}."),
    };
    match error.kind() {
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let help = help(&part["properties"][name]);
            format!("field `{within}{name}` is missing ({help})")
        }
        Kind::AdditionalProperties { unexpected } => {
            let known = part["properties"].as_object().into_iter().flatten();
            let known: Vec<_> = known.map(|(name, _)| format!("`{name}`")).collect();
            let unexpected: Vec<_> = unexpected
                .iter()
                .map(|name| format!("`{within}{}`", escape(name)))
                .collect();
            format!(
                "unknown field {}: remove it; the fields are {}",
                unexpected.join(", "),
                known.join(", ")
            )
        }
        _ if field.is_empty() => "it holds no fields: write `object: container` first".to_owned(),
        _ => format!("field `{field}` is wrong ({})", help(part)),
    }
}

fn help(rule: &Value) -> &str {
    rule["description"].as_str().unwrap_or("as the schema says")
}

/// `/backends/storage/0/type` as `backends.storage[0].type`.
fn field(pointer: &str) -> String {
    let mut field = String::new();
    for part in pointer.split('/').skip(1) {
        if part.bytes().all(|byte| byte.is_ascii_digit()) {
            field += &format!("[{part}]");
        } else {
            let dot = if field.is_empty() { "" } else { "." };
            field += &format!("{dot}{}", escape(part));
        }
    }
    field
}

/// Storages that have the backend id of an earlier one.
fn twins(manifest: &Value) -> Vec<String> {
    let storages = manifest["backends"]["storage"].as_array();
    let ids: Vec<_> = storages
        .into_iter()
        .flatten()
        .map(|storage| storage["backend-id"].as_str().unwrap_or_default())
        .collect();
    let twin = |(at, id): (usize, &&str)| {
        let first = ids[..at].iter().position(|other| other == id)?;
        Some(format!(
            "field `backends.storage[{at}].backend-id` is taken by `backends.storage[{first}]`: choose another"
        ))
    };
    ids.iter().enumerate().filter_map(twin).collect()
}

/// A container's name is a part of a file name.
pub fn name(name: &str) -> CliResult<()> {
    let why = if name.is_empty() {
        "is empty"
    } else if name.starts_with(['.', '-']) {
        "starts with a dot or a dash"
    } else if name.contains('/') {
        "contains a slash"
    } else if name.chars().any(char::is_control) {
        "contains a control character"
    } else if name.chars().count() > 100 || name.len() > 200 {
        "is longer than 100 characters or 200 bytes"
    } else {
        return Ok(());
    };
    let shown: String = escape(name).chars().take(40).collect();
    Err(CliError::Usage(format!(
        "the container name `{shown}` {why}; choose another"
    )))
}

/// A backend id is a word.
pub fn backend_id(id: &str) -> CliResult<()> {
    let start = id.starts_with(|c: char| c.is_ascii_alphanumeric());
    let word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if start && id.len() <= 64 && id.chars().all(word) {
        return Ok(());
    }
    Err(CliError::Usage(format!(
        "the backend id `{}` is no word of up to 64 letters, digits, `.`, `_` and `-` that starts with a letter or digit; choose another",
        escape(id)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parts_of_file_names() {
        for fine in ["a", "Meine Fotos", "ünï", "a.b", &"x".repeat(100)] {
            assert!(name(fine).is_ok(), "{fine}");
        }
        for wrong in [
            "",
            ".",
            ".a",
            "a/b",
            "-a",
            "a\nb",
            &"x".repeat(101),
            &"🦀".repeat(60),
        ] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn backend_ids_fit_their_schema() {
        let schema: Value = serde_json::from_str(STORAGE).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        for id in [
            "local-1",
            "8a3b-uuid",
            "",
            "-a",
            ".a",
            "a b",
            "a/b",
            "ä",
            &"x".repeat(65),
        ] {
            let storage = serde_json::json!({"type": "local", "backend-id": id});
            assert_eq!(backend_id(id).is_ok(), validator.is_valid(&storage), "{id}");
        }
    }
}
