//! What a job is, before anything is connected.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tracing::{Span, error_span};
use wl_core::model::Sides;
use wl_core::storage::Limits;
use wl_core::sync::SyncOptions;

use crate::types::is_read_only;

/// Nobody waits longer for a look: a year. Clocks cannot count all that a number can say.
const LONGEST_POLL: u64 = 365 * 24 * 3600;

/// The type name of folders on this machine: the one type that a plain path on the command line stands for.
pub const LOCAL: &str = "local";

/// A storage: its type and what the type's schema asks for.
#[derive(Clone, PartialEq)]
pub struct StorageSpec {
    /// The registered type.
    pub type_name: String,
    /// The type's own parameters.
    pub params: Value,
    /// Poll every so many seconds.
    pub watcher_interval: Option<u64>,
    /// No run may write here.
    pub read_only: bool,
    /// A local folder that is not there is made, if the folder above it is.
    pub create_missing: bool,
}

impl StorageSpec {
    /// A storage of this type with these parameters; read-only if its type is.
    pub fn new(type_name: impl Into<String>, params: Value) -> Self {
        let type_name = type_name.into();
        let read_only = is_read_only(&type_name);
        Self {
            type_name,
            params,
            watcher_interval: None,
            read_only,
            create_missing: false,
        }
    }

    /// The local folder `location`, an absolute path.
    pub fn local(location: &str) -> Self {
        Self::new(LOCAL, json!({ "location": location }))
    }

    /// The parameters as a backend with this schema takes them: with those of the common ones that it knows.
    pub(crate) fn params_for(&self, schema: &str) -> Value {
        let mut params = self.params.clone();
        let Some(fields) = params.as_object_mut() else {
            return params;
        };
        let schema: Value = serde_json::from_str(schema).unwrap_or_default();
        let known = |name: &str| schema["properties"].get(name).is_some();
        if let Some(seconds) = self.watcher_interval
            && known("watcher-interval")
        {
            fields.insert("watcher-interval".to_owned(), seconds.into());
        }
        if self.read_only && known("read-only") {
            fields.insert("read-only".to_owned(), true.into());
        }
        params
    }

    /// How often it must be polled, if its parameters say so.
    pub(crate) fn poll(&self) -> Option<Duration> {
        self.watcher_interval
            .map(|seconds| Duration::from_secs(seconds.clamp(1, LONGEST_POLL)))
    }

    /// The folder of a local storage.
    pub(crate) fn local_folder(&self) -> Option<PathBuf> {
        (self.type_name == LOCAL)
            .then(|| self.params["location"].as_str().map(PathBuf::from))
            .flatten()
    }

    /// How it was named, whatever that leads to. It may hold secrets.
    pub(crate) fn as_given(&self) -> String {
        match self.local_folder() {
            // A slash at its end changes nothing.
            Some(folder) => {
                let folder: PathBuf = folder.components().collect();
                format!("{} {}", self.type_name, folder.display())
            }
            None => format!("{} {}", self.type_name, self.params),
        }
    }

    /// What a report says of a storage that could not be connected: nothing that may be a secret.
    pub(crate) fn describe(&self) -> Value {
        match self.local_folder() {
            Some(folder) => json!({ "type": self.type_name, "location": folder }),
            None => json!({ "type": self.type_name }),
        }
    }
}

impl fmt::Debug for StorageSpec {
    /// Without parameters: they may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageSpec")
            .field("type_name", &self.type_name)
            .finish_non_exhaustive()
    }
}

/// A job: two storages, what is asked, and where its state is kept.
#[derive(Clone, Debug)]
pub struct JobSpec {
    /// The storages.
    pub storages: Sides<StorageSpec>,
    /// What is asked.
    pub options: SyncOptions,
    /// How fast it may go.
    pub limits: Limits,
    /// Until it is stopped, or once.
    pub continuous: bool,
    /// The base directory; state is in `state` below it.
    pub base_dir: PathBuf,
}

impl JobSpec {
    /// Around a run: whatever is logged in it says of which job, and between which storages. Never a secret.
    pub(crate) fn span(&self, job: Option<&str>) -> Span {
        let names = self.storages.as_ref().map(|spec| {
            let described = spec.describe();
            let location = described["location"].as_str();
            location.map_or_else(
                || spec.type_name.clone(),
                |at| format!("{} {at}", spec.type_name),
            )
        });
        // At the highest level, so that it is there whatever is asked for.
        error_span!("run", job, source = names.source, target = names.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_parameters_reach_only_a_schema_that_knows_them() {
        let mut spec = StorageSpec::local("/a");
        spec.watcher_interval = Some(5);
        spec.read_only = true;
        assert_eq!(spec.params_for("{}"), json!({"location": "/a"}));
        assert_eq!(
            spec.params_for(r#"{"properties": {"watcher-interval": {}, "location": {}}}"#),
            json!({"location": "/a", "watcher-interval": 5})
        );
    }

    #[test]
    fn debug_output_holds_no_parameter() {
        let spec = StorageSpec::new("s3", json!({"secret": "hush"}));
        assert!(!format!("{spec:?}").contains("hush"));
    }
}
