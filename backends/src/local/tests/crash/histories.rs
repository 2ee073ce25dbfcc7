//! One history: what users did, a run over it that crashes, and the runs after that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rustix::io::Errno;
use wl_core::model::{Outcome, Side, Sides};

use super::judge::{Edit, Known, did_nothing};
use super::scripts::Script;
use super::world::{Kind, World};
use crate::local::model::{Loss, Node, When};

/// What comes of a history when nothing crashes.
#[derive(Debug, PartialEq)]
pub struct Outcomes {
    trees: Sides<BTreeMap<String, Node>>,
    conflicts: usize,
}

/// What happens to a run. Calls are counted from its beginning.
#[derive(Clone, Debug)]
pub struct Mishap {
    pub crash: Crash,
    /// Edits at earlier calls.
    pub meanwhile: Vec<(u64, Side, Edit)>,
    /// Calls that fail.
    pub failures: Vec<(u64, When, Errno)>,
    /// The run that should heal crashes too, if it comes so far.
    pub again: Option<Crash>,
}

#[derive(Clone, Copy, Debug)]
pub struct Crash {
    pub call: u64,
    pub when: When,
    pub loss: Loss,
}

impl Script {
    pub async fn prepare(&self, kind: Kind) -> (World, Known) {
        let world = World::new(kind);
        let mut known = Known::default();
        for (side, edit) in &self.before {
            edit.by(*side, &world, &mut known);
        }
        world.wait();
        if !self.before.is_empty() {
            world.run().await.unwrap();
            known.synced(&world);
            world.wait();
        }
        for (side, edit) in &self.edits {
            edit.by(*side, &world, &mut known);
        }
        world.wait();
        (world, known)
    }

    /// The calls of its run that change anything, and what comes of it.
    pub async fn uncrashed(&self, kind: Kind) -> Result<(Vec<u64>, Outcomes), String> {
        let (world, known) = self.prepare(kind).await;
        let begin = world.machine.calls();
        let (calls, report) = world.calls_of_a_run().await;
        let report = report.map_err(|error| error.to_string())?;
        known.after_recovery(&world).await?;
        let outcomes = Outcomes {
            trees: world.disks.as_ref().map(|disk| disk.user().tree()),
            conflicts: report.conflicts.len(),
        };
        let calls = calls.iter().map(|call| call.number - begin).collect();
        Ok((calls, outcomes))
    }

    /// A crash, and what becomes of that. `expected`: what has to come of it in the end, where that is known.
    pub async fn crashed(
        &self,
        kind: Kind,
        mishap: Mishap,
        expected: Option<&Outcomes>,
    ) -> Result<(), String> {
        let (world, known) = self.prepare(kind).await;
        let world = Arc::new(world);
        let known = Arc::new(Mutex::new(known));
        let begin = world.machine.calls();
        let at = Arc::downgrade(&world);
        let (knows, edits) = (Arc::clone(&known), mishap.meanwhile);
        world.machine.on_call(move |call| {
            for (number, side, edit) in &edits {
                if call.number == begin + number && call.when == When::Before {
                    let world = at.upgrade().unwrap();
                    edit.by(*side, &world, &mut knows.lock().unwrap());
                }
            }
        });
        for (number, when, errno) in mishap.failures {
            world.machine.fail_at(begin + number, when, errno);
        }
        crash(&world, mishap.crash).await;
        let known = known.lock().unwrap().clone();
        known.after_crash(&world)?;
        if let Some(again) = mishap.again {
            crash(&world, again).await;
            known
                .after_crash(&world)
                .map_err(|why| format!("the second time: {why}"))?;
        }
        heals(&world, &known, expected).await
    }
}

/// A run that crashes, and the machine started again.
async fn crash(world: &World, crash: Crash) {
    let at = world.machine.calls() + crash.call;
    world.machine.crash_at(at, crash.when);
    let _ = world.run().await;
    world.machine.forget_hook();
    world.held.lock().unwrap().clear();
    world.restart(crash.loss);
}

/// The next run heals without help, the one after it has nothing to do.
pub async fn heals(
    world: &World,
    known: &Known,
    expected: Option<&Outcomes>,
) -> Result<(), String> {
    let report = world.run().await.map_err(|error| error.to_string())?;
    if report.result == Outcome::Failed {
        return Err(format!("the next run failed: {report:?}"));
    }
    known.after_recovery(world).await?;
    world.wait();
    let last = world.run().await.map_err(|error| error.to_string())?;
    if !did_nothing(&last) {
        return Err(format!("the third run had something to do: {last:?}"));
    }
    known.after_recovery(world).await?;
    let found = Outcomes {
        trees: world.disks.as_ref().map(|disk| disk.user().tree()),
        conflicts: last.conflicts.len(),
    };
    if found.conflicts == 0 && found.trees.source != found.trees.target {
        return Err(format!("the sides differ: {found:?}"));
    }
    match expected {
        Some(expected) if found != *expected => {
            let told = &last.conflicts;
            Err(format!("{found:?} came of it, not {expected:?}; {told:?}"))
        }
        _ => Ok(()),
    }
}
