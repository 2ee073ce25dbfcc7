//! Who we are to a server. Nothing here can be printed.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::HeaderValue;
use serde::Deserialize;
use serde_json::Value;
use wl_core::storage::{ErrorKind, Result, StorageError};

const SHAPE: &str = r#"it must be {"login": "...", "password": "..."} or {"token": "..."}"#;

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Login {
    Basic { login: String, password: String },
    Bearer { token: String },
}

/// The value of the `Authorization` header that belongs to these parameters.
pub(crate) fn header(inline: Option<&Value>, file: Option<&Path>) -> Result<Option<HeaderValue>> {
    let login = match (inline, file) {
        (Some(_), Some(_)) => {
            return Err(StorageError::new(
                ErrorKind::Config,
                "connect",
                "both `credentials` and `credentials_file` are given; give one",
            ));
        }
        (None, None) => return Ok(None),
        (Some(inline), None) => Login::deserialize(inline)
            .map_err(|_| unusable(format!("`credentials` cannot be understood; {SHAPE}")))?,
        (None, Some(file)) => read(file)?,
    };
    let text = match login {
        Login::Basic { login, password } => {
            if login.contains(':') {
                return Err(unusable(
                    "the login holds a `:`, which HTTP cannot send; use another account".to_owned(),
                ));
            }
            format!("Basic {}", STANDARD.encode(format!("{login}:{password}")))
        }
        Login::Bearer { token } => format!("Bearer {token}"),
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| {
        unusable(
            "the token holds a line break or another character that HTTP cannot send".to_owned(),
        )
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn read(path: &Path) -> Result<Login> {
    let shown = path.display();
    let failed = |error: std::io::Error| {
        unusable(format!(
            "the credentials file `{shown}` cannot be read: {error}; check its path"
        ))
    };
    // Opened first: what is checked is what is read.
    let file = std::fs::File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() || about.permissions().mode() & 0o077 != 0 {
        return Err(unusable(format!(
            "others than its owner may read the credentials file `{shown}`; run `chmod 600 {shown}`"
        )));
    }
    let mut text = String::new();
    file.take(1 << 16)
        .read_to_string(&mut text)
        .map_err(failed)?;
    serde_json::from_str(&text).map_err(|_| {
        unusable(format!(
            "the credentials file `{shown}` cannot be understood; {SHAPE}"
        ))
    })
}

fn unusable(reason: String) -> StorageError {
    StorageError::new(ErrorKind::Credentials, "connect", reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_login_becomes_a_header_that_does_not_show() {
        let basic = header(
            Some(&json!({"login": "Aladdin", "password": "open sesame"})),
            None,
        );
        let basic = basic.unwrap().unwrap();
        assert_eq!(
            basic.to_str().unwrap(),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
        assert!(!format!("{basic:?}").contains("QWxh"));
        let bearer = header(Some(&json!({"token": "t0"})), None)
            .unwrap()
            .unwrap();
        assert_eq!(bearer.to_str().unwrap(), "Bearer t0");
        assert!(header(None, None).unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_being_shown() {
        let odd = [
            json!({"login": "geheim"}),
            json!({"token": "ge\nheim"}),
            json!({"login": "ge:heim", "password": "geheim"}),
            json!({"login": "a", "password": "geheim", "more": 1}),
        ];
        for odd in odd {
            let error = header(Some(&odd), None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Credentials);
            assert!(!format!("{error} {error:?}").contains("heim"), "{error}");
        }
    }

    #[test]
    fn a_credentials_file_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("login.json");
        std::fs::write(&file, r#"{"token": "geheim"}"#).unwrap();
        for (mode, fine) in [
            (0o644, false),
            (0o640, false),
            (0o602, false),
            (0o600, true),
            (0o400, true),
        ] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(header(None, Some(&file)).is_ok(), fine, "{mode:o}");
        }
        assert!(header(Some(&json!({"token": "t"})), Some(&file)).is_err());
    }
}
