//! From the bytes of a message to a request that fits the schema.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;
use wl_control::{COMMANDS, Class, Refusal, Request};
use wl_core::plugin::Schema;

use super::unique::Unique;

/// The schema of each command's arguments.
static ARGS: LazyLock<BTreeMap<String, Result<Schema, String>>> = LazyLock::new(|| {
    let all: Value = serde_json::from_str(COMMANDS).unwrap_or_default();
    let commands = all["args"].as_object().cloned().unwrap_or_default();
    let defs = &all["$defs"];
    let each = commands.into_iter();
    each.map(|(name, rule)| (name, Schema::new(inlined(&rule, defs))))
        .collect()
});

/// The schema of a request as such, whatever the command.
static ENVELOPE: LazyLock<Result<Schema, String>> = LazyLock::new(|| {
    let mut all: Value = serde_json::from_str(COMMANDS).unwrap_or_default();
    // Which commands there are, and what each takes, is told better one by one.
    for part in ["/allOf", "/properties/cmd/enum"] {
        let (place, name) = part.rsplit_once('/').unwrap_or_default();
        if let Some(Value::Object(fields)) = all.pointer_mut(place) {
            fields.remove(name);
        }
    }
    Schema::new(all)
});

/// The most that is said of what is wrong with a request: it may be wrong in a million places.
const MOST_SAID: usize = 2000;

/// The rule with the rules that it refers to in their place, so that errors can tell what is wanted.
fn inlined(rule: &Value, defs: &Value) -> Value {
    match rule {
        Value::Object(fields) => {
            if let Some(name) = fields.get("$ref").and_then(Value::as_str) {
                let name = name.rsplit('/').next().unwrap_or_default();
                return inlined(&defs[name], defs);
            }
            let each = fields.iter();
            Value::Object(
                each.map(|(key, rule)| (key.clone(), inlined(rule, defs)))
                    .collect(),
            )
        }
        Value::Array(rules) => rules.iter().map(|rule| inlined(rule, defs)).collect(),
        other => other.clone(),
    }
}

/// A request, checked; or its id and why it is none.
pub(super) fn read(message: &[u8]) -> Result<Request, (Value, Refusal)> {
    let malformed = |why: String| (Value::Null, Refusal::new(Class::Malformed, why));
    let text = std::str::from_utf8(message).map_err(|error| {
        malformed(format!(
            "the message is not UTF-8 ({error}); send JSON in UTF-8"
        ))
    })?;
    let Unique(value) = serde_json::from_str(text).map_err(|error| {
        malformed(format!(
            "the message is not JSON ({error}); send one JSON object and an empty line"
        ))
    })?;
    let envelope = ENVELOPE
        .as_ref()
        .map_err(|why| (Value::Null, Refusal::new(Class::Failed, why.clone())))?;
    let faults = envelope.faults(&value);
    let id = value.get("id").cloned().unwrap_or_default();
    if !faults.is_empty() {
        // An id that is none cannot come back.
        let id = if wrong_id(&value) { Value::Null } else { id };
        let why = format!(
            "the message is no request: {}; send {{\"cmd\": NAME, \"args\": {{...}}, \"id\": N}}",
            shortened(&faults.join("; "))
        );
        return Err((id, Refusal::new(Class::Malformed, why)));
    }
    let mut request: Request = serde_json::from_value(value)
        .map_err(|error| malformed(format!("the message is no request ({error})")))?;
    if request.args.is_null() {
        request.args = Value::Object(serde_json::Map::new());
    }
    match check(&request) {
        Ok(()) => Ok(request),
        Err(refusal) => Err((id, refusal)),
    }
}

/// Whether the id is what is wrong with a message, or there cannot be one.
fn wrong_id(message: &Value) -> bool {
    let alone = serde_json::json!({ "cmd": "version", "id": message.get("id") });
    !message.is_object()
        || !ENVELOPE
            .as_ref()
            .is_ok_and(|all| all.faults(&alone).is_empty())
}

/// A text that may repeat what was sent, cut so that no message makes an answer that is longer than itself.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(MOST_SAID) {
        Some((end, _)) => format!("{} ... (and so on)", &text[..end]),
        None => text.to_owned(),
    }
}

