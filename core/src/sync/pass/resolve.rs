//! Ends conflicts as somebody asked for.

use super::Pass;
use super::ground::LONGEST_NAME;
use super::node::{Found, Node};
use super::recall::recalled;
use crate::model::{ContentHash, Kind, Meta, Side, SyncPath};
use crate::planted::{Bug, planted};
use crate::reconcile::{Conflicting, Policy, Verdict};
use crate::storage::{ErrorKind, RenameRequest, StorageError};
use crate::sync::exclude::rules_hold;
use crate::sync::{Keep, SyncError};

/// So many names are tried for one version.
const MOST_BESIDE: u32 = 99;

/// What is decided at a path, where a wish counts.
pub(super) struct DecidedHere {
    pub(super) verdict: Verdict,
    pub(super) policy: Policy,
    /// What is below goes by this.
    pub(super) below: Policy,
    /// It is one, or was until just now.
    pub(super) is_conflict: bool,
}

impl Pass {
    /// Decides at `node`, and ends its conflict if somebody asked for that.
    pub(super) async fn decide_here(&mut self, node: &mut Node) -> Result<DecidedHere, SyncError> {
        let policy = self.frames.policy().unwrap_or(self.context.policy);
        let mut here = DecidedHere {
            verdict: self.decide_wished(node, policy).await?,
            policy,
            below: policy,
            is_conflict: false,
        };
        if let Verdict::Conflict(what) = here.verdict {
            here.is_conflict = true;
            if let Some(settled) = self.resolve(node, what).await? {
                here.policy = settled;
                here.verdict = node.decide(settled);
                // Who chose permissions has not chosen between contents.
                if what != Conflicting::Modes || planted(Bug::BitsDecideContents) {
                    here.below = settled;
                }
            }
        }
        Ok(here)
    }

    /// A conflict that is left out cannot be ended: nobody looks at it.
    pub(super) fn tell_left_out(&self, node: &Node) {
        for side in Side::BOTH {
            if matches!(node.found[side], Found::LeftAlone) {
                let error = StorageError::new(
                    ErrorKind::Unsupported,
                    "resolve",
                    "it is left out, so nothing was done; `wl explain` names the rule, take it back first",
                );
                let location = self.context.job.storages[side].location();
                return self.context.tally().problem(&node.path, &error, location);
            }
        }
    }

    /// The policy that ends the conflict at `node`, if somebody asked for an end; the node is changed where a version was put
    /// beside the path.
    async fn resolve(
        &mut self,
        node: &mut Node,
        what: Conflicting,
    ) -> Result<Option<Policy>, SyncError> {
        let wishes = &self.context.job.options.resolve;
        let Some((_, keep)) = wishes.iter().find(|(path, _)| *path == node.path) else {
            return Ok(None);
        };
        self.context.tally().found.met = true;
        if !self.goes_by_rules_of_now().await? {
            return Ok(None);
        }
        if self.wish.as_ref() == Some(&node.path) {
            self.judged_as_ever = what == Conflicting::Modes;
        }
        match keep {
            Keep::Source if planted(Bug::ResolveKeepsOther) => {
                Ok(Some(Policy::Master(Side::Target)))
            }
            Keep::Target if planted(Bug::ResolveKeepsOther) => {
                Ok(Some(Policy::Master(Side::Source)))
            }
            Keep::Source => Ok(Some(Policy::Master(Side::Source))),
            Keep::Target => Ok(Some(Policy::Master(Side::Target))),
            Keep::Newer => Ok(self.newer(node, what).map(Policy::Master)),
            Keep::Both => self.put_beside(node, what).await,
        }
    }

    /// Whether what is left out is what it was when this pass began. If not nothing is replaced or renamed for a wish: the next pass decides.
    pub(super) async fn goes_by_rules_of_now(&self) -> Result<bool, SyncError> {
        let holds = rules_hold(&self.context.job).await?;
        self.context.tally().found.other_rules |= !holds;
        Ok(holds)
    }

