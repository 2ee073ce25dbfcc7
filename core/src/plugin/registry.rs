//! Collects and checks what is registered.

use std::collections::BTreeMap;

use super::{BackendFactory, BackendPlugin, SyncerPlugin};

/// All plug-ins, by name.
pub struct Registry {
    backends: BTreeMap<&'static str, &'static dyn BackendFactory>,
    pub(super) syncers: Vec<SyncerPlugin>,
}

/// The registry is no good, or holds nothing under a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// A name is taken twice.
    #[error("two {what} are registered as `{name}`; rename one of them")]
    Duplicate {
        /// `storage backends` or `syncers`.
        what: &'static str,
        /// The name.
        name: &'static str,
    },
    /// Nothing is registered.
    #[error("no {0} are registered: the plug-in crates are not linked (see daemon/src/plugins.rs)")]
    Empty(&'static str),
    /// The storage type is unknown.
    #[error("there is no storage type `{name}`; the types are: {known}")]
    UnknownType {
        /// As asked for.
        name: String,
        /// What there is.
        known: String,
    },
}

impl Registry {
    /// What is linked into this program.
    pub fn linked() -> Result<Self, RegistryError> {
        Self::new(
            inventory::iter::<BackendPlugin>().map(|plugin| plugin.0),
            inventory::iter::<SyncerPlugin>().copied(),
        )
    }

    /// A registry of these.
    pub fn new(
        backends: impl IntoIterator<Item = &'static dyn BackendFactory>,
        syncers: impl IntoIterator<Item = SyncerPlugin>,
    ) -> Result<Self, RegistryError> {
        let mut by_name = BTreeMap::new();
        for backend in backends {
            let name = backend.type_name();
            if by_name.insert(name, backend).is_some() {
                return Err(RegistryError::Duplicate {
                    what: "storage backends",
                    name,
                });
            }
        }
        let mut syncers: Vec<_> = syncers.into_iter().collect();
        syncers.sort_by_key(|syncer| syncer.name);
        if let Some(pair) = syncers.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(RegistryError::Duplicate {
                what: "syncers",
                name: pair[0].name,
            });
        }
        if by_name.is_empty() {
            return Err(RegistryError::Empty("storage backends"));
        }
        if syncers.is_empty() {
            return Err(RegistryError::Empty("syncers"));
        }
        Ok(Self {
            backends: by_name,
            syncers,
        })
    }

    /// The backend type `name`.
    pub fn backend(&self, name: &str) -> Result<&'static dyn BackendFactory, RegistryError> {
        self.backends
            .get(name)
            .copied()
            .ok_or_else(|| RegistryError::UnknownType {
                name: name.to_owned(),
                known: self.backends.keys().copied().collect::<Vec<_>>().join(", "),
            })
    }

    /// All backend types, by name.
    pub fn backends(&self) -> impl Iterator<Item = &'static dyn BackendFactory> + '_ {
        self.backends.values().copied()
    }

    /// All syncers, by name.
    pub fn syncers(&self) -> &[SyncerPlugin] {
        &self.syncers
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("backends", &self.backends.keys())
            .field(
                "syncers",
                &self.syncers.iter().map(|s| s.name).collect::<Vec<_>>(),
            )
            .finish()
    }
}
