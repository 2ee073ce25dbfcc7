//! What `start` asks for, as it is sent and as it is recorded.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wl_control::{Class, EventKind, FilterStatus, Refusal};
use wl_core::filter::{Exclusions, MaxSize, Origin, Preset, Rule};
use wl_core::model::{Direction, Sides};
use wl_core::plugin::check_params;
use wl_core::storage::{CasGrade, Durability, Limits};
use wl_core::sync::SyncOptions;

use crate::private::with_secrets;
use crate::{JobSpec, StorageSpec, registry, types};

/// A job, as a client asks for it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StartRequest {
    /// The container, for people.
    pub container_name: String,
    /// The job's name.
    pub job_id: String,
    /// The source.
    pub source: StorageRequest,
    /// The target.
    pub target: StorageRequest,
    /// Until it is stopped, or once.
    pub continuous: bool,
    /// From source to target only.
    pub unidirectional: bool,
    /// The events that the asking connection wants of this job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_events: Option<Vec<EventKind>>,
    /// How it goes about its work.
    #[serde(default)]
    pub options: Options,
}

/// A storage, with the fields that it has in a manifest.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StorageRequest {
    /// The registered type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Its name within the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_id: Option<String>,
    /// Poll every so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watcher_interval: Option<u64>,
    /// No run may write to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// The type's own parameters. They may be secrets.
    #[serde(flatten)]
    pub params: Map<String, Value>,
}

/// How a job goes about its work. What is left out is as on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Options {
    /// The target is made equal to the source.
    pub mirror: bool,
    /// How much is made durable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
    /// How much content may be lost: `100` or `50%`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delete: Option<String>,
    /// Accept that a storage was emptied.
    pub allow_empty: bool,
    /// Accept another file system where a storage was.
    pub accept_new_filesystem: bool,
    /// How long replaced and removed versions are kept: `7d` or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trash_keep: Option<String>,
    /// Hash every file.
    pub checksum: bool,
    /// The least compare-and-swap grade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_cas: Option<CasGrade>,
    /// Bytes a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bwlimit: Option<NonZeroU64>,
    /// Requests a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests_per_second: Option<NonZeroU32>,
    /// Everything is looked at at least every so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rescan_interval: Option<NonZeroU64>,
    /// Ready-made lists of what is left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude_preset: Vec<Preset>,
    /// What is left out: lines as in a `.gitignore`, the last of which wins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Files of more bytes are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<NonZeroU64>,
    /// How much of that the container's manifest said; `None` if nothing, or if nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of_container: Option<OfContainer>,
}

/// How much of what a job leaves out was said by its container's manifest, whose rules come first: when that is edited, this tells what was
/// taken out of it from what was asked for besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OfContainer {
    /// So many of the ready-made lists.
    pub presets: usize,
    /// So many of the rules.
    pub rules: usize,
    /// Its largest size, whether or not the command named another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<NonZeroU64>,
}

impl OfContainer {
    /// What a manifest says; `None` if nothing.
    pub fn of(manifest: &Exclusions) -> Option<Self> {
        let says = Self {
            presets: manifest.presets.len(),
            rules: manifest.rules.len(),
            max_size: manifest.max_size.and_then(|max| NonZeroU64::new(max.0)),
        };
        let nothing = says.presets + says.rules == 0 && says.max_size.is_none();
        (!nothing).then_some(says)
    }
}

impl Options {
    /// What these options of a run and limits are in a request. A dry run is none: it is for whoever waits for its report.
    pub fn of(options: &SyncOptions, limits: Limits) -> Self {
        let (rules, max_size) = (options.exclude.rules.iter(), options.exclude.max_size);
        Self {
            mirror: options.direction == Direction::Mirror,
            durability: Some(options.durability),
            max_delete: Some(options.max_delete.to_string()),
            allow_empty: options.allow_empty,
            accept_new_filesystem: options.accept_new_filesystem,
            trash_keep: Some(options.trash_keep.to_string()),
            checksum: options.checksum,
            require_cas: Some(options.require_cas),
            bwlimit: limits.bytes_per_second,
            max_requests_per_second: limits.requests_per_second,
            rescan_interval: NonZeroU64::new(options.rescan.as_secs()),
            exclude_preset: options.exclude.presets.clone(),
            exclude: rules.map(|rule| rule.line.clone()).collect(),
            max_size: max_size.and_then(|max| NonZeroU64::new(max.0)),
            of_container: None,
        }
    }

    /// What is left out, for `status`; `None` if nothing.
    pub(super) fn filters(&self) -> Option<FilterStatus> {
        let presets = self.exclude_preset.iter();
        let filters = FilterStatus {
            exclude_preset: presets.map(Preset::to_string).collect(),
            exclude: self.exclude.clone(),
            max_size: self.max_size.map(NonZeroU64::get),
        };
        (filters != FilterStatus::default()).then_some(filters)
    }

