//! Storages from the configuration of rclone. Secrets go where secrets go; no message repeats a value.

mod clouds;
mod conf;
mod notes;
mod objects;
mod obscure;
mod servers;

use serde_json::{Map, Value};
use wl_daemon::LOCAL;

pub use conf::Config;
use conf::Remote;

/// A storage as rclone describes it.
#[derive(Default, PartialEq)]
pub struct Imported {
    /// The storage type.
    pub type_name: String,
    /// Its parameters that may be seen.
    pub params: Map<String, Value>,
    /// Its secrets, as a file of credentials holds them.
    pub secrets: Option<Value>,
    /// What the person should know.
    pub notes: Vec<String>,
}

impl std::fmt::Debug for Imported {
    /// Without values: they may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.type_name)
    }
}

impl Imported {
    fn new(type_name: &str, params: Value) -> Self {
        Self {
            type_name: type_name.to_owned(),
            params: match params {
                Value::Object(params) => params,
                _ => Map::new(),
            },
            ..Self::default()
        }
    }

    /// The storage that one of wl's URLs names.
    fn of_url(url: &str) -> Result<Self, String> {
        match wl_daemon::storage_of_url(url) {
            Some(Ok(spec)) => Ok(Self::new(&spec.type_name, spec.params)),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("its address is no URL; correct it in rclone's configuration".to_owned()),
        }
    }

    fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.params.insert(name.to_owned(), value.into());
    }

    fn set_some(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

/// The storage that `remote_path` (`REMOTE:PATH`) is. `user` is who rclone would log in as where the configuration does not say.
pub fn import(config: &Config, remote_path: &str, user: Option<&str>) -> Result<Imported, String> {
    let (name, mut path) = split(remote_path)?.ok_or(
        "--from-rclone takes REMOTE:PATH, with the name of a remote as `rclone listremotes` shows it",
    )?;
    let (mut name, mut seen) = (name, Vec::new());
    loop {
        let mut remote = config.remote(&name).ok_or_else(|| unknown(config, &name))?;
        let why = |why: String| format!("the rclone remote `{name}`: {why}");
        let kind = remote.take("type").unwrap_or_default();
        if kind != "alias" {
            let mut imported = convert(&kind, &mut remote, &path, user).map_err(why)?;
            imported
                .notes
                .extend(notes::of_left(&imported.type_name, &remote));
            return Ok(imported);
        }
        seen.push(name.clone());
        let target = remote.take("remote").ok_or_else(|| {
            why("it is an alias of nothing; correct it with `rclone config`".to_owned())
        })?;
        let target = joined(&target, &path);
        match split(&target).map_err(why)? {
            None => return local(&target).map_err(why),
            Some((next, below)) if !seen.contains(&next) => (name, path) = (next, below),
            Some(_) => {
                return Err(why(format!(
                    "the aliases {} lead back to themselves; correct them with `rclone config`",
                    seen.join(", ")
                )));
            }
        }
    }
}

/// Name and path of `REMOTE:PATH`; `None` for a local path.
fn split(text: &str) -> Result<Option<(String, String)>, String> {
    let Some((name, path)) = text.split_once(':') else {
        return Ok(None);
    };
    if name.is_empty() || name.contains(',') {
        return Err(
            "options within REMOTE:PATH are not understood; name a remote of the configuration"
                .to_owned(),
        );
    }
    Ok((!name.contains('/')).then(|| (name.to_owned(), path.to_owned())))
}

/// A path below the target of an alias.
fn joined(target: &str, path: &str) -> String {
    match (path.trim_matches('/'), target.ends_with([':', '/'])) {
        ("", _) => target.to_owned(),
        (path, true) => format!("{target}{path}"),
        (path, false) => format!("{target}/{path}"),
    }
}

fn unknown(config: &Config, name: &str) -> String {
    let known: Vec<_> = config.names().collect();
    match known.is_empty() {
        true => format!(
            "rclone's configuration has no remote `{name}`, and no other; make one with `rclone config`, or give another file with --rclone-config"
        ),
        false => format!(
            "rclone's configuration has no remote `{name}`; the remotes are: {}",
            known.join(", ")
        ),
    }
}

fn convert(
    kind: &str,
    remote: &mut Remote,
    path: &str,
    user: Option<&str>,
) -> Result<Imported, String> {
    match kind {
        "s3" => objects::s3(remote, path),
        "azureblob" => objects::azblob(remote, path),
        "google cloud storage" => objects::gcs(remote, path),
        "webdav" => servers::webdav(remote, path),
        "sftp" => servers::sftp(remote, path, user),
        "ftp" => servers::ftp(remote, path, user),
        "http" => servers::http(remote, path),
        "drive" => clouds::drive(remote, path),
        "onedrive" => clouds::onedrive(remote, path),
        "dropbox" => clouds::dropbox(remote, path),
        "local" => local(path),
        other => Err(refusal(other)),
    }
}

fn local(path: &str) -> Result<Imported, String> {
    if path.is_empty() {
        return Err("name a folder: REMOTE:/path".to_owned());
    }
    Ok(Imported::new(
        LOCAL,
        serde_json::json!({ "location": path }),
    ))
}

/// Why a remote of this type is not taken.
fn refusal(kind: &str) -> String {
    match kind {
        "" => "it has no type; correct it with `rclone config`".to_owned(),
        "crypt" => "it encrypts names and content, which wl cannot read; only the remote below it could be taken, and it holds what crypt wrote".to_owned(),
        "union" | "combine" => format!(
            "it joins several remotes (`{kind}`), and no version of a file has one place there; take the remotes below it one by one"
        ),
        "chunker" | "compress" | "hasher" | "cache" => format!(
            "it stores files in a form of rclone's own (`{kind}`); take the remote below it, if that holds plain files"
        ),
        "memory" => "it is gone when rclone ends; take another".to_owned(),
        "b2" => "wl has no storage type for rclone's `b2`; use the S3 interface of that service, with `wl storage create s3`".to_owned(),
        other => format!(
            "wl has no storage type for rclone's `{other}`; see `wl storage types` for those it has"
        ),
    }
}

#[cfg(test)]
mod tests;
