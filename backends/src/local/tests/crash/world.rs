//! Two local storages on one model machine, the baseline beside them, and runs that crash.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use wl_core::model::{Direction, RunReport, Side, Sides};
use wl_core::state::PairState;
use wl_core::storage::Durability;
use wl_core::sync::{
    DeleteBudget, LastFilter, NewsSender, SyncError, SyncJob, SyncOptions, one_shot,
};

use crate::local::LocalBackend;
use crate::local::model::{Call, Disk, Held, Loss, Machine, Op, Rules, When};
use crate::local::sys::Renames;
use crate::local::tests::kit::folder;

/// What is on the machine, and how its file systems are.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub rules: Rules,
    pub renames: Renames,
    /// Small ones tear small files.
    pub block: usize,
    pub durability: Durability,
}

pub struct World {
    pub machine: Machine,
    pub disks: Sides<Disk>,
    pub kind: Kind,
    state: TempDir,
    /// What users have open.
    pub held: Mutex<Vec<(Side, &'static str, Held)>>,
    /// The baseline as it was when the power went.
    image: Arc<Mutex<Option<PathBuf>>>,
}

impl World {
    pub fn new(kind: Kind) -> Self {
        let machine = Machine::default();
        let disks = Sides::from_fn(|side| {
            let disk = machine.disk(&format!("{side}"), kind.rules);
            disk.set_block(kind.block);
            disk
        });
        let world = Self {
            machine,
            disks,
            kind,
            state: folder(),
            held: Mutex::default(),
            image: Arc::default(),
        };
        world.keep_image();
        world
    }

    /// SQLite's own promise is modelled, not its files (decision 18): what was committed before the crash is there after it, what was
    /// not is not.
    fn keep_image(&self) {
        let dir = self.state.path().to_owned();
        let image = Arc::clone(&self.image);
        self.machine.on_crash(move || {
            let path = dir.join("image");
            let _ = std::fs::remove_file(&path);
            *image.lock().unwrap() = database(&dir).map(|db| {
                let db = Connection::open(db).unwrap();
                db.execute_batch("PRAGMA busy_timeout = 5000").unwrap();
                let into = path.to_str().unwrap();
                db.execute("VACUUM INTO ?1", [into]).unwrap();
                path.clone()
            });
        });
    }

    pub async fn run(&self) -> Result<RunReport, SyncError> {
        self.run_in(Direction::TwoWay).await
    }

    pub async fn run_in(&self, direction: Direction) -> Result<RunReport, SyncError> {
        let mut options = SyncOptions::new(direction);
        options.allow_empty = true;
        options.durability = self.kind.durability;
        options.max_delete = DeleteBudget::Percent(100);
        let Renames {
            exchange,
            no_replace,
        } = self.kind.renames;
        let open = |side| LocalBackend::on_weak_model(&self.disks[side], exchange, no_replace);
        let (source, target) = (open(Side::Source)?, open(Side::Target)?);
        let job = SyncJob {
            storages: Sides::new(Arc::new(source) as _, Arc::new(target) as _),
            options,
            server_copy: false,
            state_dir: self.state.path().to_owned(),
            poll: Sides::default(),
            patience: None,
            last_filter: LastFilter::default(),
            progress: Arc::default(),
            news: NewsSender::default(),
            cancel: CancellationToken::new(),
        };
        one_shot(job, "test").await
    }

    /// Time passes: tokens settle.
    pub fn wait(&self) {
        self.machine.advance(Duration::from_secs(2));
    }

    /// The machine starts again after a crash.
    pub fn restart(&self, loss: Loss) {
        self.machine.restart(loss);
        if let Some(db) = database(self.state.path()) {
            for end in ["db", "db-wal", "db-shm"] {
                let _ = std::fs::remove_file(db.with_extension(end));
            }
            if let Some(image) = self.image.lock().unwrap().take() {
                std::fs::rename(image, db).unwrap();
            }
        }
        self.wait();
    }

    /// The baseline, as it is on the disk.
    pub fn baseline(&self) -> Option<PairState> {
        let names = self
            .disks
            .as_ref()
            .map(|disk| format!("local:{}", disk.name()));
        PairState::peek(self.state.path(), names.as_ref().map(String::as_str)).unwrap()
    }

    /// Calls of this kind do nothing from now on, but say that they did.
    pub fn ignore(&self, op: Op) {
        let disks = self.disks.clone();
        self.machine.on_call(move |call| {
            if call.op == op {
                for side in Side::BOTH {
                    disks[side].ignore_syncs(call.when == When::Before);
                }
            }
        });
    }

    /// The calls of a run that can change anything.
    pub async fn calls_of_a_run(&self) -> (Vec<Call>, Result<RunReport, SyncError>) {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&calls);
        self.machine.on_call(move |call| {
            if call.when == When::Before && call.op.changes() {
                seen.lock().unwrap().push(call.clone());
            }
        });
        let report = self.run().await;
        self.machine.forget_hook();
        (std::mem::take(&mut *calls.lock().unwrap()), report)
    }
}

fn database(dir: &Path) -> Option<PathBuf> {
    let mut files = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    files.find(|path| path.extension().is_some_and(|end| end == "db"))
}
