//! Parameters of a storage without set-up: `--source-option NAME=VALUE`.
//!
//! Process arguments can be read by everybody on the machine, so secrets are refused, and no value is repeated.

use std::convert::Infallible;
use std::fmt;

use serde_json::{Map, Value};
use wl_daemon::CREDENTIALS_FILE;

use super::schema::{self, value};
use crate::error::{CliError, CliResult};
use crate::manifest::{holds_secret, is_secret};
use crate::output::escape;

/// A word of the command line that may hold a secret by mistake.
#[derive(Clone, PartialEq)]
pub struct Word(pub String);

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(a word)")
    }
}

/// Takes any word: what is wrong with it is said later, without repeating it.
pub fn word(text: &str) -> Result<Word, Infallible> {
    Ok(Word(text.to_owned()))
}

/// Puts the options that `flag` gave into the parameters of a storage of this type.
pub fn apply(
    type_name: &str,
    schema: &Value,
    params: &mut Map<String, Value>,
    flag: &str,
    options: &[Word],
) -> CliResult<()> {
    for Word(option) in options {
        let (name, text) = option.split_once('=').ok_or_else(|| {
            CliError::Usage(format!(
                "{flag} takes NAME=VALUE; {}",
                known(type_name, schema, params)
            ))
        })?;
        let name = schema::property(schema, name).unwrap_or_else(|| name.to_owned());
        let rule = &schema["properties"][&name];
        if rule["writeOnly"] == true || is_secret(&name) || holds_secret(text) {
            return Err(secret(flag, &name, schema));
        }
        if rule.is_null() {
            return Err(CliError::Usage(format!(
                "{flag}: storage type `{type_name}` has no option `{}`; {}",
                escape(&name),
                known(type_name, schema, params)
            )));
        }
        if params.contains_key(&name) {
            return Err(CliError::Usage(format!(
                "{flag}: `{name}` is given twice, or by the path or URL already; give it once"
            )));
        }
        params.insert(name.clone(), schema::absolute(&name, value(text, rule))?);
    }
    Ok(())
}

fn known(type_name: &str, schema: &Value, given: &Map<String, Value>) -> String {
    let all = schema["properties"].as_object().into_iter().flatten();
    let free = all.filter(|(name, rule)| {
        rule["writeOnly"] != true && !is_secret(name) && !given.contains_key(*name)
    });
    let free: Vec<_> = free.map(|(name, _)| format!("`{name}`")).collect();
    match free.is_empty() {
        true => format!("storage type `{type_name}` takes no options here"),
        false => format!("the options are {}", free.join(", ")),
    }
}

fn secret(flag: &str, name: &str, schema: &Value) -> CliError {
    let file = match schema["properties"].get(CREDENTIALS_FILE) {
        Some(_) => format!("in a file that only you can read, with {flag} {CREDENTIALS_FILE}=FILE"),
        None => "with `wl storage create`, which reads it from stdin".to_owned(),
    };
    CliError::Usage(format!(
        "{flag}: `{}` holds a secret, and everybody on this machine can read the words of a command; give it in the environment, or {file}",
        escape(name)
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn s3() -> Value {
        json!({"properties": {
            "s3_url": {"type": "string"},
            "endpoint_url": {"type": "string"},
            "anonymous": {"type": "boolean"},
            "addressing": {"enum": ["path", "virtual"]},
            "credentials": {"type": "object", "writeOnly": true},
            "credentials_file": {"type": "string"},
        }})
    }

    fn applied(options: &[&str]) -> Result<Value, String> {
        let mut params = Map::new();
        params.insert("s3_url".to_owned(), "s3://b".into());
        let options: Vec<_> = options
            .iter()
            .map(|text| Word((*text).to_owned()))
            .collect();
        apply("s3", &s3(), &mut params, "--source-option", &options)
            .map(|()| Value::Object(params))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn options_become_parameters_of_the_type_the_schema_says() {
        let options = [
            "endpoint_url=http://h:9000/?a=b",
            "anonymous=true",
            "addressing=path",
        ];
        let expected = json!({
            "s3_url": "s3://b", "endpoint_url": "http://h:9000/?a=b", "anonymous": true, "addressing": "path"
        });
        assert_eq!(
            applied(&options[..1]).unwrap()["endpoint_url"],
            expected["endpoint_url"]
        );
        assert_eq!(applied(&options).unwrap(), expected);
        assert_eq!(applied(&["endpoint-url=x"]).unwrap()["endpoint_url"], "x");
        let file = applied(&["credentials_file=a.json"]).unwrap();
        let file = file["credentials_file"].as_str().unwrap().to_owned();
        assert!(file.starts_with('/') && file.ends_with("/a.json"), "{file}");
    }

    #[test]
    fn wrong_options_are_refused_with_those_there_are() {
        for (option, words) in [
            ("endpoint_url", "takes NAME=VALUE; the options are"),
            ("colour=red", "no option `colour`; the options are"),
            ("s3_url=s3://c", "given twice"),
        ] {
            let error = applied(&[option]).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        let error = applied(&["addressing=path", "addressing=path"]).unwrap_err();
        assert!(error.contains("give it once"), "{error}");
        let error = applied(&["colour=red"]).unwrap_err();
        assert!(!error.contains("`credentials`"), "{error}");
    }

    #[test]
    fn secrets_are_refused_and_not_repeated() {
        for option in [
            "hush",
            "credentials=hush",
            "credentials={\"secret_key\": \"hush\"}",
            "secret_access_key=hush",
            "password=hush",
            "endpoint_url=https://user:hush@host",
            "no_such=hush",
        ] {
            let error = applied(&[option]).unwrap_err();
            assert!(!error.contains("hush"), "{error}");
            assert!(!format!("{:?}", word(option)).contains("hush"));
        }
        let error = applied(&["credentials=hush"]).unwrap_err();
        assert!(error.contains("credentials_file=FILE"), "{error}");
    }
}