fn check(request: &Request) -> Result<(), Refusal> {
    let Some(schema) = ARGS.get(&request.cmd) else {
        let known: Vec<_> = ARGS.keys().map(|name| format!("`{name}`")).collect();
        let shown: String = request.cmd.chars().take(60).collect();
        return Err(Refusal::new(
            Class::UnknownCommand,
            format!(
                "there is no command `{shown}`; the commands are {}",
                known.join(", ")
            ),
        ));
    };
    let schema = schema
        .as_ref()
        .map_err(|why| Refusal::new(Class::Failed, why.clone()))?;
    let faults = schema.faults(&request.args);
    if faults.is_empty() {
        return Ok(());
    }
    let desc = format!(
        "the arguments of `{}` are wrong: {}",
        request.cmd,
        shortened(&faults.join("; "))
    );
    Err(Refusal::new(Class::Usage, desc))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn whole() -> Schema {
        Schema::new(serde_json::from_str(COMMANDS).unwrap()).unwrap()
    }

    fn agree(schema: &Schema, message: &Value) -> bool {
        let read = read(message.to_string().as_bytes());
        assert_eq!(
            read.is_ok(),
            schema.faults(message).is_empty(),
            "{message}: {:?}",
            read.err()
        );
        read.is_ok()
    }

    #[test]
    fn the_daemon_takes_what_the_schema_takes_example_by_example() {
        let schema = whole();
        let examples = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../schemas/examples/sync-commands"
        );
        for verdict in ["accepted", "refused"] {
            for entry in std::fs::read_dir(format!("{examples}/{verdict}")).unwrap() {
                let path = entry.unwrap().path();
                let message = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
                let taken = agree(&schema, &message);
                assert_eq!(taken, verdict == "accepted", "{}", path.display());
            }
        }
    }

    #[test]
    fn the_daemon_takes_what_the_schema_takes_whatever_the_envelope() {
        let schema = whole();
        for taken in [
            json!({ "cmd": "status" }),
            json!({ "cmd": "status", "args": {}, "id": null }),
            json!({ "cmd": "status", "id": -1 }),
            json!({ "cmd": "status", "id": u64::MAX }),
            json!({ "cmd": "status", "id": "" }),
            json!({ "cmd": "status", "id": "\u{0}\u{1f600}" }),
        ] {
            assert!(agree(&schema, &taken), "{taken}");
        }
        for refused in [
            json!(["status", {}, 1]),
            json!(["status"]),
            json!("status"),
            json!(1),
            json!(null),
            json!({}),
            json!({ "cmd": null }),
            json!({ "cmd": ["status"] }),
            json!({ "cmd": "Status" }),
            json!({ "cmd": "status", "args": null }),
            json!({ "cmd": "status", "args": [] }),
            json!({ "cmd": "status", "id": 1.5 }),
            json!({ "cmd": "status", "id": 1e300 }),
            json!({ "cmd": "status", "id": true }),
            json!({ "cmd": "status", "id": [1] }),
            json!({ "cmd": "status", "id": "x".repeat(301) }),
            json!({ "cmd": "status", "more": 1 }),
        ] {
            assert!(!agree(&schema, &refused), "{refused}");
        }
    }

    #[test]
    fn an_id_comes_back_whatever_else_is_wrong_and_a_wrong_one_does_not() {
        let id = |text: &str| read(text.as_bytes()).unwrap_err().0;
        assert_eq!(id(r#"{"cmd": 5, "id": 7}"#), 7);
        assert_eq!(id(r#"{"id": "a"}"#), "a");
        assert_eq!(id(r#"{"cmd": "nothing", "id": "a"}"#), "a");
        assert_eq!(id(r#"{"cmd": "status", "id": {}}"#), Value::Null);
        assert_eq!(id(r#"[{"id": 1}]"#), Value::Null);
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused_wherever_it_is() {
        for message in [
            r#"{"cmd": "status", "cmd": "shutdown", "id": 1}"#,
            r#"{"cmd": "status", "id": 1, "id": 2}"#,
            r#"{"cmd": "stop", "args": {"job-id": "a", "job-id": "b"}, "id": 1}"#,
            r#"{"cmd": "stop", "args": {"job-id": "a", "job\u002did": "b"}, "id": 1}"#,
            r#"{"cmd": "start", "args": {"source": [{"a": {"x": 1, "y": 2, "x": 3}}]}, "id": 1}"#,
        ] {
            let (id, refusal) = read(message.as_bytes()).unwrap_err();
            assert_eq!(id, Value::Null, "{message}");
            assert_eq!(refusal.class, Class::Malformed.as_str(), "{message}");
            assert!(refusal.desc.contains("twice"), "{}", refusal.desc);
        }
        let secret = r#"{"cmd": "status", "\u001b[2J": "secret", "\u001b[2J": "secret"}"#;
        let (_, refusal) = read(secret.as_bytes()).unwrap_err();
        assert!(!refusal.desc.contains("secret"), "{}", refusal.desc);
        assert!(!refusal.desc.contains('\u{1b}'), "{}", refusal.desc);
        // Numbers are read as they were.
        for number in [
            "0",
            "-1",
            "18446744073709551615",
            "-9223372036854775808",
            "1.5",
            "1e300",
        ] {
            let Unique(value) = serde_json::from_str(number).unwrap();
            assert_eq!(value, serde_json::from_str::<Value>(number).unwrap());
        }
    }

    #[test]
    fn a_message_that_is_wrong_everywhere_gets_a_short_answer() {
        let many = "0,".repeat(300_000) + "0";
        let long = "x".repeat(900_000);
        for message in [
            format!(r#"{{"cmd": "subscribe", "args": {{"active-events": [{many}]}}}}"#),
            format!(r#"{{"cmd": "resolve", "args": {{"paths": [{many}]}}}}"#),
            format!(r#"{{"cmd": "status", "args": {{"{long}": 1}}}}"#),
            format!(r#"{{"cmd": "status", "{long}": 1}}"#),
            format!(r#"{{"cmd": "{long}"}}"#),
        ] {
            let (_, refusal) = read(message.as_bytes()).unwrap_err();
            assert!(refusal.desc.len() < 4 * MOST_SAID, "{}", refusal.desc.len());
        }
    }
}
