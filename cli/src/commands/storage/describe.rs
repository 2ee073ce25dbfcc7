//! A storage as commands show it: without secrets.

use serde_json::{Map, Value};

use crate::manifest::{Storage, location, redact};
use crate::output::escape;

/// For programs: the fields of the manifest.
pub fn json(storage: &Storage) -> Value {
    let mut fields = Map::new();
    fields.insert("backend-id".to_owned(), storage.backend_id.clone().into());
    fields.insert("type".to_owned(), storage.type_name.clone().into());
    if let Some(seconds) = storage.watcher_interval {
        fields.insert("watcher-interval".to_owned(), seconds.into());
    }
    fields.insert("read-only".to_owned(), storage.read_only.into());
    fields.extend(redact(storage));
    Value::Object(fields)
}

/// For people: one line.
pub fn line(storage: &Storage) -> String {
    let mut line = format!("{}  {}", storage.backend_id, escape(&storage.type_name));
    let place = location(storage);
    if !place.is_empty() {
        line += &format!("  {}", escape(&place));
    }
    if storage.read_only {
        line += "  (read-only)";
    }
    line
}
