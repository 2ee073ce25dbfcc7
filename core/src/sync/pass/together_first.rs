//! What goes with a group is judged with all other removals. So it has to be known before: a group that is in conflict, or not at rest, gives up
//! nothing, and must not use up what others may give up.

use super::Pass;
use super::item::Item;
use super::together::{Stop, busy};
use crate::model::{Key, Side, SyncPath};
use crate::reconcile::Verdict;
use crate::sync::SyncError;

/// So many decided paths are kept until they are carried out. The groups beyond are looked at once more then.
const MOST_KEPT: usize = 10_000;

/// A removal that was decided on.
fn removal(item: &Item) -> Option<(Key, Side)> {
    let on = match item.verdict {
        Verdict::Remove { on } => on,
        Verdict::Retype { from } => from.other(),
        _ => return None,
    };
    let folder = item.node.found[on].is_folder();
    let path = item.node.path.clone();
    Some((Key { path, folder }, on))
}

fn is_new() -> Stop {
    busy("what is removed in it is not what was found at first")
}

impl Pass {
    /// Decides the groups in which something may be removed. Of what the merge found to be removed in groups only that counts from here on
    /// which goes indeed.
    pub(super) async fn decide_groups(&mut self) -> Result<(), SyncError> {
        // The merge is through: no folder is open any more.
        self.frames.enter(&SyncPath::root());
        let mut room = MOST_KEPT;
        for mut gathered in self.groups.take() {
            self.context.check_going()?;
            let keys = gathered.group.keys();
            let removes = self.context.state().put_off_together(&keys)?;
            if gathered.blocked || !removes {
                self.groups.put_back(gathered);
                continue;
            }
            let decided = self.decide_group(&gathered).await;
            match decided.and_then(|decided| self.count(&decided.items).map(|()| decided)) {
                Ok(decided) => {
                    gathered.note_packs(&decided.items);
                    if let Some(rest) = room.checked_sub(decided.items.len()) {
                        room = rest;
                        gathered.decided = Some(decided);
                    }
                    self.groups.put_back(gathered);
                }
                Err(stop) => {
                    self.context.state().put_off_together(&keys)?;
                    self.leave_group(&gathered.group, stop)?;
                }
            }
        }
        Ok(())
    }

    /// These removals are judged.
    fn count(&self, items: &[Item]) -> Result<(), Stop> {
        for (key, on) in items.iter().filter_map(removal) {
            if !self.context.state().count_together(&key, on, true)? {
                return Err(is_new());
            }
        }
        Ok(())
    }

    /// What goes is what was judged with all other removals, and was not given up since.
    pub(super) fn check_judged(&self, items: &[Item]) -> Result<(), Stop> {
        for (key, on) in items.iter().filter_map(removal) {
            if self.removes_nothing {
                // Why that is so is told.
                return Err(Stop::Told);
            }
            if !self.context.state().goes_together(&key, on)? {
                return Err(is_new());
            }
        }
        Ok(())
    }
}
