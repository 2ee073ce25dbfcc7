//! A base directory, the runs in it, and what a report must say.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use wl_daemon::model::{Direction, Outcome, RunReport, Sides};
use wl_daemon::storage::Durability;
use wl_daemon::sync::{DeleteBudget, SyncOptions};
use wl_daemon::{JobSpec, Limits, StorageSpec, job};
use wl_test_servers::s3::S3Server;

pub const BUCKET: &str = "bucket";

/// A server with an empty bucket.
pub fn s3_server() -> S3Server {
    S3Server::builder().bucket(BUCKET).start_blocking()
}

/// The storage in the bucket below a prefix.
pub fn s3(server: &S3Server, prefix: &str) -> StorageSpec {
    StorageSpec::new("s3", s3_params(server, prefix))
}

pub fn s3_params(server: &S3Server, prefix: &str) -> Value {
    json!({
        "s3_url": format!("s3://{BUCKET}/{prefix}"),
        "endpoint_url": server.endpoint(),
        "credentials": {"access_key": server.access_key(), "secret_key": server.secret_key()},
    })
}

pub fn local(folder: &Path) -> StorageSpec {
    StorageSpec::local(folder.to_str().unwrap())
}

/// A base directory, room for folders, and a runtime.
pub struct World {
    dir: TempDir,
    runtime: tokio::runtime::Runtime,
}

impl World {
    pub fn new() -> Self {
        let shm = Path::new("/dev/shm");
        let dir = match shm.is_dir() {
            true => TempDir::new_in(shm),
            false => TempDir::new(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        Self {
            dir: dir.unwrap(),
            runtime: runtime.unwrap(),
        }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    /// A folder that is there.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    pub fn base(&self) -> PathBuf {
        self.at("base")
    }

    pub fn options() -> SyncOptions {
        SyncOptions {
            durability: Durability::None,
            ..SyncOptions::new(Direction::TwoWay)
        }
    }

    /// Options that refuse nothing.
    pub fn daring() -> SyncOptions {
        SyncOptions {
            allow_empty: true,
            max_delete: DeleteBudget::Percent(100),
            ..Self::options()
        }
    }

    /// Syncs both ways.
    pub fn sync(&self, source: &StorageSpec, target: &StorageSpec) -> RunReport {
        self.run(source, target, Self::options())
    }

    pub fn run(
        &self,
        source: &StorageSpec,
        target: &StorageSpec,
        options: SyncOptions,
    ) -> RunReport {
        self.run_until(source, target, options, CancellationToken::new())
    }

    pub fn run_until(
        &self,
        source: &StorageSpec,
        target: &StorageSpec,
        options: SyncOptions,
        cancel: CancellationToken,
    ) -> RunReport {
        let spec = JobSpec {
            storages: Sides::new(source.clone(), target.clone()),
            options,
            limits: Limits::default(),
            continuous: false,
            base_dir: self.base(),
        };
        let run = job::run_one_shot(&spec, Arc::default(), cancel);
        self.runtime.block_on(run)
    }

    /// Loses the baselines; what is known of servers stays.
    pub fn forget(&self) {
        let Ok(entries) = fs::read_dir(self.at("base/state")) else {
            return;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                fs::remove_dir_all(path).unwrap();
            } else if !path.ends_with("servers.json") {
                fs::remove_file(path).unwrap();
            }
        }
    }
}

#[track_caller]
pub fn synced(report: &RunReport) {
    assert_eq!(report.result, Outcome::Synced, "{report:#?}");
}

/// The run failed, for this reason.
#[track_caller]
pub fn refused(report: &RunReport, class: &str) -> String {
    let error = report.error.clone();
    let error = error.unwrap_or_else(|| panic!("no error: {report:#?}"));
    assert_eq!(error.class, class, "{report:#?}");
    assert_eq!(report.result, Outcome::Failed);
    error.desc
}

pub fn problems(report: &RunReport) -> BTreeSet<String> {
    let paths = report.problems.iter().map(|problem| problem.path.clone());
    paths.collect()
}

pub fn conflicts(report: &RunReport) -> BTreeSet<String> {
    let paths = report
        .conflicts
        .iter()
        .map(|conflict| conflict.path.clone());
    paths.collect()
}

pub fn reasons(report: &RunReport) -> String {
    let reasons = report.problems.iter().map(|problem| problem.reason.clone());
    let desc = report.error.iter().map(|error| error.desc.clone());
    reasons.chain(desc).collect::<Vec<_>>().join("\n")
}

#[track_caller]
pub fn is_quiet(report: &RunReport) {
    let changes = report.changes.as_ref();
    let total = changes.source.total() + changes.target.total();
    assert_eq!(total, 0, "{report:#?}");
}

pub fn set<const N: usize>(paths: [&str; N]) -> BTreeSet<String> {
    paths.map(str::to_owned).into()
}
