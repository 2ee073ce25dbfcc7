//! The server's time. Where times are all that tells versions apart, whether one is old enough is judged by the clock that wrote it.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use wl_core::model::{SyncPath, Timestamp};
use wl_core::plugin::ConnectContext;

use super::probe::Probe;
use super::servers;
use super::store::{Condition, Conditions, Outcome};
use super::token::{nanoseconds, now};
use super::wire::Wire;

const SECOND: i64 = 1_000_000_000;
/// How far behind ours a server's clock is taken to be while nothing was written that shows it.
const UNKNOWN: i64 = 300 * SECOND;
/// How far a clock goes wrong in [`servers::CLOCK_FOR`].
const DRIFT: i64 = 5 * SECOND;

/// What leads from our time to one that the server has reached for certain, in nanoseconds.
#[derive(Debug)]
pub(super) struct Skew(AtomicI64);

impl Default for Skew {
    fn default() -> Self {
        Self(AtomicI64::new(-UNKNOWN))
    }
}

impl Skew {
    /// A time that the server's clock had reached when ours said `here`. `told`: how far it is ahead, if its replies say so.
    pub(super) fn there(&self, here: Timestamp, told: Option<i64>) -> Timestamp {
        shifted(here, told.unwrap_or_else(|| self.0.load(Relaxed)))
    }

    /// How far that is from our time, in nanoseconds.
    #[cfg(test)]
    pub(super) fn nanoseconds(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

fn shifted(at: Timestamp, by: i64) -> Timestamp {
    let moved = nanoseconds(at).saturating_add(by);
    Timestamp {
        secs: moved.div_euclid(SECOND),
        nanos: u32::try_from(moved.rem_euclid(SECOND)).unwrap_or_default(),
    }
}

/// Finds out how the server's clock goes: remembered for a day, or seen at a scratch file where the run will write. What stands in the
/// way is no trouble: then the clock stays unknown.
pub(super) async fn learn(wire: &Wire, proven: Conditions, context: &ConnectContext) {
    let facts = wire.facts();
    // Who compares tags has them.
    let tagged = proven.replace || (facts.flat && facts.conditions.replace);
    if tagged || !facts.writable || wire.store().ahead().is_some() {
        return;
    }
    let (dir, server) = (context.state_dir.as_deref(), wire.store().server());
    let remembered = dir.and_then(|dir| servers::recall_clock(dir, server, now().secs));
    if let Some(ahead) = remembered {
        // A clock that was ahead may have been set right since.
        wire.skew()
            .0
            .store(ahead.min(0).saturating_sub(DRIFT), Relaxed);
        return;
    }
    if !context.writes || !is_there(wire).await {
        return;
    }
    if let Some(ahead) = measure(wire).await {
        wire.skew().0.store(ahead, Relaxed);
        if let Some(dir) = dir {
            // What cannot be remembered is found out again.
            servers::remember_clock(dir, server, ahead, now().secs).ok();
        }
    }
}

/// A root that is not there is not made.
async fn is_there(wire: &Wire) -> bool {
    wire.facts().flat || matches!(wire.stat(&SyncPath::root()).await, Ok(Some(_)))
}

async fn measure(wire: &Wire) -> Option<i64> {
    let probe = Probe::new(wire).ok()?;
    let ahead = ahead(wire, &probe).await;
    probe.clean().await;
    ahead.ok().flatten()
}

/// How far ahead of our clock the server's is at the least: it had reached that time when it was written, which was before now.
async fn ahead(wire: &Wire, probe: &Probe<'_>) -> Outcome<Option<i64>> {
    probe.make_folder().await?;
    let at = probe.path("clock")?;
    let written = probe.put(&at, "now", Condition::None).await?.modified;
    let modified = match written {
        Some(at) => Some(at),
        None => {
            let _turn = wire.turn(0).await;
            let found = wire.store().stat(&at).await?;
            found.and_then(|found| found.modified)
        }
    };
    let now = nanoseconds(now());
    Ok(modified.map(|at| nanoseconds(at).saturating_sub(now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shifted_over_seconds() {
        let at = |secs, nanos| Timestamp { secs, nanos };
        assert_eq!(shifted(at(10, 1), -2), at(9, 999_999_999));
        assert_eq!(shifted(at(10, 999_999_999), 1), at(11, 0));
        assert_eq!(shifted(at(0, 0), -SECOND), at(-1, 0));
    }
}
