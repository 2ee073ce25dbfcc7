//! What goes on beside a look: whoever follows the run hears how it stands, however long the look waits for a storage.

use std::future::{Future, pending};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use wl_core::model::{Side, Sides};
use wl_core::storage::{Area, Observation, Result, StorageWatcher};
use wl_core::sync::{News, Pending, SyncJob};

use super::silence::{Questions, attend};
use super::telling::Telling;

/// A look that takes longer than this is owned up to: what it looks at, and what changes meanwhile, is not known to be in sync.
const LONG: Duration = Duration::from_secs(1);

pub(super) type Watchers = Sides<Box<dyn StorageWatcher>>;

/// What watchers said while nobody could go on with it; the rest they keep themselves.
pub(super) type Kept = Sides<Option<Result<Observation>>>;

/// What is needed beside a look.
pub(super) struct Beside<'a> {
    pub(super) job: &'a SyncJob,
    pub(super) watchers: &'a mut Watchers,
    pub(super) kept: &'a mut Kept,
    pub(super) questions: &'a mut Questions,
    pub(super) telling: &'a mut Telling,
    /// What waits already, what is looked at included.
    pub(super) pending: Pending,
}

impl Beside<'_> {
    /// Does `work`, a look, and tells when it takes long, and when it does not get on.
    pub(super) async fn attend<T>(self, work: impl Future<Output = T>) -> T {
        let Self {
            job,
            watchers,
            kept,
            questions,
            telling,
            pending: waits,
        } = self;
        let mut waited = false;
        let looking = async {
            tokio::select! {
                biased;
                done = work => done,
                () = own_up(job, watchers, kept, telling, waits, &mut waited) => pending().await,
            }
        };
        let (done, silent) = attend(job, questions, looking).await;
        // One that is told to stop has not seen all that it would have.
        if (silent || waited) && !job.cancel.is_cancelled() {
            // It got on after all, whether or not it found anything. What is to be looked at comes first.
            telling.owe_again();
        }
        done
    }
}

/// Tells what is pending under a look that takes long: what waits, and what is told to have changed meanwhile.
async fn own_up(
    job: &SyncJob,
    watchers: &mut Watchers,
    kept: &mut Kept,
    telling: &mut Telling,
    mut waits: Pending,
    waited: &mut bool,
) {
    sleep(LONG).await;
    for side in Side::BOTH {
        add(&mut waits, kept[side].as_ref());
    }
    loop {
        if let Some(waits) = telling.waits(waits.clone(), Instant::now()) {
            *waited = true;
            job.news.tell(News::Pending(waits)).await;
        }
        let side = tokio::select! {
            biased;
            () = keep(&mut watchers.source, &mut kept.source) => Side::Source,
            () = keep(&mut watchers.target, &mut kept.target) => Side::Target,
        };
        add(&mut waits, kept[side].as_ref());
    }
}

/// What a watcher says, first of all what it said beside a look. May be dropped.
pub(super) async fn hear(
    watcher: &mut Box<dyn StorageWatcher>,
    kept: &mut Option<Result<Observation>>,
) -> Result<Observation> {
    match kept.take() {
        Some(said) => said,
        None => watcher.next().await,
    }
}

/// Hears one thing that is no mere wish to look now and then: those wait until the look has ended, as they count from there.
async fn keep(watcher: &mut Box<dyn StorageWatcher>, kept: &mut Option<Result<Observation>>) {
    if kept.is_some() || watcher.asks() {
        return pending().await;
    }
    *kept = Some(watcher.next().await);
}

/// What was told is not known to be in sync until it was looked at.
fn add(waits: &mut Pending, said: Option<&Result<Observation>>) {
    let now = Instant::now();
    match said {
        Some(Ok(Observation::Gap {
            area: Area::Everything,
            ..
        })) => waits.add_anywhere(now),
        Some(Ok(
            Observation::Look {
                area: Area::Parts(parts),
                ..
            }
            | Observation::Gap {
                area: Area::Parts(parts),
                ..
            },
        )) => waits.add_parts(parts, now),
        // That nobody knows of a change is none; what ends the run is told as that.
        Some(Ok(Observation::Look { .. }) | Err(_)) | None => {}
    }
}
