//! When every listing has ended: moves, then the delete budget, then removals, then what waited for them.

use std::collections::BTreeSet;

use super::Pass;
use super::context::Context;
use super::item::Item;
use super::node::{Found, Node};
use super::publish::{
    NewFolder, commit, commit_and_announce, finish_folder, flush, leave_unclear, may_be_gone,
    removals, renames,
};
use crate::model::{Key, Kind, Side, Sides};
use crate::planted::{Bug, planted};
use crate::reconcile::{ModePlan, Policy, Verdict};
use crate::state::{
    BaselineRow, GroupEnd, Pending, PendingAction, PendingStage, RowChange, SideRecord,
};
use crate::storage::{
    Expected, Published, RemoveRequest, RenameRequest, Result as StorageResult, Scope,
};
use crate::sync::SyncError;
use crate::sync::exclude::rules_hold;
use crate::sync::progress::Phase;

/// How many held back things are taken up at once.
const PAGE: u32 = 1024;

/// What is held back of one stage, page by page.
pub(super) struct Pages {
    stage: PendingStage,
    last: Option<Pending>,
}

impl Pages {
    pub(super) fn of(stage: PendingStage) -> Self {
        Self { stage, last: None }
    }

    pub(super) fn next(&mut self, context: &Context) -> Result<Option<Vec<Pending>>, SyncError> {
        context.check_going()?;
        let page = context
            .state()
            .pending(self.stage, self.last.as_ref(), PAGE)?;
        self.last = page.last().cloned();
        Ok((!page.is_empty()).then_some(page))
    }
}

impl Pass {
    pub(super) async fn finish(&mut self) -> Result<(), SyncError> {
        self.context.job.progress.enter(Phase::Finishing);
        self.pipeline.complete().await?;
        self.context.check_going()?;
        self.settle_groups()?;
        if self.context.follows_a_kill() {
            // By now they are more: what both sides hold of it is recorded.
            self.baseline_files = None;
        }
        if self.cut_short {
            self.drop_removals()?;
        }
        self.prove_absences().await?;
        self.keep_to_rules().await?;
        self.create_or_move().await?;
        self.decide_groups().await?;
        self.wait_with_removals()?;
        self.refuse_emptied_meanwhile().await?;
        let exceeded = self.judge_budget()?;
        self.forget_inside_of_wished()?;
        self.carry_groups().await?;
        self.remove_files().await?;
        self.remove_folders().await?;
        self.create_in_groups().await?;
        self.set_folder_modes().await?;
        match exceeded {
            Some(error) => Err(error),
            // What was given up for it is told nowhere else.
            None => self.context.check_going(),
        }
    }

    /// Nothing is removed by rules that are not those of now any more: what is left out by now stays. The next pass decides again.
    async fn keep_to_rules(&mut self) -> Result<(), SyncError> {
        let first = |side| self.context.state().first_removal(side);
        let removes = first(Side::Source)?.is_some() || first(Side::Target)?.is_some();
        if removes && !rules_hold(&self.context.job).await? {
            self.drop_removals()?;
            self.context.tally().found.other_rules = true;
        }
        Ok(())
    }

    /// Which changes of type happen.
    fn settle_groups(&self) -> Result<(), SyncError> {
        let state = self.context.state();
        state.drop_ended_groups()?;
        let mut tally = self.context.tally();
        for (_, conflict) in state.groups(Some(GroupEnd::Conflict))? {
            tally.conflict(conflict);
        }
        if self.context.policy == Policy::OneWay {
            for (_, conflict) in state
                .groups(None)?
                .into_iter()
                .filter(|(from, _)| *from == Side::Target)
            {
                if let Ok(path) = crate::model::SyncPath::new(conflict.path) {
                    tally.drift(&path, "it was changed on the target");
                }
            }
        }
        Ok(())
    }