    /// The changes of type happen now that somebody asked for: one side is to win whole. What the baseline says of the inside of its folder
    /// would make a removal of what the other side lacks, should the run break off before all of it is there. What was refused until
    /// here has changed nothing, so nothing is forgotten of it.
    pub(super) fn forget_inside_of_wished(&self) -> Result<(), SyncError> {
        if self.wish.is_none() {
            return Ok(());
        }
        let groups = self.context.state().groups(None)?;
        for (_, conflict) in groups {
            match SyncPath::new(conflict.path) {
                Ok(path) if self.is_wished(&path) => self.context.forget_tree(&path)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether somebody asked for the end of a conflict at `path`.
    pub(super) fn is_wished(&self, path: &SyncPath) -> bool {
        let mut wishes = self.context.job.options.resolve.iter();
        wishes.any(|(wish, _)| wish == path)
    }

    /// Decides at `node`; where somebody asked for the end of a conflict, what has to be read is read at once: the wish has an effect
    /// only if the decision is a conflict.
    async fn decide_wished(&self, node: &mut Node, policy: Policy) -> Result<Verdict, SyncError> {
        let wished = self.is_wished(&node.path);
        let at_once = wished || node.may_be_retyped();
        let mut verdict = node.decide(policy);
        while let (true, Verdict::Read(sides)) = (at_once, verdict) {
            for side in Side::BOTH.into_iter().filter(|&side| sides[side]) {
                if let Some(hash) = recalled(&self.context, node, side) {
                    node.hashes[side] = Some(hash);
                    continue;
                }
                let storage = &self.context.job.storages[side];
                match storage.hash(&node.path, &self.context.job.cancel).await {
                    Ok(hashed) => {
                        node.hashes[side] = Some(hashed.hash);
                        node.found[side] = Found::There(hashed.meta);
                    }
                    Err(error) => {
                        self.context.file_error(side, &node.path, &error);
                        return Ok(Verdict::Wait);
                    }
                }
            }
            verdict = node.decide(policy);
        }
        match verdict {
            // Whether it is a conflict only what is below can tell: a look at all of that has, and listed it.
            Verdict::Retype { .. } if wished && self.is_listed(&node.path)? => {
                Ok(Verdict::Conflict(Conflicting::Types))
            }
            verdict => Ok(verdict),
        }
    }

    /// Whether the last run left a conflict here.
    fn is_listed(&self, path: &SyncPath) -> Result<bool, SyncError> {
        let conflicts = self.context.state().conflicts()?;
        Ok(conflicts.iter().any(|one| one.path == path.as_str()))
    }

    fn newer(&self, node: &Node, what: Conflicting) -> Option<Side> {
        let mtime = |side: Side| {
            node.found[side]
                .meta()
                .filter(|meta| meta.kind != Kind::Folder)
                .and_then(|m| m.mtime)
        };
        match (mtime(Side::Source), mtime(Side::Target)) {
            (Some(source), Some(target)) if source > target => Some(Side::Source),
            (Some(source), Some(target)) if target > source => Some(Side::Target),
            _ => {
                let others = match what {
                    Conflicting::Modes => "source or target",
                    Conflicting::Content | Conflicting::Types => "source, target or both",
                };
                let reason = format!("it cannot be told which version is newer; choose {others}");
                self.refuse(node, &reason);
                None
            }
        }
    }

    fn refuse(&self, node: &Node, reason: &str) {
        self.refuse_at(&node.path, reason);
    }

    /// Somebody wants what cannot be had.
    pub(super) fn refuse_at(&self, path: &SyncPath, reason: &str) {
        let error = StorageError::new(ErrorKind::Unsupported, "resolve", reason);
        let both = self.context.job.both();
        self.context.tally().problem(path, &error, &both);
    }

    /// Puts one version beside the path: the target's, or the one that is no folder.
    async fn put_beside(
        &mut self,
        node: &mut Node,
        what: Conflicting,
    ) -> Result<Option<Policy>, SyncError> {
        let side = if node.found.target.is_folder() {
            Side::Source
        } else {
            Side::Target
        };
        let movable = !node.found[side].is_folder() && what != Conflicting::Modes;
        let Some(meta) = node.found[side].meta().cloned().filter(|_| movable) else {
            self.refuse(
                node,
                "permissions cannot be kept twice; choose source or target",
            );
            return Ok(None);
        };
        let request = match self.plan_beside(node, side, &meta).await {
            Ok(request) => request,
            Err(error) => {
                self.context.file_error(side, &node.path, &error);
                return Ok(None);
            }
        };
        // The other side's folder is to come whole, as in [`Pass::forget_inside_of_wished`].
        if node.found[side.other()].is_folder() {
            self.context.forget_tree(&node.path)?;
        }
        match self.rename_beside(side, request).await {
            Ok(to) => {
                let mut tally = self.context.tally();
                tally.changes[side].renamed += 1;
                tally.found.beside.push(to);
                node.found[side] = Found::Absent;
                Ok(Some(Policy::Master(side.other())))
            }
            Err(error) => {
                self.context.file_error(side, &node.path, &error);
                Ok(None)
            }
        }
    }
}

impl Pass {
    /// The first name for a version with this mark that neither side has: the same version may have been put there before.
    async fn free_beside(&self, path: &SyncPath, mark: &str) -> Result<SyncPath, StorageError> {
        for number in 1..=MOST_BESIDE {
            let to = match number {
                1 => beside(path, mark)?,
                _ => beside(path, &format!("{mark}-{number}"))?,
            };
            let storages = &self.context.job.storages;
            let (source, target) =
                tokio::join!(storages.source.stat(&to), storages.target.stat(&to));
            if source?.is_none() && target?.is_none() {
                return Ok(to);
            }
        }
        let reason =
            format!("there are {MOST_BESIDE} copies of this version beside it; move some away");
        Err(StorageError::new(ErrorKind::Other, "resolve", reason).at(path))
    }

    /// What puts the version of `side` beside its path.
    async fn plan_beside(
        &self,
        node: &mut Node,
        side: Side,
        meta: &Meta,
    ) -> Result<RenameRequest, StorageError> {
        let mark = match (meta.kind, node.hash(side)) {
            (Kind::File, Some(hash)) => hash,
            (Kind::File, None) => {
                let storage = &self.context.job.storages[side];
                storage
                    .hash(&node.path, &self.context.job.cancel)
                    .await?
                    .hash
            }
            _ => ContentHash::of(meta.link.as_deref().unwrap_or("").as_bytes()),
        };
        node.hashes[side] = (meta.kind == Kind::File).then_some(mark);
        let expected = node
            .expected(side)
            .ok_or_else(|| StorageError::new(ErrorKind::NotFound, "resolve", "nothing is there"))?;
        let to = self.free_beside(&node.path, &mark.to_string()[..8]).await?;
        Ok(RenameRequest {
            from: node.path.clone(),
            expected,
            to,
        })
    }

    async fn rename_beside(
        &self,
        side: Side,
        request: RenameRequest,
    ) -> Result<SyncPath, StorageError> {
        let to = request.to.clone();
        let session = self.context.session(side)?;
        let result = session.rename(vec![request]).await.pop();
        let no_answer =
            || StorageError::new(ErrorKind::Other, "rename", "the storage gave no answer");
        result.ok_or_else(no_answer)?.map(|_| to)
    }
}

/// The name beside `path` for a version with this mark: `photo.jpg` becomes `photo.conflict-1a2b3c4d.jpg`.
fn beside(path: &SyncPath, mark: &str) -> Result<SyncPath, StorageError> {
    let name = path.name();
    let (stem, end) = match name.rfind('.') {
        Some(at) if at > 0 => name.split_at(at),
        _ => (name, ""),
    };
    let tail = format!(".conflict-{mark}{end}");
    let mut room = LONGEST_NAME.saturating_sub(tail.len()).min(stem.len());
    while !stem.is_char_boundary(room) {
        room -= 1;
    }
    let parent = path.parent().unwrap_or_else(SyncPath::root);
    parent
        .join(&format!("{}{tail}", &stem[..room]))
        .map_err(|error| {
            StorageError::new(ErrorKind::Unrepresentable, "resolve", error.to_string()).at(path)
        })
}
