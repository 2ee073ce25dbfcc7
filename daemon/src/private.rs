//! Files that hold secrets: only their owner may read them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The parameter that names a file of secrets.
pub const CREDENTIALS_FILE: &str = "credentials_file";

/// A file of secrets that cannot be used. What is in it is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use the credentials in {}: {why}", path.display())]
pub struct PrivateError {
    path: PathBuf,
    why: String,
}

/// Refuses a file that is not there, is no file, or can be read by others than its owner.
pub fn check_private(path: &Path) -> Result<(), PrivateError> {
    let error = |why: String| PrivateError {
        path: path.to_owned(),
        why,
    };
    let meta = fs::metadata(path).map_err(|cause| error(format!("{cause}; correct the path")))?;
    if !meta.is_file() {
        return Err(error("it is no file; correct the path".to_owned()));
    }
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(error(format!(
            "others than its owner may use it (mode {mode:03o}); make it private with `chmod 600`"
        )));
    }
    Ok(())
}

/// The one parameter of a type that is a secret and an object: what a file of credentials holds.
pub fn secret_parameter(schema: &Value) -> Option<&str> {
    let all = schema["properties"].as_object()?;
    let secret = |(_, rule): &(&String, &Value)| rule["writeOnly"] == true;
    let mut names = all.iter().filter(secret).map(|(name, _)| name.as_str());
    names.next().filter(|_| names.next().is_none())
}

/// The parameters with the secrets of `credentials_file` in their place, for a type that does not read such a file itself.
pub(crate) fn with_secrets(mut params: Value, schema: &str) -> Result<Value, PrivateError> {
    let schema: Value = serde_json::from_str(schema).unwrap_or_default();
    let reads_itself = schema["properties"].get(CREDENTIALS_FILE).is_some();
    let Some(name) = secret_parameter(&schema).filter(|_| !reads_itself) else {
        return Ok(params);
    };
    let Some(path) = params[CREDENTIALS_FILE].as_str().map(PathBuf::from) else {
        return Ok(params);
    };
    check_private(&path)?;
    let error = |why: String| PrivateError {
        path: path.clone(),
        why,
    };
    let text = fs::read(&path).map_err(|cause| error(cause.to_string()))?;
    let secrets: Value = serde_json::from_slice(&text)
        .map_err(|_| error("it is no JSON; make the storage again".to_owned()))?;
    if let Some(fields) = params.as_object_mut() {
        fields.remove(CREDENTIALS_FILE);
        fields.insert(name.to_owned(), secrets);
    }
    Ok(params)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OPENDAL: &str =
        r#"{"properties": {"scheme": {}, "options": {"type": "object", "writeOnly": true}}}"#;

    fn file(mode: u32, text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.json");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn only_a_private_file_is_taken() {
        for (mode, fine) in [
            (0o600, true),
            (0o400, true),
            (0o640, false),
            (0o604, false),
            (0o660, false),
            (0o601, false),
        ] {
            let (_dir, path) = file(mode, "{}");
            assert_eq!(check_private(&path).is_ok(), fine, "{mode:o}");
        }
        let (dir, path) = file(0o644, "{}");
        let error = check_private(&path).unwrap_err().to_string();
        assert!(
            error.contains("644") && error.contains("chmod 600"),
            "{error}"
        );
        assert!(check_private(&dir.path().join("none")).is_err());
        assert!(check_private(dir.path()).is_err());
    }

    #[test]
    fn secrets_are_put_in_place_for_types_that_do_not_read_them() {
        let (_dir, path) = file(0o600, r#"{"token": "hush"}"#);
        let params = json!({"scheme": "b2", "credentials_file": path});
        let full = with_secrets(params.clone(), OPENDAL).unwrap();
        assert_eq!(full, json!({"scheme": "b2", "options": {"token": "hush"}}));
        let s3 = r#"{"properties": {"credentials_file": {}, "credentials": {"writeOnly": true}}}"#;
        assert_eq!(with_secrets(params.clone(), s3).unwrap(), params);
        assert_eq!(with_secrets(params.clone(), "{}").unwrap(), params);
    }

    #[test]
    fn a_file_of_secrets_is_never_repeated() {
        let (_dir, path) = file(0o600, "hush");
        let params = json!({"credentials_file": path});
        let error = with_secrets(params, OPENDAL).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hush"));
    }
}