    /// New files whose content may have been elsewhere: renamed if that place was given up, copied if not.
    async fn create_or_move(&mut self) -> Result<(), SyncError> {
        let mut pages = Pages::of(PendingStage::Create);
        while let Some(page) = pages.next(&self.context)? {
            for side in Side::BOTH {
                let mine = page
                    .iter()
                    .filter(|one| one.side == side && one.group.is_none());
                self.create_or_move_on(side, mine.cloned().collect())
                    .await?;
            }
        }
        self.settle().await?;
        self.pipeline.complete().await
    }

    async fn create_or_move_on(
        &mut self,
        to: Side,
        creations: Vec<Pending>,
    ) -> Result<(), SyncError> {
        let can_rename = self.context.job.storages[to].capabilities().rename;
        let mut moves = Vec::new();
        for creation in creations {
            let claimed = match &creation.hash {
                Some(hash) if can_rename => self.context.state().claim_removal(to, hash)?,
                _ => None,
            };
            match claimed {
                Some(_) if planted(Bug::MoveForgetsRemoval) => self.copy(creation).await?,
                Some(removal) => moves.push((creation, removal)),
                None => self.copy(creation).await?,
            }
        }
        if moves.is_empty() {
            return Ok(());
        }
        self.rely_on_moved(to, &moves).await;
        let notes = renames(&self.context, to, &moves)?;
        let announced = commit_and_announce(&self.context, Vec::new(), 0, notes.clone()).await?;
        let results = self.rename_all(to, &moves).await;
        let (mut rows, mut unclear) = (Vec::new(), BTreeSet::new());
        for ((creation, removal), result) in moves.into_iter().zip(results) {
            match result {
                Ok(published) => {
                    rows.extend(self.moved(to, &creation, &removal, published).await);
                }
                // Whatever is there now: the removal is tried by itself, the creation is a copy.
                Err(error) => {
                    if may_be_gone(&error) {
                        unclear.extend([creation.path.clone(), removal.path]);
                    }
                    if !planted(Bug::FailedMoveForgetsRemoval) {
                        self.context.state().unclaim_removal(removal.id)?;
                    }
                    self.copy(creation).await?;
                }
            }
        }
        leave_unclear(&self.context, notes, &unclear);
        if planted(Bug::RenameIsRecordedInTwo) {
            let gone = |row: &RowChange| matches!(row, RowChange::Delete(_));
            let (gone, rest) = rows.into_iter().partition(gone);
            commit(&self.context, gone).await?;
            rows = rest;
        }
        flush(&self.context).await?;
        commit_and_announce(&self.context, rows.clone(), announced, Vec::new()).await?;
        self.confirm_moves(to, rows).await
    }

    async fn rely_on_moved(&self, to: Side, moves: &[(Pending, Pending)]) {
        for (creation, _) in moves {
            if let PendingAction::Create(meta) = &creation.action {
                let (from, path) = (to.other(), &creation.path);
                self.context.rely_on_meta(from, path, meta);
            }
        }
        self.context.settle().await;
    }

    async fn rename_all(
        &self,
        to: Side,
        moves: &[(Pending, Pending)],
    ) -> Vec<StorageResult<Published>> {
        let requests = moves.iter().filter_map(|(creation, removal)| {
            let PendingAction::RemoveFile(expected) = &removal.action else {
                return None;
            };
            Some(RenameRequest {
                from: removal.path.clone(),
                expected: expected.clone(),
                to: creation.path.clone(),
            })
        });
        match self.context.session(to) {
            Ok(session) => session.rename(requests.collect()).await,
            Err(error) => moves.iter().map(|_| Err(error.repeat())).collect(),
        }
    }

