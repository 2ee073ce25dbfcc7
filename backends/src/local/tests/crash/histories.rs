//! The histories.

use wl_core::model::Side::{self, Source, Target};
use wl_core::model::{Outcome, Sides};

use super::judge::{Edit, Known, did_nothing};
use super::world::{Kind, World};
use crate::local::model::{Dice, Loss, Node, Rules, When};
use crate::local::tests::kit::WEAK;

/// What is there, is synced, and is edited then; the run after that is the one that crashes.
struct History {
    name: &'static str,
    before: &'static [(Side, Edit)],
    edits: &'static [(Side, Edit)],
}

const OLD: &[u8] = b"old content, longer than a block";
const NEW: &[u8] = b"new content, longer than a block too";
const OTHER: &[u8] = b"other content of the other side's user";

const HISTORIES: [History; 6] = [
    History {
        name: "first sync",
        before: &[],
        edits: &[
            (Source, Edit::Write("a", OLD)),
            (Source, Edit::Write("d/b", NEW)),
            (Target, Edit::Write("d/c", OTHER)),
            (Source, Edit::Link("l", "d/b")),
        ],
    },
    History {
        name: "edits",
        before: &[
            (Source, Edit::Write("a", OLD)),
            (Source, Edit::Write("b", OLD)),
            (Target, Edit::Write("d/c", OTHER)),
        ],
        edits: &[
            (Source, Edit::Write("a", NEW)),
            (Source, Edit::InPlace("d/c", NEW)),
            (Target, Edit::Write("b", OTHER)),
        ],
    },
    History {
        name: "removals",
        before: &[
            (Source, Edit::Write("a", OLD)),
            (Source, Edit::Write("d/b", NEW)),
            (Target, Edit::Write("d/c", OTHER)),
        ],
        edits: &[
            (Source, Edit::Remove("a")),
            (Target, Edit::Remove("d")),
        ],
    },
    History {
        name: "renames",
        before: &[
            (Source, Edit::Write("a", OLD)),
            (Source, Edit::Write("d/b", NEW)),
            (Source, Edit::MakeDir("e")),
        ],
        edits: &[
            (Source, Edit::Rename("a", "e/a")),
            (Target, Edit::Rename("d/b", "b")),
        ],
    },
    History {
        name: "conflicts",
        before: &[
            (Source, Edit::Write("a", OLD)),
            (Source, Edit::Write("b", OLD)),
        ],
        edits: &[
            (Source, Edit::Write("a", NEW)),
            (Target, Edit::Write("a", OTHER)),
            (Target, Edit::Remove("b")),
            (Source, Edit::Write("b", NEW)),
        ],
    },
    History {
        name: "types",
        before: &[
            (Source, Edit::Write("a", OLD)),
            (Source, Edit::Write("d/b", NEW)),
        ],
        edits: &[
            (Source, Edit::Remove("a")),
            (Source, Edit::Write("a/x", OTHER)),
            (Target, Edit::Remove("d")),
            (Target, Edit::Write("d", OTHER)),
        ],
    },
];

/// What comes of a history when nothing crashes.
#[derive(Debug, PartialEq)]
struct Outcomes {
    trees: Sides<std::collections::BTreeMap<String, Node>>,
    conflicts: usize,
}

impl History {
    async fn prepare(&self, kind: Kind) -> (World, Known) {
        let world = World::new(kind);
        let mut known = Known::default();
        for (side, edit) in self.before {
            edit.by(*side, &world, &mut known);
        }
        world.wait();
        if !self.before.is_empty() {
            assert_eq!(world.run().await.unwrap().result, Outcome::Synced);
            known.synced(&world);
            world.wait();
        }
        for (side, edit) in self.edits {
            edit.by(*side, &world, &mut known);
        }
        world.wait();
        (world, known)
    }

    /// The calls of its run, as the distance from its beginning, and what comes of it.
    async fn uncrashed(&self, kind: Kind) -> (Vec<u64>, Outcomes) {
        let (world, known) = self.prepare(kind).await;
        let begin = world.machine.calls();
        let (calls, report) = world.calls_of_a_run().await;
        let report = report.unwrap();
        known.after_recovery(&world).await.unwrap();
        let outcomes = Outcomes {
            trees: world.disks.as_ref().map(|disk| disk.user().tree()),
            conflicts: report.conflicts.len(),
        };
        let calls = calls.iter().map(|call| call.number - begin).collect();
        (calls, outcomes)
    }

    /// A crash at one call, and what becomes of that.
    async fn crashed(
        &self,
        kind: Kind,
        expected: &Outcomes,
        (call, when): (u64, When),
        loss: Loss,
    ) -> Result<(), String> {
        let (world, known) = self.prepare(kind).await;
        world.machine.crash_at(world.machine.calls() + call, when);
        let _ = world.run().await;
        world.restart(loss);
        known.after_crash(&world)?;
        heals(&world, &known, expected).await
    }

    /// Every call, both sides of it, with these losses.
    async fn every_crash(&self, kind: Kind, step: usize, losses: &[Loss]) -> (usize, Vec<String>) {
        let (calls, expected) = self.uncrashed(kind).await;
        let mut failures = Vec::new();
        let mut count = 0;
        for (number, &call) in calls.iter().enumerate().step_by(step) {
            for when in [When::Before, When::After] {
                for &loss in losses {
                    count += 1;
                    if let Err(why) = self.crashed(kind, &expected, (call, when), loss).await {
                        failures.push(format!(
                            "{} on {kind:?}, crash {when:?} change {number} (call {call}), {loss:?}: {why}",
                            self.name
                        ));
                    }
                }
            }
        }
        (count, failures)
    }
}

/// The next run heals without help, the one after it has nothing to do.
async fn heals(world: &World, known: &Known, expected: &Outcomes) -> Result<(), String> {
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
    if found != *expected {
        return Err(format!("{found:?} came of it, not {expected:?}"));
    }
    Ok(())
}

const MODERN: Kind = Kind {
    rules: Rules::Loose,
    renames: WEAK[0],
    block: 8,
};

#[tokio::test]
async fn a_crash_at_any_call_loses_nothing() {
    let begun = std::time::Instant::now();
    for history in &HISTORIES {
        let losses = [Loss::Process, Loss::Power(Dice::new(1))];
        let (count, failures) = history.every_crash(MODERN, 1, &losses).await;
        eprintln!("{} {count} {} {:?}", history.name, failures.len(), begun.elapsed());
        for failure in &failures { eprintln!("  {failure}"); }
    }
}
