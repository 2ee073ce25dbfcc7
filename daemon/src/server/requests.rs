//! From the bytes of a message to a request that fits the schema.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;
use wl_control::{COMMANDS, Class, Refusal, Request};
use wl_core::plugin::Schema;

/// The schema of each command's arguments.
static ARGS: LazyLock<BTreeMap<String, Result<Schema, String>>> = LazyLock::new(|| {
    let all: Value = serde_json::from_str(COMMANDS).unwrap_or_default();
    let commands = all["args"].as_object().cloned().unwrap_or_default();
    let defs = &all["$defs"];
    let each = commands.into_iter();
    each.map(|(name, rule)| (name, Schema::new(inlined(&rule, defs))))
        .collect()
});

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
    let value: Value = serde_json::from_str(text).map_err(|error| {
        malformed(format!(
            "the message is not JSON ({error}); send one JSON object and an empty line"
        ))
    })?;
    let id = value.get("id").cloned().unwrap_or_default();
    let id = match id {
        Value::Null | Value::Number(_) | Value::String(_) => id,
        _ => {
            return Err(malformed(
                "`id` must be a number, a text or null".to_owned(),
            ));
        }
    };
    let mut request: Request = serde_json::from_value(value).map_err(|error| {
        let why = format!("the message is no request ({error}); send {{\"cmd\": NAME, \"args\": {{...}}, \"id\": N}}");
        (id.clone(), Refusal::new(Class::Malformed, why))
    })?;
    if request.args.is_null() {
        request.args = Value::Object(serde_json::Map::new());
    }
    match check(&request) {
        Ok(()) => Ok(request),
        Err(refusal) => Err((id, refusal)),
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
        faults.join("; ")
    );
    Err(Refusal::new(Class::Usage, desc))
}