    async fn moved(
        &self,
        to: Side,
        creation: &Pending,
        removal: &Pending,
        mut published: Published,
    ) -> Vec<RowChange> {
        let PendingAction::Create(meta) = &creation.action else {
            return Vec::new();
        };
        self.context.tally().changes[to].renamed += 1;
        self.context.job.progress.did(1, 0);
        if let (Some(wanted), Some(has)) = (meta.mode, published.mode)
            && wanted != has
        {
            let expected = Expected {
                kind: meta.kind,
                token: Some(published.token.clone()),
                hash: creation.hash,
                link: meta.link.clone(),
            };
            let set = match self.context.session(to) {
                Ok(session) => session.set_mode(&creation.path, &expected, wanted).await,
                Err(error) => Err(error.repeat()),
            };
            match set {
                Ok(set) => published = set,
                Err(error) => self.context.file_error(to, &creation.path, &error),
            }
        }
        let mut sides = Sides::new(SideRecord::of(meta), SideRecord::of(meta));
        sides[to] = SideRecord {
            token: published.token,
            settled: published.settled,
            file_id: published.file_id,
            size: meta.size,
            mtime: published.mtime,
            mode: published.mode,
        };
        sides[to.other()].mode = published.mode.and(meta.mode);
        vec![
            RowChange::Delete(Key::file(removal.path.clone())),
            RowChange::Put(BaselineRow {
                path: creation.path.clone(),
                kind: meta.kind,
                hash: creation.hash,
                link: meta.link.clone(),
                sides,
            }),
        ]
    }

    /// Sends a held back creation through the pipeline.
    async fn copy(&mut self, creation: Pending) -> Result<(), SyncError> {
        let PendingAction::Create(meta) = creation.action else {
            return Ok(());
        };
        let to = creation.side;
        let mut node = Node::new(creation.path, self.context.job.options.checksum);
        let mode = meta.mode;
        node.found[to.other()] = Found::There(*meta);
        let mut plan = ModePlan::default();
        plan.set[to] = mode;
        let verdict = Verdict::Update { to, modes: plan };
        // A master decides for the side that has it, whatever the run's policy: the decision was made.
        let policy = Policy::Master(to.other());
        let mut item = Item::new(node, policy, verdict, Default::default());
        item.not_moved = true;
        let done = self.pipeline.push(item).await?;
        self.absorb(done)?;
        self.pipeline.publish_if_full().await
    }

    /// A pass over some places sees a root that is being emptied from below: nothing is left of an entry of the root, or of anything else.
    async fn refuse_emptied_meanwhile(&self) -> Result<(), SyncError> {
        if !(self.partial && self.misses_at_top().await?) {
            return Ok(());
        }
        let mut listings = super::list(&self.context, Scope::Everything).await?;
        let Sides { source, target } = &mut listings;
        let (source, target) = tokio::join!(source.next(), target.next());
        super::refuse_emptied(
            &self.context,
            Sides::new(source?.is_none(), target?.is_none()),
        )?;
        Ok(())
    }

