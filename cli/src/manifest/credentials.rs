//! Secrets of storages: `BASE/credentials/CONTAINER.BACKEND-ID.json`, which only its owner can read. The manifest names the file.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tempfile::NamedTempFile;
use wl_daemon::CREDENTIALS_FILE;

use super::store::{Store, failed, make_private};
use super::{Container, Storage};
use crate::error::{CliError, CliResult};

/// A storage that is to be added to a container.
#[derive(Default)]
pub struct Draft {
    /// Its type.
    pub type_name: String,
    /// Its name within the container; chosen if there is none.
    pub backend_id: Option<String>,
    /// Poll every so many seconds.
    pub watcher_interval: Option<u64>,
    /// No run may write to it.
    pub read_only: bool,
    /// Its parameters that may stand in a manifest.
    pub params: Map<String, Value>,
    /// Its secrets.
    pub secrets: Option<Value>,
}

impl std::fmt::Debug for Draft {
    /// Without values: they may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.type_name)
    }
}

impl Store {
    /// Adds a storage to a container. Secrets are durable in their file before the manifest names it.
    pub fn add(&self, name: &str, draft: Draft) -> CliResult<Storage> {
        let mut written = None;
        let added = self.change(name, |container| {
            let id = draft.backend_id.clone();
            let id = id.unwrap_or_else(|| container.free_id(&draft.type_name));
            let mut storage = Storage::new(&draft.type_name, id, draft.params.clone());
            storage.watcher_interval = draft.watcher_interval;
            storage.read_only = draft.read_only;
            let path = self.credentials(name, &storage.backend_id);
            if draft.secrets.is_some() {
                let text = path.to_str().ok_or_else(not_utf8)?;
                let file = (CREDENTIALS_FILE.to_owned(), text.into());
                storage.params.extend([file]);
            }
            container.add(storage.clone())?;
            if let Some(secrets) = &draft.secrets {
                self.write_secrets(&path, secrets)?;
                written = Some(path);
            }
            Ok(storage)
        });
        if let (Err(_), Some(path)) = (&added, written) {
            // No manifest names it. What cannot be removed is written over by the next that has its name.
            let _ = fs::remove_file(path);
        }
        added
    }

    /// Takes a storage out of a container, and the secrets that were kept for it.
    pub fn take_out(&self, name: &str, backend_id: &str) -> CliResult<Storage> {
        let gone = self.change(name, |container| container.remove(backend_id))?;
        let _lock = self.lock()?;
        // Somebody else may have made one of the same name by now.
        let is_back = |container: Container| {
            let mut storages = container.storages().iter();
            storages.any(|storage| storage.backend_id == backend_id)
        };
        if !self.load(name).is_ok_and(is_back) {
            self.forget_secrets(name, std::slice::from_ref(&gone))?;
        }
        Ok(gone)
    }

