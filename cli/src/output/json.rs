//! JSON documents.

use serde::Serialize;
use serde_json::json;

use crate::error::{CliError, CliResult};

/// One document on one line.
pub fn document(value: &(impl Serialize + ?Sized)) -> CliResult<String> {
    let mut text = serde_json::to_string(value)
        .map_err(|error| CliError::Failed(format!("cannot write JSON: {error}")))?;
    text.push('\n');
    Ok(text)
}

/// Why a command did nothing.
pub fn error(class: &str, desc: &str) -> String {
    format!("{}\n", json!({ "error": { "class": class, "desc": desc } }))
}