    /// Whether one of the removals is because of something that an entry of the other root went with. The entry itself may be kept by
    /// what is left out in it.
    async fn misses_at_top(&self) -> Result<bool, SyncError> {
        for side in Side::BOTH {
            let Some(path) = self.context.state().first_removal(side)? else {
                continue;
            };
            let other = &self.context.job.storages[side.other()];
            let top = path.ancestors().next();
            if match &top {
                None => true,
                Some(top) => other.stat(top).await?.is_none(),
            } {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn remove_files(&mut self) -> Result<(), SyncError> {
        let mut pages = Pages::of(PendingStage::RemoveFiles);
        while let Some(page) = pages.next(&self.context)? {
            let mut sides = Sides::<Vec<(Pending, Expected)>>::default();
            for one in page {
                if let PendingAction::RemoveFile(expected) = &one.action {
                    let expected = expected.clone();
                    sides[one.side].push((one, expected));
                }
            }
            for side in Side::BOTH {
                self.remove_all(side, std::mem::take(&mut sides[side]))
                    .await?;
            }
        }
        Ok(())
    }

    /// Folders, deepest first. Those in one call do not lie in each other.
    async fn remove_folders(&mut self) -> Result<(), SyncError> {
        let mut pages = Pages::of(PendingStage::RemoveFolders);
        while let Some(page) = pages.next(&self.context)? {
            let mut together: Vec<(Pending, Expected)> = Vec::new();
            for one in page {
                let PendingAction::RemoveFolder(meta) = &one.action else {
                    continue;
                };
                let apart = together.last().is_none_or(|(before, _)| {
                    before.side == one.side && !before.path.is_within(&one.path)
                });
                if !apart {
                    let side = together[0].0.side;
                    self.remove_all(side, std::mem::take(&mut together)).await?;
                }
                let expected = Expected::of(meta, None);
                together.push((one, expected));
            }
            if let Some((first, _)) = together.first() {
                let side = first.side;
                self.remove_all(side, together).await?;
            }
        }
        Ok(())
    }

    /// Whether all went.
    pub(super) async fn remove_all(
        &mut self,
        side: Side,
        all: Vec<(Pending, Expected)>,
    ) -> Result<bool, SyncError> {
        let (wanted, mut rows) = (all.len(), Vec::new());
        if all.is_empty() {
            return Ok(true);
        }
        let notes = removals(&self.context, side, all.iter().map(|(one, _)| &one.path))?;
        let announced = commit_and_announce(&self.context, Vec::new(), 0, notes.clone()).await?;
        let requests = all.iter().map(|(one, expected)| RemoveRequest {
            path: one.path.clone(),
            expected: expected.clone(),
        });
        let results = match self.context.session(side) {
            Ok(session) => session.remove(requests.collect()).await,
            Err(error) => all.iter().map(|_| Err(error.repeat())).collect(),
        };
        let mut unclear = BTreeSet::new();
        for ((one, expected), result) in all.into_iter().zip(results) {
            match result
                .or_else(|error| planted(Bug::FailedRemovalIsDone).then_some(()).ok_or(error))
            {
                Ok(()) => rows.push(self.removed(side, one, &expected)?),
                Err(error) => {
                    self.context.file_error(side, &one.path, &error);
                    unclear.extend(may_be_gone(&error).then_some(one.path));
                }
            }
        }
        leave_unclear(&self.context, notes, &unclear);
        let gone = rows.len();
        flush(&self.context).await?;
        commit_and_announce(&self.context, rows, announced, Vec::new()).await?;
        Ok(gone == wanted)
    }

    fn removed(
        &mut self,
        side: Side,
        one: Pending,
        expected: &Expected,
    ) -> Result<RowChange, SyncError> {
        let key = Key {
            folder: expected.kind == Kind::Folder,
            path: one.path,
        };
        let dry_run = self.context.job.options.dry_run;
        let mut tally = self.context.tally();
        tally.changes[side].removed += 1;
        tally.rules_may_have_changed(&key.path, dry_run);
        tally.found.stays.remove(&key.path);
        drop(tally);
        self.context.job.progress.did(1, 0);
        if is_together(&one.action) {
            self.context.state().count_together(&key, side, false)?;
        }
        Ok(RowChange::Delete(key))
    }

    /// What took the place of something else's type.
    async fn create_in_groups(&mut self) -> Result<(), SyncError> {
        let mut pages = Pages::of(PendingStage::CreateFolders);
        while let Some(page) = pages.next(&self.context)? {
            for one in page {
                if let PendingAction::CreateFolder(like) = one.action {
                    let folder = NewFolder {
                        path: one.path,
                        to: one.side,
                        like: *like,
                        was: None,
                    };
                    self.pipeline.batch.folders.push(folder);
                }
            }
            self.pipeline.publish_if_full().await?;
        }
        let mut pages = Pages::of(PendingStage::Create);
        while let Some(page) = pages.next(&self.context)? {
            for one in page.into_iter().filter(|one| one.group.is_some()) {
                self.copy(one).await?;
            }
        }
        self.settle().await?;
        self.pipeline.complete().await
    }

    async fn set_folder_modes(&mut self) -> Result<(), SyncError> {
        let mut pages = Pages::of(PendingStage::FolderModes);
        while let Some(page) = pages.next(&self.context)? {
            let mut rows = Vec::new();
            for one in page {
                if let PendingAction::FolderMode(expected, mode) = &one.action {
                    let row = finish_folder(&self.context, &one.path, one.side, expected, *mode);
                    rows.extend(row.await);
                }
            }
            flush(&self.context).await?;
            commit(&self.context, rows).await?;
        }
        Ok(())
    }
}

fn is_together(action: &PendingAction) -> bool {
    matches!(action, PendingAction::RemoveTogether(_))
}