    /// Removes the files of secrets that wl wrote for these storages of a container.
    pub(super) fn forget_secrets(&self, name: &str, storages: &[Storage]) -> CliResult<()> {
        for storage in storages {
            let path = self.credentials(name, &storage.backend_id);
            let named = storage.params.get(CREDENTIALS_FILE).and_then(Value::as_str);
            if named.map(Path::new) != Some(&path) {
                continue;
            }
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("remove the credentials in", &path, &error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn credentials(&self, name: &str, backend_id: &str) -> PathBuf {
        let folder = self.base().join("credentials");
        folder.join(format!("{name}.{backend_id}.json"))
    }

    fn write_secrets(&self, path: &Path, secrets: &Value) -> CliResult<()> {
        if path.exists() && self.is_named(path)? {
            return Err(CliError::Usage(format!(
                "the credentials in {} are those of another storage; choose another --backend-id",
                path.display()
            )));
        }
        let folder = path.parent().unwrap_or(path);
        make_private(folder)?;
        let text = serde_json::to_vec_pretty(secrets)
            .map_err(|_| CliError::Failed("cannot write the credentials as JSON".to_owned()))?;
        // A temporary file is made with mode 0600.
        let file = NamedTempFile::new_in(folder).and_then(|mut file| {
            file.write_all(&text)?;
            file.as_file().sync_all()?;
            Ok(file)
        });
        let file = file.map_err(|error| failed("write to", folder, &error))?;
        file.persist(path)
            .map_err(|error| failed("write", path, &error.error))?;
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| failed("make durable", folder, &error))
    }

    /// Whether a manifest names this file of secrets.
    fn is_named(&self, path: &Path) -> CliResult<bool> {
        for name in self.names()? {
            let names = |storage: &Storage| {
                let file = storage.params.get(CREDENTIALS_FILE).and_then(Value::as_str);
                file.map(Path::new) == Some(path)
            };
            // A manifest that cannot be read may name it.
            let named = |container: Container| container.storages().iter().any(names);
            if self.load(&name).map_or(true, named) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn not_utf8() -> CliError {
    CliError::Usage(
        "the base directory's path is not UTF-8, so no manifest can name a file in it; give another with --base-dir"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;

    fn draft(id: &str) -> Draft {
        let mut params = Map::new();
        params.insert("s3_url".to_owned(), "s3://b/p".into());
        Draft {
            type_name: "s3".to_owned(),
            backend_id: Some(id.to_owned()),
            params,
            secrets: Some(json!({"access_key": "AKID", "secret_key": "hush"})),
            ..Draft::default()
        }
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn secrets_go_to_a_private_file_that_the_manifest_names() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let manifest = store.create("photos", Default::default()).unwrap();
        let added = store.add("photos", draft("bucket")).unwrap();
        let file = dir.path().join("credentials/photos.bucket.json");
        assert_eq!(added.params["credentials_file"], file.to_str().unwrap());
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        let secrets: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(secrets, draft("x").secrets.unwrap());
        let text = fs::read_to_string(&manifest).unwrap();
        assert!(!text.contains("hush") && !text.contains("AKID"), "{text}");
        let back = store.load("photos").unwrap();
        assert_eq!(
            back.storages()[0].spec().params,
            Value::Object(added.params)
        );
        wl_daemon::check_private(&file).unwrap();
        store.take_out("photos", "bucket").unwrap();
        assert!(!file.exists());
    }

    #[test]
    fn a_storage_that_is_refused_leaves_no_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        store.create("photos", Default::default()).unwrap();
        assert!(store.add("photos", draft("a b")).is_err());
        assert!(store.add("nothing", draft("a")).is_err());
        assert!(!dir.path().join("credentials").exists());
        store.add("photos", draft("a")).unwrap();
        assert!(store.add("photos", draft("a")).is_err());
        assert!(dir.path().join("credentials/photos.a.json").exists());
    }

    #[test]
    fn two_storages_never_share_a_file_and_what_is_left_over_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        store.create("a.b", Default::default()).unwrap();
        store.create("a", Default::default()).unwrap();
        store.add("a.b", draft("c")).unwrap();
        let error = store.add("a", draft("b.c")).unwrap_err().to_string();
        assert!(error.contains("another --backend-id"), "{error}");
        assert!(store.load("a").unwrap().storages().is_empty());
        assert!(dir.path().join("credentials/a.b.c.json").exists());
        fs::write(dir.path().join("credentials/a.left.json"), "old").unwrap();
        store.add("a", draft("left")).unwrap();
        let text = fs::read_to_string(dir.path().join("credentials/a.left.json")).unwrap();
        assert!(text.contains("hush"));
    }

    #[test]
    fn a_deleted_container_takes_its_secrets_along_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        store.create("a", Default::default()).unwrap();
        store.create("b", Default::default()).unwrap();
        store.add("a", draft("x")).unwrap();
        store.add("b", draft("x")).unwrap();
        let mine = dir.path().join("mine.json");
        fs::write(&mine, "{}").unwrap();
        let mut own = draft("own");
        own.secrets = None;
        own.params
            .insert("credentials_file".to_owned(), mine.to_str().unwrap().into());
        store.add("a", own).unwrap();
        store.delete("a").unwrap();
        assert!(mine.exists());
        assert!(!dir.path().join("credentials/a.x.json").exists());
        assert!(dir.path().join("credentials/b.x.json").exists());
    }
}
