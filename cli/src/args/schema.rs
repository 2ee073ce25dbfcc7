//! Words of the command line as the schema of a storage type wants them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{CliError, CliResult};

/// The property that an option of this name means: `endpoint-url` is `endpoint_url`.
pub fn property(schema: &Value, name: &str) -> Option<String> {
    let mut names = schema["properties"].as_object()?.keys();
    let same = |text: &str| text.replace('_', "-");
    names.find(|known| same(known) == same(name)).cloned()
}

/// The text as the schema wants it; a text that does not fit stays one, and the check against the schema names the field.
pub fn value(text: &str, rule: &Value) -> Value {
    let wanted = match rule["type"].as_str() {
        Some("array") => rule["items"]["type"].as_str(),
        other => other,
    };
    match wanted {
        Some("integer" | "number" | "boolean" | "object") => {
            serde_json::from_str(text).unwrap_or_else(|_| text.into())
        }
        _ => text.into(),
    }
}

/// The value of a parameter that names a file, absolute: it may be read from another folder than this one. Others stay.
pub fn absolute(name: &str, value: Value) -> CliResult<Value> {
    match value.as_str() {
        Some(text) if names_file(name) && !text.is_empty() => {
            Ok(path_text(&absolute_path(Path::new(text))?)?.into())
        }
        _ => Ok(value),
    }
}

/// Whether a parameter of this name is a path on this machine.
fn names_file(name: &str) -> bool {
    name.ends_with("_file") || name.ends_with("-file") || name == "ssh_config"
}

/// The path, absolute; `~` at its start is the home folder, which the shell does not put there after `NAME=`.
pub fn absolute_path(path: &Path) -> CliResult<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let path = match (path.strip_prefix("~"), home) {
        (Ok(below), Some(home)) => PathBuf::from(home).join(below),
        _ => path.to_owned(),
    };
    std::path::absolute(&path)
        .map_err(|error| CliError::Usage(format!("{}: {error}; correct the path", path.display())))
}

/// A path as text. The words of the command line are UTF-8, the working directory need not be.
pub fn path_text(path: &Path) -> CliResult<&str> {
    path.to_str().ok_or_else(|| {
        CliError::Usage(format!(
            "{}: the path is not UTF-8; rename the folder, or reach it through another name",
            path.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_becomes_what_the_schema_wants() {
        assert_eq!(value("5", &json!({"type": "integer"})), json!(5));
        assert_eq!(value("x", &json!({"type": "integer"})), json!("x"));
        assert_eq!(value("5", &json!({"type": "string"})), json!("5"));
        assert_eq!(value("5", &json!({})), json!("5"));
        let list = json!({"type": "array", "items": {"type": "integer"}});
        assert_eq!(value("5", &list), json!(5));
    }

    #[test]
    fn files_are_absolute_and_other_values_stay() {
        assert_eq!(absolute("profile", "a".into()).unwrap(), "a");
        assert_eq!(absolute("identity_file", "/a".into()).unwrap(), "/a");
        let home = std::env::var("HOME").unwrap();
        let file = absolute("credentials_file", "~/a".into()).unwrap();
        assert_eq!(file, Path::new(&home).join("a").to_str().unwrap());
    }
}
