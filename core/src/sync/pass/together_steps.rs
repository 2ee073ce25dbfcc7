//! The steps in which a group is published.

use super::Pass;
use super::apply::is_closing;
use super::context::Context;
use super::gather::Gathered;
use super::item::{Item, Progressed};
use super::node::{Found, Node};
use super::publish::{
    Aftermath, NewFolder, NewModes, announcements, commit_and_announce, flush, make_folder,
    replace, set_modes,
};
use super::together::Stop;
use crate::model::{Kind, Side, SyncPath};
use crate::reconcile::Verdict;
use crate::state::{BaselineRow, Pending, PendingAction};
use crate::storage::{Expected, Staged};
use crate::sync::groups::Group;

/// Folders go when all that was in them is gone.
const EMPTIED: u8 = u8::MAX - 1;
/// Permission bits that let nobody change what is in a folder are set when all is in it.
const LAST: u8 = u8::MAX;

/// Something that is done in a step.
#[derive(Debug)]
pub(super) struct Act {
    step: u8,
    what: What,
}

#[derive(Debug)]
enum What {
    Remove(SyncPath, Expected),
    Folder(NewFolder),
    /// To be copied; its content is not staged yet.
    Copy(Box<Item>),
    File(Box<Item>, Staged),
    Modes(Box<NewModes>),
}

impl Act {
    pub(super) fn is_removal_of(&self, path: &SyncPath) -> bool {
        matches!(&self.what, What::Remove(at, _) if at == path)
    }

    /// Whether it removes a folder that `path` is or lies in.
    pub(super) fn removes_folder_of(&self, path: &SyncPath) -> bool {
        matches!(&self.what, What::Remove(at, expected) if expected.kind == Kind::Folder && path.is_within(at))
    }

    /// The removal of what is of no use without the rest of its group.
    pub(super) fn scratch(node: &Node, on: Side) -> Option<Self> {
        let what = What::Remove(node.path.clone(), gone(node, on)?);
        Some(Self { step: 0, what })
    }

    /// The path whose content it takes over.
    pub(super) fn reads(&self) -> Option<&SyncPath> {
        match &self.what {
            What::File(item, _) => Some(&item.node.path),
            _ => None,
        }
    }

    /// Notes what it takes over or takes for agreed on.
    fn relies_on(&self, context: &Context, to: Side) {
        match &self.what {
            What::File(item, _) => context.rely_on(to.other(), &item.node),
            What::Folder(folder) => {
                context.rely_on_meta(to.other(), &folder.path, &folder.like);
            }
            What::Modes(modes) => context.rely_on_both(&modes.item.node),
            What::Remove(..) | What::Copy(_) => {}
        }
    }

    pub(super) fn take_unstaged(&mut self) -> Option<(u8, Item)> {
        match &mut self.what {
            What::Copy(item) => {
                let empty = Node::new(SyncPath::root(), false);
                let empty = Item::new(empty, item.policy, Verdict::Nothing, Default::default());
                Some((self.step, std::mem::replace(&mut **item, empty)))
            }
            _ => None,
        }
    }

    /// An item whose content is staged now; `None` if it is not.
    pub(super) fn staged(step: u8, mut item: Item) -> Option<Self> {
        match std::mem::replace(&mut item.progressed, Progressed::Decided) {
            Progressed::Staged(staged) => {
                let what = What::File(Box::new(item), staged);
                Some(Self { step, what })
            }
            _ => None,
        }
    }
}

impl Pass {
    /// What is done, and in which step.
    pub(super) fn plan(&self, group: &Group, to: Side, items: Vec<Item>) -> Result<Vec<Act>, Stop> {
        let whole = items.iter().any(|item| {
            item.node.path == group.path && matches!(item.verdict, Verdict::Update { .. })
        });
        let retyped: Vec<SyncPath> = items
            .iter()
            .filter(|item| matches!(item.verdict, Verdict::Retype { .. }))
            .map(|item| item.node.path.clone())
            .collect();
        let mut acts = Vec::new();
        for mut item in items {
            let retypes = matches!(item.verdict, Verdict::Retype { .. });
            if let Verdict::Retype { from } = item.verdict {
                item.verdict = create(&item, from);
            }
            // What gives way to another type goes when that comes.
            let above = retyped.iter().find(|path| item.node.path.is_within(path));
            let step = match above {
                Some(path) => group.step(path, create(&item, to.other()), whole),
                None => group.step(&item.node.path, item.verdict, whole),
            };
            if retypes || (whole && group.is_beside(&item.node.path)) {
                acts.extend(take_away(&mut item, to, group, step));
            }
            // Folders may be there early.
            let from = &item.node.found[to.other()];
            let early = !is_removal(&item) && from.is_folder();
            let emptied = is_removal(&item) && item.node.found[to].is_folder();
            let step = match above {
                None if early => 0,
                None if emptied => EMPTIED,
                _ => step,
            };
            acts.extend(act(item, to, step));
        }
        Ok(acts)
    }

    /// Publishes step by step. What fails ends it: what the next step would make visible may rest on it.
    pub(super) async fn publish_together(
        &mut self,
        gathered: &Gathered,
        to: Side,
        mut acts: Vec<Act>,
    ) -> Result<(), Stop> {
        let path = gathered.group.path.clone();
        self.bring_back(gathered, &path, to).await?;
        acts.iter().for_each(|act| act.relies_on(&self.context, to));
        flush(&self.context).await?;
        acts.sort_by_key(|act| act.step);
        while let Some(step) = acts.first().map(|act| act.step) {
            let later = acts.partition_point(|act| act.step == step);
            let rest = acts.split_off(later);
            self.context.check_going()?;
            if !self
                .publish_step(to, std::mem::replace(&mut acts, rest))
                .await?
            {
                self.context.check_going()?;
                return Err(Stop::Told);
            }
        }
        Ok(())
    }

