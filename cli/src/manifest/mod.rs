//! Container manifests: YAML files with the field names of Wildland's manifests.
//!
//! A container's storages stand in its manifest, so that one atomic write changes them all and nothing can dangle.

mod check;
mod credentials;
mod filters;
mod redact;
mod store;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wl_daemon::{LOCAL, StorageSpec};

use crate::error::{CliError, CliResult};
use crate::output::escape;

pub use credentials::Draft;
pub use filters::Filters;
pub use redact::{holds_secret, is_secret, location, redact, without_passwords};
pub use store::Store;

/// A container manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Container {
    object: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// The paths under which the container is known.
    #[serde(default)]
    pub paths: Vec<String>,
    /// What is left out.
    #[serde(flatten)]
    pub filters: Filters,
    // Fields of Wildland's that wl keeps and does not look at.
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
    backends: Backends,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Backends {
    storage: Vec<Storage>,
}

/// A storage in a container manifest.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Storage {
    #[serde(default = "storage_object")]
    object: String,
    /// The registered type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Its name within the container.
    pub backend_id: String,
    /// Poll every so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watcher_interval: Option<u64>,
    /// No run may write to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// The type's own parameters.
    #[serde(flatten)]
    pub params: Map<String, Value>,
}

impl std::fmt::Debug for Storage {
    /// Without parameters: they may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.backend_id)
    }
}

fn storage_object() -> String {
    "storage".to_owned()
}

impl Storage {
    /// A storage of a type.
    pub fn new(type_name: &str, backend_id: String, params: Map<String, Value>) -> Self {
        Self {
            object: storage_object(),
            type_name: type_name.to_owned(),
            backend_id,
            watcher_interval: None,
            read_only: false,
            params,
        }
    }

    /// The storage as a job takes it.
    pub fn spec(&self) -> StorageSpec {
        let mut spec = StorageSpec::new(&*self.type_name, Value::Object(self.params.clone()));
        spec.watcher_interval = self.watcher_interval;
        spec.read_only |= self.read_only;
        spec
    }
}

impl Container {
    fn new(name: &str) -> Self {
        Self {
            object: "container".to_owned(),
            version: Some("1".to_owned()),
            paths: vec![format!("/{name}")],
            filters: Filters::default(),
            others: BTreeMap::new(),
            backends: Backends {
                storage: Vec::new(),
            },
        }
    }

    /// The storages, in the order of the manifest.
    pub fn storages(&self) -> &[Storage] {
        &self.backends.storage
    }

    /// Adds a storage.
    pub fn add(&mut self, storage: Storage) -> CliResult<()> {
        check::backend_id(&storage.backend_id)?;
        if self
            .storages()
            .iter()
            .any(|s| s.backend_id == storage.backend_id)
        {
            return Err(CliError::Usage(format!(
                "the container has a storage `{}` already; give another --backend-id",
                storage.backend_id
            )));
        }
        self.backends.storage.push(storage);
        Ok(())
    }

    /// Takes a storage out.
    pub fn remove(&mut self, backend_id: &str) -> CliResult<Storage> {
        let at = self
            .storages()
            .iter()
            .position(|s| s.backend_id == backend_id);
        match at {
            Some(at) => Ok(self.backends.storage.remove(at)),
            None => Err(self.no_storage(backend_id)),
        }
    }

    /// A backend id that is free.
    pub fn free_id(&self, type_name: &str) -> String {
        let mut ids = (1u64..).map(|n| format!("{type_name}-{n}"));
        let free = ids.find(|id| self.storages().iter().all(|s| s.backend_id != *id));
        free.unwrap_or_else(|| type_name.to_owned())
    }

    /// The storage that `x` names: a backend id, or else a type, which means its first storage that is not `taken`.
    pub fn choose(&self, x: &str, taken: &[&str]) -> CliResult<&Storage> {
        let storages = self.storages();
        let by_id = storages.iter().find(|s| s.backend_id == x);
        let free = |s: &&Storage| s.type_name == x && !taken.contains(&&*s.backend_id);
        let chosen = by_id.or_else(|| storages.iter().find(free));
        chosen.ok_or_else(|| match storages.iter().any(|s| s.type_name == x) {
            true => CliError::Usage(format!(
                "every storage of type `{}` is chosen already; name different ones ({})",
                escape(x),
                self.known()
            )),
            false => self.no_storage(x),
        })
    }

