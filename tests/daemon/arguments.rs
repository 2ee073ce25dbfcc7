//! Every argument of every command, missing, of every wrong type, and with others beside it: made from the schema.

use serde_json::{Map, Value, json};
use wl_control::COMMANDS;

use crate::raw::Raw;
use crate::world::{World, refused};

/// The rule, behind its reference.
fn rule<'a>(rule: &'a Value, all: &'a Value) -> &'a Value {
    match rule["$ref"].as_str() {
        Some(to) => all.pointer(to.trim_start_matches('#')).unwrap(),
        None => rule,
    }
}

/// Something that fits.
fn sample(of: &Value, all: &Value) -> Value {
    let of = rule(of, all);
    if let Some(values) = of["enum"].as_array() {
        return values[0].clone();
    }
    match of["type"].as_str().unwrap() {
        "string" => json!("a"),
        "integer" => of["minimum"].as_u64().unwrap_or(1).into(),
        "boolean" => json!(true),
        "array" => json!([sample(&of["items"], all)]),
        "object" => {
            let properties = of["properties"].as_object().cloned().unwrap_or_default();
            let each = properties.iter();
            Value::Object(
                each.map(|(name, rule)| (name.clone(), sample(rule, all)))
                    .collect(),
            )
        }
        other => panic!("{other}"),
    }
}

/// Values that do not fit, of every other type and beyond every limit; and those of what is within.
fn wrong(of: &Value, all: &Value) -> Vec<Value> {
    let of = rule(of, all);
    let kind = of["type"].as_str().unwrap_or("string");
    let any = [
        ("null", Value::Null),
        ("boolean", json!(false)),
        ("integer", json!(5)),
        ("number", json!(0.5)),
        ("string", json!("no such word")),
        ("array", json!([[]])),
        ("object", json!({ "odd": 1 })),
    ];
    let fits = |name: &str| {
        name == kind
            && of["enum"].is_null()
            && of["additionalProperties"] != false
            && of["required"].is_null()
    };
    let mut wrong: Vec<Value> = any
        .into_iter()
        .filter(|(name, _)| !fits(name) || (*name == "array"))
        .map(|(_, value)| value)
        .collect();
    for (limit, value) in [
        ("minLength", json!("")),
        (
            "maxLength",
            json!("x".repeat(1 + of["maxLength"].as_u64().unwrap_or(0) as usize)),
        ),
        ("minimum", json!(of["minimum"].as_i64().unwrap_or(0) - 1)),
        ("maximum", json!(of["maximum"].as_u64().unwrap_or(0) + 1)),
        ("minItems", json!([])),
    ] {
        wrong.extend((!of[limit].is_null()).then_some(value));
    }
    if let Some(most) = of["maxItems"].as_u64() {
        wrong.push(vec![sample(&of["items"], all); most as usize + 1].into());
    }
    if of["type"] == "array" {
        wrong.extend(
            self::wrong(&of["items"], all)
                .into_iter()
                .map(|item| json!([item])),
        );
    }
    wrong.extend(wrong_objects(of, all));
    wrong
}

/// The sample with one thing wrong within it.
fn wrong_objects(of: &Value, all: &Value) -> Vec<Value> {
    let Some(properties) = of["properties"].as_object() else {
        return Vec::new();
    };
    let fine = sample(of, all);
    let with = |name: &str, value: Value| {
        let mut object = fine.clone();
        object[name] = value;
        object
    };
    let mut found = Vec::new();
    for (name, rule) in properties {
        found.extend(wrong(rule, all).into_iter().map(|value| with(name, value)));
    }
    for name in of["required"].as_array().into_iter().flatten() {
        let mut object: Map<_, _> = fine.as_object().unwrap().clone();
        object.remove(name.as_str().unwrap());
        found.push(object.into());
    }
    if of["additionalProperties"] == false {
        found.push(with("odd", json!(1)));
        found.push(with("", Value::Null));
    }
    found
}

#[tokio::test]
async fn wrong_arguments_of_every_command_are_refused_and_nothing_happens() {
    let world = World::new().await;
    let mut raw = Raw::connect(&world).await;
    let all: Value = serde_json::from_str(COMMANDS).unwrap();
    let mut tried = 0;
    for (command, rule) in all["args"].as_object().unwrap() {
        let rule = self::rule(rule, &all);
        let mut cases = wrong_objects(rule, &all);
        if rule["additionalProperties"] == false {
            cases.push(json!({ "odd": 1 }));
        }
        assert!(!cases.is_empty(), "{command}");
        for args in cases {
            tried += 1;
            let request = json!({ "cmd": command, "args": args, "id": tried });
            let answer = raw.ask(&request).await;
            assert_eq!(answer["error"]["class"], "usage", "{request}: {answer}");
            assert_eq!(answer["id"], tried);
            let desc = answer["error"]["desc"].as_str().unwrap();
            assert!(desc.len() < 4000, "{desc}");
        }
        for args in [
            json!(null),
            json!([]),
            json!([{}]),
            json!(1),
            json!("{}"),
            json!(false),
        ] {
            let answer = raw
                .ask(&json!({ "cmd": command, "args": args, "id": "a" }))
                .await;
            assert_eq!(
                answer["error"]["class"], "malformed",
                "{command} {args}: {answer}"
            );
            assert_eq!(answer["id"], "a");
        }
        if !rule["required"].is_null() {
            let answer = raw.ask(&json!({ "cmd": command, "id": 1 })).await;
            assert_eq!(answer["error"]["class"], "usage", "{command}: {answer}");
        }
    }
    assert!(tried > 300, "{tried}");
    world.is_up().await;
}

#[tokio::test]
async fn unknown_commands_are_refused_with_those_there_are() {
    let world = World::new().await;
    let mut raw = Raw::connect(&world).await;
    let long = "x".repeat(500_000);
    for command in [
        "",
        " ",
        "Status",
        "status ",
        "test-error",
        "args",
        "__proto__",
        "\u{0}",
        &*long,
    ] {
        let answer = raw.ask(&json!({ "cmd": command, "id": 1 })).await;
        assert_eq!(answer["error"]["class"], "unknown-command", "{answer}");
        assert_eq!(answer["id"], 1);
        let desc = answer["error"]["desc"].as_str().unwrap();
        assert!(desc.contains("`subscribe`") && desc.len() < 1000, "{desc}");
    }
    world.is_up().await;
}

#[tokio::test]
async fn a_relative_folder_is_refused() {
    let world = World::new().await;
    let mut client = world.client().await;
    for location in ["a", "./a", "../a", "~/a"] {
        let mut job = world.job("j", true);
        job["source"]["location"] = json!(location);
        let refusal = refused(client.ask("start", job).await);
        assert_eq!(refusal.class, "usage", "{location}");
        assert!(refusal.desc.contains("absolute"), "{}", refusal.desc);
    }
}
