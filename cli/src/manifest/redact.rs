//! What of a storage's parameters may be shown.

use serde_json::{Map, Value};

use super::Storage;

/// What stands where a secret was.
const HIDDEN: &str = "(hidden)";

/// Words in the names of fields that hold secrets.
const SECRET: [&str; 8] = [
    "pass",
    "secret",
    "token",
    "key",
    "credential",
    "auth",
    "private",
    "cookie",
];

/// The storage's own parameters without secrets: a field is shown if its type's schema knows it, does not call it
/// `writeOnly`, and its name says nothing of a secret.
pub fn redact(storage: &Storage) -> Map<String, Value> {
    let schema: Value = wl_daemon::registry()
        .ok()
        .and_then(|registry| registry.backend(&storage.type_name).ok())
        .and_then(|factory| serde_json::from_str(factory.schema()).ok())
        .unwrap_or_default();
    let shown = |(name, value): (&String, &Value)| {
        let rule = &schema["properties"][name];
        let value = if rule.is_null() || rule["writeOnly"] == true || is_secret(name) {
            HIDDEN.into()
        } else {
            without_login(value)
        };
        (name.clone(), value)
    };
    storage.params.iter().map(shown).collect()
}

/// Where the storage is, for people.
pub fn location(storage: &Storage) -> String {
    let shown = redact(storage);
    let location = ["location", "url", "s3_url"]
        .iter()
        .find_map(|name| shown.get(*name).and_then(Value::as_str));
    location.unwrap_or_default().to_owned()
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET.iter().any(|word| name.contains(word))
}

/// `https://user:password@host/` as `https://host/`.
fn without_login(value: &Value) -> Value {
    match value.as_str().and_then(|text| text.split_once("://")) {
        Some((scheme, rest)) => {
            let end = rest.find('/').unwrap_or(rest.len());
            let host = rest[..end].rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}://{}", &rest[host..]).into()
        }
        None => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        for name in ["password", "secret_key", "accessToken", "s3-credentials"] {
            assert!(is_secret(name), "{name}");
        }
        assert!(!is_secret("location"));
        assert_eq!(without_login(&json!("https://u:p@h/a@b")), "https://h/a@b");
        assert_eq!(without_login(&json!("https://u:p@h")), "https://h");
        assert_eq!(without_login(&json!("/a@b")), "/a@b");
        let mut params = Map::new();
        params.insert("anything".to_owned(), json!("hush"));
        let storage = Storage::new("no-such-type", "x".to_owned(), params);
        assert_eq!(redact(&storage)["anything"], HIDDEN);
    }
}
