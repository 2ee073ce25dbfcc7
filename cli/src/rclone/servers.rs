//! Servers with a host and a path.

use serde_json::json;

use super::Imported;
use super::conf::Remote;
use super::obscure::reveal;

/// A text as a part of a URL; slashes stay.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped += &format!("%{byte:02X}");
        }
    }
    escaped
}

/// A password that rclone obscured.
fn password(remote: &mut Remote, key: &str) -> Result<Option<String>, String> {
    let Some(obscured) = remote.take(key) else {
        return Ok(None);
    };
    match reveal(&obscured) {
        Some(plain) => Ok(Some(plain)),
        None => Err(format!(
            "its `{key}` is not as rclone writes passwords; set it again with `rclone config password`"
        )),
    }
}

/// `user@host:port`.
fn address(remote: &mut Remote, user: Option<&str>) -> Result<String, String> {
    let host = remote
        .take("host")
        .ok_or("it has no `host`; correct it with `rclone config`")?;
    let host = match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]"),
        false => host,
    };
    let user = remote.take("user").or_else(|| user.map(str::to_owned));
    let user = user.map_or_else(String::new, |user| {
        format!("{}@", escaped(&user).replace('/', "%2F"))
    });
    let port = remote
        .take("port")
        .map_or_else(String::new, |port| format!(":{port}"));
    Ok(format!("{user}{host}{port}"))
}

pub fn sftp(remote: &mut Remote, path: &str, user: Option<&str>) -> Result<Imported, String> {
    for (key, fix) in [
        ("pass", "put a key on the server (`ssh-copy-id`)"),
        (
            "key_pem",
            "write the key to a file only you can read, and name it with `key_file`",
        ),
        ("ask_password", "put a key on the server (`ssh-copy-id`)"),
        ("ssh", "give its options in a file with --ssh-config"),
    ] {
        if remote.take(key).is_some_and(|value| value != "false") {
            return Err(format!(
                "it connects with `{key}`, and wl with ssh and its keys; {fix}"
            ));
        }
    }
    let address = address(remote, user)?;
    // A path that does not start with a slash is below the home folder.
    let home = if path.starts_with('/') { "" } else { "/~/" };
    let mut store = Imported::of_url(&format!("sftp://{address}{home}{}", escaped(path)))?;
    store.set_some("identity_file", remote.take("key_file"));
    Ok(store)
}

pub fn ftp(remote: &mut Remote, path: &str, user: Option<&str>) -> Result<Imported, String> {
    let implicit = remote.take_flag("tls") == Some(true);
    let explicit = remote.take_flag("explicit_tls") == Some(true);
    let scheme = if implicit || explicit { "ftps" } else { "ftp" };
    let address = address(remote, user)?;
    let path = escaped(path.trim_start_matches('/'));
    let mut store = Imported::of_url(&format!("{scheme}://{address}/{path}"))?;
    match password(remote, "pass")? {
        Some(password) => store.secrets = Some(json!({ "password": password })),
        None if remote.take_flag("ask_password") == Some(true) => {
            store.note("wl asks for no password; give it with --credentials -");
        }
        None => {}
    }
    if implicit {
        store.note("rclone's `tls` means TLS from the first byte; look with --dry-run whether the server takes wl's connection");
    }
    Ok(store)
}

/// The configured address with the path below it.
fn below(remote: &mut Remote, path: &str) -> Result<String, String> {
    let url = remote
        .take("url")
        .ok_or("it has no `url`; correct it with `rclone config`")?;
    let path = escaped(path.trim_matches('/'));
    Ok(format!("{}/{path}", url.trim_end_matches('/')))
}

pub fn webdav(remote: &mut Remote, path: &str) -> Result<Imported, String> {
    let url = below(remote, path)?;
    // http://host is webdav://host to wl.
    let url = match url.split_once("://") {
        Some(("http", rest)) => format!("webdav://{rest}"),
        Some(("https", rest)) => format!("webdavs://{rest}"),
        _ => {
            return Err(
                "its `url` is none of http or https; correct it with `rclone config`".to_owned(),
            );
        }
    };
    let mut store = Imported::of_url(&url)?;
    match &*remote.take("vendor").unwrap_or_default() {
        "sharepoint" | "sharepoint-ntlm" => {
            return Err(
                "it logs in as Sharepoint wants it, which wl cannot; take it as a `onedrive` remote"
                    .to_owned(),
            );
        }
        _ => {}
    }
    if remote.take("bearer_token_command").is_some() {
        return Err(
            "its token comes from a command (`bearer_token_command`); give a token with `wl storage create webdav --credentials -`"
                .to_owned(),
        );
    }
    let (user, password) = (remote.take("user"), password(remote, "pass")?);
    match (remote.take("bearer_token"), user, password) {
        (Some(token), _, _) => store.secrets = Some(json!({ "token": token })),
        (None, Some(login), Some(password)) => {
            store.secrets = Some(json!({ "login": login, "password": password }));
        }
        (None, None, None) => {}
        _ => {
            return Err(
                "it has only one of `user` and `pass`; correct it with `rclone config`".to_owned(),
            );
        }
    }
    Ok(store)
}

pub fn http(remote: &mut Remote, path: &str) -> Result<Imported, String> {
    let url = below(remote, path)?;
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(
            "its `url` is none of http or https; correct it with `rclone config`".to_owned(),
        );
    }
    Imported::of_url(&url)
}