    /// The folders above the group that the side lacks.
    async fn bring_back(
        &mut self,
        gathered: &Gathered,
        path: &SyncPath,
        to: Side,
    ) -> Result<(), Stop> {
        let node = Node::new(path.clone(), false);
        let place = gathered.place.clone();
        if place.lacking.iter().any(|(_, side, _)| *side == to) {
            let item = Item::new(node, gathered.policy, Verdict::Nothing, place);
            self.make_lacking(&item, to)?;
            self.pipeline.complete().await?;
        }
        Ok(())
    }

    /// Removals, folders, files, permission bits. Whether all of it went well.
    async fn publish_step(&mut self, to: Side, acts: Vec<Act>) -> Result<bool, Stop> {
        let (mut gone, mut emptied) = (Vec::new(), Vec::new());
        let (mut folders, mut files, mut modes) = (Vec::new(), Vec::new(), Vec::new());
        for act in acts {
            match act.what {
                What::Remove(path, expected) if expected.kind == Kind::Folder => {
                    emptied.push(removal(to, path, expected));
                }
                What::Remove(path, expected) => gone.push(removal(to, path, expected)),
                What::Folder(folder) => folders.push(folder),
                What::File(item, staged) => files.push((*item, to, staged)),
                What::Modes(one) => modes.push(*one),
                What::Copy(_) => {}
            }
        }
        let mut well = self.remove_all(to, gone).await?;
        emptied.sort_by_key(|(one, _)| std::cmp::Reverse(one.path.clone()));
        for folder in emptied {
            well &= self.remove_all(to, vec![folder]).await?;
        }
        if !well {
            return Ok(false);
        }
        let mut after = Aftermath::default();
        let announced = announcements(&folders, &files);
        let announced = commit_and_announce(&self.context, Vec::new(), 0, announced).await?;
        for folder in folders {
            make_folder(&self.context, folder, &mut after).await?;
        }
        let wanted = after.rows.len() + files.len() + modes.len();
        let files = files.into_iter().map(|(item, _, staged)| (item, staged));
        replace(&self.context, to, files.collect(), &mut after).await;
        for one in modes {
            set_modes(&self.context, one, &mut after).await;
        }
        let well = after.rows.len() == wanted;
        flush(&self.context).await?;
        commit_and_announce(&self.context, after.rows, announced, Vec::new()).await?;
        Ok(well)
    }
}

fn removal(side: Side, path: SyncPath, expected: Expected) -> (Pending, Expected) {
    let pending = Pending {
        id: 0,
        path,
        side,
        hash: expected.hash,
        action: PendingAction::RemoveTogether(expected.clone()),
        group: None,
    };
    (pending, expected)
}

/// What `from` holds is made on the other side.
fn create(item: &Item, from: Side) -> Verdict {
    let to = from.other();
    let mode = item.node.found[from].meta().and_then(|meta| meta.mode);
    let mut modes = crate::reconcile::ModePlan::default();
    modes.set[to] = mode;
    Verdict::Update { to, modes }
}

/// What is there goes before something else comes in its place.
fn take_away(item: &mut Item, to: Side, group: &Group, step: u8) -> Option<Act> {
    let Verdict::Update { modes, .. } = &mut item.verdict else {
        return None;
    };
    let mode = item.node.found[to].meta()?.mode;
    modes.set[to] = modes.set[to].or(mode);
    let (path, expected) = (item.node.path.clone(), gone(&item.node, to)?);
    item.node.found[to] = Found::Absent;
    // That it goes is recorded before anything is announced that comes in its place.
    item.node.base = None;
    // What goes with a database goes before that is written.
    let step = match group.is_beside(&path) {
        true => group.step(&path, Verdict::Remove { on: to }, true),
        false => step,
    };
    let what = What::Remove(path, expected);
    Some(Act { step, what })
}

/// What is expected where something is removed.
fn gone(node: &Node, on: Side) -> Option<Expected> {
    let meta = node.found[on].meta()?;
    match meta.kind {
        Kind::Folder => Some(Expected::of(meta, None)),
        _ => node.expected(on),
    }
}

fn is_removal(item: &Item) -> bool {
    matches!(item.verdict, Verdict::Remove { .. })
}

fn act(mut item: Item, to: Side, step: u8) -> Option<Act> {
    let path = item.node.path.clone();
    let from = item.node.found[to.other()].meta().cloned();
    let what = match (item.verdict, from) {
        (Verdict::Remove { on }, _) => What::Remove(path, gone(&item.node, on)?),
        (Verdict::Update { to, .. }, Some(like)) if like.kind == Kind::Folder => {
            let was = item.node.base.as_ref().and_then(BaselineRow::stand_in);
            What::Folder(NewFolder {
                path,
                to,
                like,
                was,
            })
        }
        (Verdict::Update { .. }, Some(_)) => {
            item.place.together = None;
            item.not_moved = true;
            item.passes = true;
            What::Copy(Box::new(item))
        }
        (Verdict::Agreed(plan), _) => {
            let step = match item.node.found[to].is_folder() {
                true if is_closing(&item.node, plan) => LAST,
                true => 0,
                false => step,
            };
            let what = What::Modes(Box::new(NewModes { item, plan }));
            return Some(Act { step, what });
        }
        _ => return None,
    };
    Some(Act { step, what })
}