    /// The first local storage that is not `taken`.
    pub fn default_source(&self, taken: &[&str]) -> CliResult<&Storage> {
        let fits = |s: &&Storage| s.type_name == LOCAL && !taken.contains(&&*s.backend_id);
        self.storages().iter().find(fits).ok_or_else(|| {
            CliError::Usage(format!(
                "the container has no local storage to be the source; name one with --source-storage ({})",
                self.known()
            ))
        })
    }

    /// The first storage that is not local and not `source`; of exactly two storages the other one.
    pub fn default_target(&self, source: &str) -> CliResult<&Storage> {
        let others: Vec<_> = self
            .storages()
            .iter()
            .filter(|s| s.backend_id != source)
            .collect();
        let remote = others.iter().find(|s| s.type_name != LOCAL);
        let only = others.first().filter(|_| others.len() == 1);
        remote.or(only).copied().ok_or_else(|| {
            if others.is_empty() {
                return CliError::Usage(format!(
                    "the container has no storage but `{source}`, so there is no target; add one with `wl storage create`"
                ));
            }
            CliError::Usage(format!(
                "it is not clear which storage is the target; name one with --target-storage ({})",
                self.known()
            ))
        })
    }

    fn no_storage(&self, x: &str) -> CliError {
        CliError::Usage(format!(
            "the container has no storage `{}` ({})",
            escape(x),
            self.known()
        ))
    }

    fn known(&self) -> String {
        let ids: Vec<_> = self
            .storages()
            .iter()
            .map(|s| format!("{}, of type {}", s.backend_id, s.type_name))
            .collect();
        match ids.is_empty() {
            true => "it has none; add one with `wl storage create`".to_owned(),
            false => format!("it has: {}", ids.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(types: &[&str]) -> Container {
        let mut container = Container::new("test");
        for type_name in types {
            let id = container.free_id(type_name);
            container
                .add(Storage::new(type_name, id, Map::new()))
                .unwrap();
        }
        container
    }

    fn pair(types: &[&str]) -> Option<(String, String)> {
        let container = container(types);
        let source = container.default_source(&[]).ok()?;
        let target = container.default_target(&source.backend_id).ok()?;
        Some((source.backend_id.clone(), target.backend_id.clone()))
    }

    #[test]
    fn defaults_are_the_first_local_and_the_first_that_is_not() {
        let is = |types: &[&str], want: Option<(&str, &str)>| {
            let found = pair(types);
            let found = found.as_ref().map(|(s, t)| (&**s, &**t));
            assert_eq!(found, want, "{types:?}");
        };
        is(&["local", "s3"], Some(("local-1", "s3-1")));
        is(&["s3", "webdav", "local"], Some(("local-1", "s3-1")));
        is(&["local", "local", "s3"], Some(("local-1", "s3-1")));
        is(&["local", "local"], Some(("local-1", "local-2")));
        is(&["local", "local", "local"], None);
        is(&["local"], None);
        is(&["s3", "webdav"], None);
        is(&[], None);
    }

    #[test]
    fn a_backend_id_wins_over_a_type_and_a_type_means_the_first_free_one() {
        let mut container = container(&["local", "s3", "local"]);
        assert_eq!(
            container.choose("local", &[]).unwrap().backend_id,
            "local-1"
        );
        let second = container.choose("local", &["local-1"]).unwrap();
        assert_eq!(second.backend_id, "local-2");
        assert!(container.choose("sftp", &[]).is_err());
        let odd = Storage::new("local", "s3".to_owned(), Map::new());
        container.add(odd).unwrap();
        assert_eq!(container.choose("s3", &[]).unwrap().type_name, "local");
    }

    #[test]
    fn a_free_id_is_free() {
        let mut container = container(&["local", "local"]);
        container.remove("local-1").unwrap();
        assert_eq!(container.free_id("local"), "local-1");
        assert_eq!(container.free_id("s3"), "s3-1");
        let taken = Storage::new("s3", "local-2".to_owned(), Map::new());
        assert!(container.add(taken).is_err());
    }
}
