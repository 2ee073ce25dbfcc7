//! What of a storage's parameters may be shown.

use std::ffi::OsStr;

use serde_json::{Map, Value};
use wl_daemon::CREDENTIALS_FILE;

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
        // wl names such a file itself, whatever the type.
        let unknown = rule.is_null() && name != CREDENTIALS_FILE;
        let value = if unknown || rule["writeOnly"] == true || is_secret(name) {
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
    place(&redact(storage))
}

/// The place that shown parameters name.
fn place(shown: &Map<String, Value>) -> String {
    let text = |name: &str| {
        let text = shown.get(name).and_then(Value::as_str);
        text.filter(|text| !text.is_empty() && *text != HIDDEN)
    };
    let below = |start: String| match text("prefix") {
        Some(prefix) => format!("{start}/{prefix}"),
        None => start,
    };
    let mut place = if let Some(url) = text("s3_url").or_else(|| text("url")) {
        url.to_owned()
    } else if let Some(bucket) = text("bucket") {
        below(format!("gs://{bucket}"))
    } else if let Some(container) = text("blob_container") {
        let account = text("account_name").map(|name| format!(" of account {name}"));
        below(format!("azblob://{container}")) + &account.unwrap_or_default()
    } else if let Some(scheme) = text("scheme") {
        format!("{scheme}:{}", text("location").unwrap_or("/"))
    } else {
        text("location").unwrap_or_default().to_owned()
    };
    if let Some(endpoint) = text("endpoint_url") {
        place += &format!(" at {endpoint}");
    }
    place
}

/// Whether a field of this name holds a secret. A field that names a file does not: what is in the file does.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let file = name.ends_with("_file") || name.ends_with("-file");
    !file && SECRET.iter().any(|word| name.contains(word))
}

/// Whether the text is a URL with a password in it.
pub fn holds_secret(text: &str) -> bool {
    login(text).is_some_and(|login| login.contains(':'))
}

/// `user:password` of `https://user:password@host/`; the password may have a slash in it, where none belongs.
fn login(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    let host = &rest[..rest.find('/').unwrap_or(rest.len())];
    if let Some((login, _)) = host.rsplit_once('@') {
        return Some(login);
    }
    let (_, port) = host.split_once(':').filter(|_| !host.starts_with('['))?;
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    let (login, _) = rest.rsplit_once('@').filter(|_| !is_port)?;
    Some(login)
}

/// `text` without the passwords of URLs that are among these words of the command line.
pub fn without_passwords(text: &str, words: &[impl AsRef<OsStr>]) -> String {
    let mut text = text.to_owned();
    for word in words.iter().filter_map(|word| word.as_ref().to_str()) {
        if let Some(login) = login(word).filter(|login| login.contains(':')) {
            text = text.replace(login, HIDDEN);
        }
    }
    text
}

/// `https://user:password@host/?token=x` as `https://host/?(hidden)`. A user name alone is part of an address.
fn without_login(value: &Value) -> Value {
    let Some((text, (scheme, rest))) = value
        .as_str()
        .and_then(|text| Some((text, text.split_once("://")?)))
    else {
        return value.clone();
    };
    let rest = match login(text) {
        Some(login) if login.contains(':') => &rest[login.len() + 1..],
        _ => rest,
    };
    match rest.split_once('?') {
        Some((rest, _)) => format!("{scheme}://{rest}?{HIDDEN}").into(),
        None => format!("{scheme}://{rest}").into(),
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
        for name in ["location", "credentials_file", "key-file", "profile"] {
            assert!(!is_secret(name), "{name}");
        }
        assert_eq!(without_login(&json!("https://u:p@h/a@b")), "https://h/a@b");
        assert_eq!(without_login(&json!("https://u:p@h")), "https://h");
        assert_eq!(without_login(&json!("/a@b")), "/a@b");
        assert_eq!(without_login(&json!("sftp://u@h/a")), "sftp://u@h/a");
        assert_eq!(without_login(&json!("ftp://u:p@q@h/a")), "ftp://h/a");
        assert_eq!(without_login(&json!("ftp://u:p/q@h/a")), "ftp://h/a");
        assert_eq!(without_login(&json!("ftp://h:21/a@b")), "ftp://h:21/a@b");
        let told = without_passwords("no 'ftp://u:p/q@h' here", &["a", "--x=ftp://u:p/q@h"]);
        assert_eq!(told, "no 'ftp://(hidden)@h' here");
        let query = without_login(&json!("https://h/a?sig=hush"));
        assert_eq!(query, "https://h/a?(hidden)");
        let mut params = Map::new();
        params.insert("anything".to_owned(), json!("hush"));
        let storage = Storage::new("no-such-type", "x".to_owned(), params);
        assert_eq!(redact(&storage)["anything"], HIDDEN);
    }

    #[test]
    fn every_type_has_a_place_for_people() {
        for (params, expected) in [
            (json!({"location": "/a"}), "/a"),
            (json!({"s3_url": "s3://b/p"}), "s3://b/p"),
            (
                json!({"s3_url": "s3://b", "endpoint_url": "https://h"}),
                "s3://b at https://h",
            ),
            (json!({"url": "sftp://u@h/~/a"}), "sftp://u@h/~/a"),
            (json!({"bucket": "b"}), "gs://b"),
            (json!({"bucket": "b", "prefix": "p/q"}), "gs://b/p/q"),
            (
                json!({"blob_container": "c", "prefix": "p", "account_name": "a"}),
                "azblob://c/p of account a",
            ),
            (json!({"scheme": "b2", "location": "/x"}), "b2:/x"),
            (json!({"scheme": "b2"}), "b2:/"),
            (json!({"url": HIDDEN}), ""),
            (json!({}), ""),
        ] {
            let Value::Object(params) = params else {
                continue;
            };
            assert_eq!(place(&params), expected);
        }
    }
}
