//! Checks a backend's parameters against its JSON schema.

use serde_json::Value;

/// Parameters that the schema refuses. One line for each fault: the field, what is wrong, what to do. Values are not repeated:
/// they may be secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the parameters of storage type `{type_name}` are wrong: {}", faults.join("; "))]
pub struct ParamsError {
    /// The storage type.
    pub type_name: String,
    /// What is wrong.
    pub faults: Vec<String>,
}

/// Checks `params` of storage type `type_name` against `schema`.
pub fn check_params(type_name: &str, schema: &str, params: &Value) -> Result<(), ParamsError> {
    let fail = |faults| ParamsError {
        type_name: type_name.to_owned(),
        faults,
    };
    let schema = serde_json::from_str(schema)
        .map_err(|error| fail(vec![format!("its schema is not JSON: {error}")]))?;
    let schema = Schema::new(schema).map_err(|error| fail(vec![error]))?;
    let faults = schema.faults(params);
    if faults.is_empty() {
        Ok(())
    } else {
        Err(fail(faults))
    }
}

/// Faults of a value that are told at once. What comes from a client may be wrong a million times.
const MOST_FAULTS: usize = 20;

/// A JSON schema that tells people what is wrong with a value, without repeating the value.
#[derive(Debug)]
pub struct Schema {
    text: Value,
    validator: jsonschema::Validator,
}

impl Schema {
    /// The schema, if it is one. Rules that are to be told of must stand where they are used, not behind a reference.
    pub fn new(text: Value) -> Result<Self, String> {
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .build(&text)
            .map_err(|error| format!("its schema is no JSON schema: {error}"))?;
        Ok(Self { text, validator })
    }

    /// What is wrong with `value`, a line each, the first of them if it is wrong all over; none if it fits.
    pub fn faults(&self, value: &Value) -> Vec<String> {
        let faults = self.validator.iter_errors(value);
        let first = faults.take(MOST_FAULTS);
        first.map(|error| describe(&error, &self.text)).collect()
    }
}

fn describe(error: &jsonschema::ValidationError<'_>, schema: &Value) -> String {
    use jsonschema::error::ValidationErrorKind as Kind;
    let field = error.instance_path().to_string();
    let field = field.trim_start_matches('/');
    let rule = rule_of(schema, field);
    let of = match field {
        "" => String::new(),
        field => format!(" of `{field}`"),
    };
    match error.kind() {
        Kind::AdditionalProperties { unexpected } => format!(
            "unknown field {}{of}; the fields are: {}",
            unexpected
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", "),
            fields(rule)
        ),
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            match rule["properties"][name]["description"].as_str() {
                Some(help) => format!("field `{name}`{of} is missing ({help})"),
                None => format!("field `{name}`{of} is missing"),
            }
        }
        kind => match wanted(rule) {
            Some(wanted) => format!("field `{field}` must be {wanted}"),
            None => format!(
                "field `{field}` breaks the rule `{}` of its schema",
                kind.keyword()
            ),
        },
    }
}

/// The rule for what is at `field`, a path of names and numbers.
fn rule_of<'a>(schema: &'a Value, field: &str) -> &'a Value {
    let steps = field.split('/').filter(|step| !step.is_empty());
    steps.fold(schema, |rule, step| match rule.get("items") {
        Some(items) if step.bytes().all(|byte| byte.is_ascii_digit()) => items,
        _ => &rule["properties"][step],
    })
}

/// What a rule of the schema wants, without the value that was given.
fn wanted(rule: &Value) -> Option<String> {
    let mut wants = Vec::new();
    match rule["type"].as_str() {
        Some(kind @ ("integer" | "object" | "array")) => wants.push(format!("an {kind}")),
        Some(kind) => wants.push(format!("a {kind}")),
        None => {}
    }
    if let Some(values) = rule["enum"].as_array() {
        let values: Vec<_> = values.iter().map(ToString::to_string).collect();
        wants.push(format!("one of {}", values.join(", ")));
    }
    for (name, text) in [("pattern", "of the form"), ("format", "of the format")] {
        if let Some(form) = rule[name].as_str() {
            wants.push(format!("{text} `{form}`"));
        }
    }
    for (name, text, unit) in [
        ("minLength", "at least", " characters long"),
        ("maxLength", "at most", " characters long"),
        ("minimum", "at least", ""),
        ("maximum", "at most", ""),
    ] {
        match rule[name].as_u64() {
            Some(1) if name == "minLength" => wants.push("not empty".to_owned()),
            Some(limit) => wants.push(format!("{text} {limit}{unit}")),
            None => {}
        }
    }
    let help = rule["description"]
        .as_str()
        .map(|help| format!(" ({help})"));
    (!wants.is_empty()).then(|| wants.join(", ") + &help.unwrap_or_default())
}

fn fields(schema: &Value) -> String {
    schema["properties"]
        .as_object()
        .map(|all| {
            all.keys()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ")
        })
        .unwrap_or_default()
}
