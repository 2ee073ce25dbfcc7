//! Services that people log in to with a browser.

use serde_json::{Value, json};

use super::Imported;
use super::conf::Remote;

/// The folder below the root of a service.
fn folder(type_name: &str, path: &str) -> Imported {
    let path = path.trim_matches('/');
    Imported::new(type_name, json!({ "location": format!("/{path}") }))
}

/// Refuses settings with which rclone's root is another than wl's.
fn same_root(remote: &mut Remote, keys: &[&str]) -> Result<(), String> {
    for key in keys {
        if remote.take(key).is_some_and(|value| value != "false") {
            return Err(format!(
                "it starts somewhere else than at the account's root (`{key}`), which wl cannot; take a remote without it, and name the folder in its path"
            ));
        }
    }
    Ok(())
}

/// The login that rclone made.
fn login(remote: &mut Remote, store: &mut Imported) -> Result<(), String> {
    let broken = "it has no token; log in with `rclone config reconnect REMOTE:`";
    let token = remote.take("token").ok_or(broken)?;
    let token: Value = serde_json::from_str(&token).map_err(|_| broken)?;
    let text = |name: &str| token[name].as_str().filter(|text| !text.is_empty());
    let (id, secret) = (remote.take("client_id"), remote.take("client_secret"));
    for key in ["auth_url", "token_url"] {
        remote.take(key);
    }
    store.secrets = Some(match (text("refresh_token"), id, secret) {
        (Some(refresh), Some(id), Some(secret)) => json!({
            "refresh_token": refresh, "client_id": id, "client_secret": secret
        }),
        (Some(_), _, _) => {
            return Err(
                "it logs in as rclone itself, and that login is rclone's alone; give the remote a `client_id` and a `client_secret` of your own, log in again with `rclone config reconnect REMOTE:`, and import it then"
                    .to_owned(),
            );
        }
        (None, _, _) => {
            if text("expiry").is_some_and(|expiry| !expiry.starts_with("0001-")) {
                store.note("the login cannot be renewed, so it will end; log in again then");
            }
            json!({ "access_token": text("access_token").ok_or(broken)? })
        }
    });
    Ok(())
}

pub fn drive(remote: &mut Remote, path: &str) -> Result<Imported, String> {
    let mut store = folder("gdrive", path);
    same_root(
        remote,
        &[
            "root_folder_id",
            "team_drive",
            "shared_with_me",
            "starred_only",
            "trashed_only",
            "impersonate",
        ],
    )?;
    for key in ["service_account_file", "service_account_credentials"] {
        if remote.take(key).is_some() {
            return Err(format!(
                "it logs in with `{key}`, which wl cannot for this type; log in as a person"
            ));
        }
    }
    if remote.take("scope").is_some_and(|scope| scope != "drive") {
        store.note("the login may not do all that wl needs (`scope` is not `drive`); it may see only some files, or not write");
    }
    login(remote, &mut store)?;
    Ok(store)
}

pub fn onedrive(remote: &mut Remote, path: &str) -> Result<Imported, String> {
    let mut store = folder("onedrive", path);
    let kind = remote.take("drive_type").unwrap_or_default();
    if kind == "documentLibrary" {
        return Err(
            "it is a library of documents, and wl reaches the account's own drive only; take another"
                .to_owned(),
        );
    }
    if remote
        .take("region")
        .is_some_and(|region| region != "global")
    {
        return Err(
            "it is in a national cloud (`region`), which wl cannot reach; take another".to_owned(),
        );
    }
    same_root(remote, &["root_folder_id"])?;
    if remote.take("drive_id").is_some() {
        store.note("wl takes the account's own drive, and does not look at `drive_id`; look with --dry-run before the first run");
    }
    login(remote, &mut store)?;
    Ok(store)
}

pub fn dropbox(remote: &mut Remote, path: &str) -> Result<Imported, String> {
    let mut store = folder("dropbox", path);
    same_root(
        remote,
        &[
            "impersonate",
            "shared_files",
            "shared_folders",
            "root_namespace",
        ],
    )?;
    login(remote, &mut store)?;
    Ok(store)
}
