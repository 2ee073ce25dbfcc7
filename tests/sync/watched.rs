//! A job that goes on, and watchers that say what the test makes up.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use wl_backends::memory::MemoryBackend;
use wl_core::model::{Direction, Sides, SyncPath};
use wl_core::storage::{Area, Observation, Result, StorageWatcher, WatchHealth};
use wl_core::sync::{Listener, News, NewsSender, Pending, SyncJob, Syncer, SyncerType};
use wl_core::testing::{Call, Observer, Operation, observe};
use wl_syncers::General;

use crate::world::{World, read};

/// Says what it is handed.
#[derive(Debug)]
pub struct Watcher(pub UnboundedReceiver<Observation>);

#[async_trait]
impl StorageWatcher for Watcher {
    async fn next(&mut self) -> Result<Observation> {
        match self.0.recv().await {
            Some(said) => Ok(said),
            None => std::future::pending().await,
        }
    }

    fn health(&self) -> WatchHealth {
        WatchHealth {
            mode: "made up".to_owned(),
            worst_delay: Duration::ZERO,
        }
    }
}

/// What a job told at the end of a look, at that moment.
#[derive(Debug)]
struct Told {
    waits: Pending,
    alike: bool,
}

/// Hears a job and holds what it says against what is there.
#[derive(Debug)]
struct Ear {
    storages: Sides<MemoryBackend>,
    waits: Mutex<Pending>,
    told: UnboundedSender<Told>,
}

#[async_trait]
impl Listener for Ear {
    async fn hear(&self, news: News) {
        match news {
            News::Pending(pending) => *self.waits.lock().unwrap() = pending,
            News::Looked(_) => {
                let told = Told {
                    waits: self.waits.lock().unwrap().clone(),
                    alike: read(&self.storages.source) == read(&self.storages.target),
                };
                // At its end nobody hears it any more.
                let _ = self.told.send(told);
            }
            News::Watching(_) | News::Looking | News::Silent(_) => {}
            News::Ended(error) => panic!("{error}"),
            News::Panicked(fault) => panic!("{fault}"),
        }
    }
}

/// What others do to the source at a moment of the first look that reads `first`.
struct Strike {
    storage: MemoryBackend,
    say: UnboundedSender<Observation>,
    heard: Mutex<Option<UnboundedReceiver<Observation>>>,
    act: fn(&MemoryBackend) -> Option<Observation>,
    done: Mutex<bool>,
}

impl std::fmt::Debug for Strike {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Strike")
    }
}

impl Observer for Strike {
    fn watch(&self) -> Option<Box<dyn StorageWatcher>> {
        let heard = self.heard.lock().unwrap().take()?;
        Some(Box::new(Watcher(heard)))
    }

    fn after(&self, call: &Call) -> Result<()> {
        let reads = [Operation::Read, Operation::ReadSmall].contains(&call.operation);
        let first = call.path.as_ref().is_some_and(|it| it.as_str() == "first");
        if reads
            && first
            && !std::mem::replace(&mut *self.done.lock().unwrap(), true)
            && let Some(said) = (self.act)(&self.storage)
        {
            self.say.send(said).unwrap();
        }
        Ok(())
    }
}

pub fn path(text: &str) -> SyncPath {
    SyncPath::new(text).unwrap()
}

const FILES: usize = 600;

fn file(number: usize) -> String {
    format!("d/{number}")
}

/// All that is told after `act`, until both sides are told to be in sync with as many files.
async fn all_that_is_told(act: fn(&MemoryBackend) -> Option<Observation>) -> Vec<Told> {
    let world = World::new();
    let source = &world.storages.source;
    source.write_file("d/0", "").unwrap();
    let (say, heard) = unbounded_channel();
    let strike = Arc::new(Strike {
        storage: source.clone(),
        say: say.clone(),
        heard: Mutex::new(Some(heard)),
        act,
        done: Mutex::new(false),
    });
    let (told, mut news) = unbounded_channel();
    let mut job = SyncJob {
        poll: Sides::new(None, Some(Duration::from_secs(3600))),
        news: NewsSender::to(Ear {
            storages: world.storages.clone(),
            waits: Mutex::default(),
            told,
        }),
        ..world.job(World::options(Direction::TwoWay))
    };
    job.storages.source = observe(job.storages.source, strike);
    let syncer = General::create(job);
    syncer.start_sync().await.unwrap();
    assert!(news.recv().await.unwrap().alike);

    source.write_file("first", "1").unwrap();
    let area = Area::path(path("first"));
    say.send(Observation::Look { area, cursor: None }).unwrap();
    let mut all = Vec::new();
    while world.storages.target.read_file(&file(FILES)).is_none()
        || all
            .last()
            .is_none_or(|last: &Told| last.waits != Pending::default())
    {
        all.push(news.recv().await.unwrap());
    }
    syncer.stop_sync().await.unwrap();
    all
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_of_agreement_while_many_paths_that_changed_wait_for_the_next_look() {
    let all = all_that_is_told(|source| {
        let mut area = Area::default();
        for number in 1..=FILES {
            source.write_file(&file(number), "new").unwrap();
            area.add_path(path(&file(number)));
        }
        Some(Observation::Look { area, cursor: None })
    });
    let all = all.await;
    assert!(
        !all[0].alike && all[0].waits.paths == FILES as u64,
        "{all:?}"
    );
    let right = |told: &Told| told.alike || told.waits != Pending::default();
    assert!(all.iter().all(right), "{all:?}");
}

/// What changed while events were dropped is known when that side was looked at, and not before.
#[tokio::test(start_paused = true)]
async fn nobody_is_told_of_agreement_before_what_was_dropped_is_looked_for() {
    let all = all_that_is_told(|source| {
        source.write_file(&file(FILES), "new").unwrap();
        Some(Observation::Gap {
            area: Area::Everything,
            reason: "dropped".to_owned(),
        })
    });
    let all = all.await;
    assert!(!all[0].alike && all[0].waits.anywhere, "{all:?}");
    let right = |told: &Told| told.alike || told.waits != Pending::default();
    assert!(all.iter().all(right), "{all:?}");
}
