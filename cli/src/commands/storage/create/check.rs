//! What must hold of a storage before it is written down.

use std::path::Path;

use serde_json::Value;
use wl_daemon::plugin::check_params;
use wl_daemon::sync::{SyncError, SyncErrorClass};
use wl_daemon::{CREDENTIALS_FILE, check_private, secret_parameter};

use crate::error::{CliError, CliResult};
use crate::manifest::{Draft, holds_secret};
use crate::output::escape;

/// Checks parameters and secrets against the schema of the type, and that no secret is where others can read it.
pub fn draft(draft: &Draft, schema: &str) -> CliResult<()> {
    let mut params = draft.params.clone();
    for (name, value) in &params {
        if value.as_str().is_some_and(holds_secret) {
            return Err(CliError::Usage(format!(
                "`{}` holds a password, which everybody on this machine could read; leave it out; how a login is given is in `wl storage create {} --help`",
                escape(name),
                draft.type_name
            )));
        }
    }
    let known: Value = serde_json::from_str(schema).unwrap_or_default();
    let file = params.get(CREDENTIALS_FILE).and_then(Value::as_str);
    if let Some(file) = file {
        if draft.secrets.is_some() {
            return Err(CliError::Usage(
                "the credentials are given twice, in a file and on stdin; give them once"
                    .to_owned(),
            ));
        }
        check_private(Path::new(file)).map_err(|error| {
            // As where a run finds such a file.
            CliError::Sync(SyncError::new(
                SyncErrorClass::Credentials,
                error.to_string(),
            ))
        })?;
    }
    if let (Some(secrets), Some(name)) = (&draft.secrets, secret_parameter(&known)) {
        params.insert(name.to_owned(), secrets.clone());
    }
    check_params(&draft.type_name, schema, &Value::Object(params))
        .map_err(|error| CliError::Usage(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;

    const S3: &str = r#"{
        "type": "object", "required": ["s3_url"], "additionalProperties": false,
        "properties": {
            "s3_url": {"type": "string", "pattern": "^s3://"},
            "endpoint_url": {"type": "string"},
            "credentials": {
                "type": "object", "writeOnly": true, "required": ["access_key", "secret_key"],
                "additionalProperties": false,
                "properties": {"access_key": {"type": "string"}, "secret_key": {"type": "string"}}
            },
            "credentials_file": {"type": "string"}
        }
    }"#;

    fn checked(params: Value, secrets: Option<Value>) -> Result<(), String> {
        let Value::Object(params) = params else {
            panic!("parameters are an object")
        };
        let made = Draft {
            type_name: "s3".to_owned(),
            params,
            secrets,
            ..Draft::default()
        };
        assert!(!format!("{made:?}").contains("hush"));
        draft(&made, S3).map_err(|error| error.to_string())
    }

    #[test]
    fn secrets_are_checked_as_the_schema_says_and_never_repeated() {
        let url = json!({"s3_url": "s3://b"});
        let fine = json!({"access_key": "hush", "secret_key": "hush"});
        assert_eq!(checked(url.clone(), None), Ok(()));
        assert_eq!(checked(url.clone(), Some(fine)), Ok(()));
        for wrong in [
            json!({"access_key": "hush"}),
            json!({"access_key": "hush", "secret_key": 5}),
            json!({"access_key": "hush", "secret_key": {"hush": "hush"}}),
            json!("hush"),
            json!(["hush"]),
        ] {
            let error = checked(url.clone(), Some(wrong)).unwrap_err();
            assert!(error.contains('`') && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_refused() {
        let params = json!({"s3_url": "s3://b", "endpoint_url": "https://u:hush@h"});
        let error = checked(params, None).unwrap_err();
        assert!(
            error.contains("`endpoint_url`") && !error.contains("hush"),
            "{error}"
        );
    }

    #[test]
    fn a_file_of_credentials_must_be_private_and_the_only_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.json");
        let params = json!({"s3_url": "s3://b", "credentials_file": file});
        assert!(
            checked(params.clone(), None)
                .unwrap_err()
                .contains("correct the path")
        );
        fs::write(&file, "{}").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(
            checked(params.clone(), None)
                .unwrap_err()
                .contains("chmod 600")
        );
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(checked(params.clone(), None), Ok(()));
        let error = checked(params, Some(json!({"access_key": "a"}))).unwrap_err();
        assert!(error.contains("given twice"), "{error}");
    }
}