    /// Whether a container's manifest still says what it said when these were made.
    pub fn are_of(&self, manifest: &Exclusions) -> bool {
        let was = self.of_container.as_ref();
        was.is_none_or(|_| was == OfContainer::of(manifest).as_ref()) && self.begin_with(manifest)
    }

    /// Whether these come first in what is left out: what a container's manifest says does, before what was asked for besides.
    fn begin_with(&self, first: &Exclusions) -> bool {
        let mut lines = self.exclude.iter();
        self.exclude_preset.starts_with(&first.presets)
            && first
                .rules
                .iter()
                .all(|rule| lines.next() == Some(&rule.line))
            && (first.max_size.is_none() || self.max_size.is_some())
    }

    /// What is left out.
    fn exclusions(&self) -> Exclusions {
        let rule = |line: &String| Rule {
            line: line.clone(),
            origin: Origin::Job,
        };
        Exclusions {
            presets: self.exclude_preset.clone(),
            rules: self.exclude.iter().map(rule).collect(),
            max_size: self.max_size.map(|bytes| MaxSize(bytes.get())),
        }
    }
}

impl StorageRequest {
    /// A storage with this name within its container.
    pub fn new(spec: &StorageSpec, backend_id: Option<String>) -> Self {
        Self {
            type_name: spec.type_name.clone(),
            backend_id,
            watcher_interval: spec.watcher_interval,
            read_only: spec.read_only,
            params: spec.params.as_object().cloned().unwrap_or_default(),
        }
    }

    fn spec(&self) -> StorageSpec {
        let mut spec = StorageSpec::new(&*self.type_name, Value::Object(self.params.clone()));
        spec.watcher_interval = self.watcher_interval;
        spec.read_only |= self.read_only;
        spec
    }
}

impl StartRequest {
    /// Which way changes travel.
    pub fn direction(&self) -> Direction {
        match (self.options.mirror, self.unidirectional) {
            (true, _) => Direction::Mirror,
            (false, true) => Direction::OneWay,
            (false, false) => Direction::TwoWay,
        }
    }

    /// The job, checked as far as that goes without reaching the storages.
    pub fn spec(&self, base_dir: &Path) -> Result<JobSpec, Refusal> {
        let spec = self.unchecked_spec(base_dir)?;
        check(&spec.storages).map_err(usage)?;
        spec.options.exclude.check().map_err(usage)?;
        self.check_once()?;
        crate::job::check_writable(&spec).map_err(usage)?;
        Ok(spec)
    }

    /// What is meant for one run is not kept for all that follow.
    fn check_once(&self) -> Result<(), Refusal> {
        let asked = &self.options;
        if self.continuous && (asked.allow_empty || asked.accept_new_filesystem) {
            return Err(usage(
                "`allow-empty` and `accept-new-filesystem` accept what is there now, and would accept every later accident too; give them to one run \
                 (`--one-shot`), the continuous job then goes on by itself",
            ));
        }
        Ok(())
    }

    /// The job. What is wrong with its storages is found out when it runs.
    pub(super) fn unchecked_spec(&self, base_dir: &Path) -> Result<JobSpec, Refusal> {
        let asked = &self.options;
        let mut options = SyncOptions::new(self.direction());
        options.allow_empty = asked.allow_empty && !self.continuous;
        options.accept_new_filesystem = asked.accept_new_filesystem && !self.continuous;
        options.checksum = asked.checksum;
        options.exclude = asked.exclusions();
        options.durability = asked.durability.unwrap_or(options.durability);
        options.require_cas = asked.require_cas.unwrap_or(options.require_cas);
        if let Some(text) = &asked.max_delete {
            options.max_delete = text.parse().map_err(usage)?;
        }
        if let Some(seconds) = asked.rescan_interval {
            options.rescan = Duration::from_secs(seconds.get());
        }
        if let Some(text) = &asked.trash_keep {
            options.trash_keep = text.parse().map_err(usage)?;
        }
        Ok(JobSpec {
            storages: Sides::new(self.source.spec(), self.target.spec()),
            options,
            limits: Limits {
                bytes_per_second: asked.bwlimit,
                requests_per_second: asked.max_requests_per_second,
            },
            continuous: self.continuous,
            base_dir: base_dir.to_owned(),
        })
    }
}

/// Whether the types are known and take these parameters.
fn check(storages: &Sides<StorageSpec>) -> Result<(), String> {
    let registry = registry().map_err(|error| error.to_string())?;
    for spec in [&storages.source, &storages.target] {
        let factory = types::find(&registry, &spec.type_name).map_err(|error| error.to_string())?;
        let params = spec.params_for(factory.schema());
        let params = with_secrets(params, factory.schema()).map_err(|error| error.to_string())?;
        check_params(&spec.type_name, factory.schema(), &params)
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn usage(why: impl ToString) -> Refusal {
    Refusal::new(Class::Usage, why.to_string())
}
