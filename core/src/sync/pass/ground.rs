//! Where a pass looks that does not look everywhere: at the places that were named, with the folders above them.
//!
//! Whoever named them knows nothing of what is there. Each is looked at by itself first, on both sides and in the baseline: a folder that is not
//! on both sides is walked whole, and so is one above a place that is no agreed folder any more. What came new is followed to where it
//! was before, so that a move is seen whole. Where nothing differs there is nothing to do: an echo of our own write ends here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::context::Context;
use super::joined::Joined;
use super::node::{Found, Node};
use crate::model::{Kind, Meta, Side, Sides, SyncPath};
use crate::state::{BaselineRow, FolderMove};
use crate::storage::{Area, ListRequest, Listing, Parts, Result, Row, Scope};
use crate::sync::SyncError;
use crate::sync::groups::{Group, companion_keys, companions, database, git_folder};

/// A stretch of the baseline, in the order of keys.
#[derive(Debug)]
pub(super) enum Stretch {
    /// A row that was read already.
    Row(Box<BaselineRow>),
    /// The rows with keys, as text, from the first on and before the second (`None`: to the end).
    Range(String, Option<String>),
}

impl Stretch {
    /// All rows.
    pub(super) fn all() -> Vec<Self> {
        vec![Self::Range(String::new(), None)]
    }

    /// What is at `path` or below it.
    pub(super) fn subtree(path: &SyncPath) -> [Self; 2] {
        keys_of(path).map(|(from, to)| Self::Range(from, Some(to)))
    }

    fn start(&self) -> String {
        match self {
            Self::Row(row) => row.key().to_text(),
            Self::Range(from, _) => from.clone(),
        }
    }
}

/// The keys, as text, of what is at `path`, and of what is below it: from which on, and before which.
pub(super) fn keys_of(path: &SyncPath) -> [(String, String); 2] {
    let path = path.as_str();
    [
        (path.to_owned(), format!("{path}\0")),
        (format!("{path}/"), format!("{path}0")),
    ]
}

/// What a pass has to go through.
#[derive(Debug, Default)]
pub(in crate::sync) struct Ground {
    /// Single paths, looked at already; in order.
    rows: Sides<VecDeque<Row>>,
    /// To be walked.
    subtrees: Vec<SyncPath>,
    baseline: Vec<Stretch>,
    /// All that is decided by going through it.
    covers: Area,
    /// Something was found that is not as it was agreed on.
    stirred: bool,
    /// Folders that one side seems to have renamed.
    moves: Vec<FolderMove>,
    /// Paths that are as agreed on if a token can be believed that is too young for that.
    young: Vec<SyncPath>,
    /// Where contents that were agreed on may be given up: only from there something can have been moved.
    gives_up: Parts,
    /// Named places where neither side holds anything: nothing is below them.
    gone: BTreeSet<SyncPath>,
}

/// No storage that proves absence has longer names, in bytes: asked for one it says that it cannot be, not that it is not there.
pub(super) const LONGEST_NAME: usize = 255;

/// What was seen at a path.
#[derive(Debug, Default)]
struct Place {
    rows: Sides<Option<Row>>,
    /// It was named itself; if not it is a folder above one that was.
    named: bool,
}

impl Place {
    fn meta(&self, side: Side) -> Option<&Meta> {
        match &self.rows[side] {
            Some(Row::Present(entry)) => Some(&entry.meta),
            _ => None,
        }
    }

    fn is_folder(&self, side: Side) -> bool {
        self.meta(side)
            .is_some_and(|meta| meta.kind == Kind::Folder)
    }

    /// Whether it was seen that neither side holds anything, so that nothing can be below.
    fn is_gone(&self) -> bool {
        let is_absent = |&side: &Side| self.rows[side].as_ref().is_some_and(is_absent);
        Side::BOTH.iter().all(is_absent)
    }

    /// Whether a content that was agreed on is perhaps not here any more.
    fn gives_up(&self, base: Option<&BaselineRow>) -> bool {
        let is_file = |&side: &Side| self.meta(side).is_some_and(|meta| meta.kind == Kind::File);
        base.is_some_and(|base| base.kind == Kind::File) && !Side::BOTH.iter().all(is_file)
    }

    fn is_excluded(&self) -> bool {
        Side::BOTH
            .iter()
            .any(|&side| matches!(self.rows[side], Some(Row::Excluded(_))))
    }

    /// What both sides and the baseline hold, where that was found out.
    fn node(&self, path: &SyncPath, base: Option<&BaselineRow>, checksum: bool) -> Option<Node> {
        let mut node = Node::new(path.clone(), checksum);
        node.base = base.cloned();
        for side in Side::BOTH {
            node.found[side] = match &self.rows[side] {
                Some(Row::Present(entry)) => Found::There(entry.meta.clone()),
                Some(Row::Absent(_)) | None => Found::Absent,
                _ => return None,
            };
        }
        Some(node)
    }
}

/// Whether both sides and the baseline hold the same, or nobody holds anything.
fn is_quiet(node: &Node) -> bool {
    let nothing = Side::BOTH
        .iter()
        .all(|&side| matches!(node.found[side], Found::Absent));
    node.is_untouched() || (nothing && node.base.is_none())
}

/// Looks at the places in `parts`.
pub(in crate::sync) async fn survey(
    context: &Context,
    parts: &Parts,
) -> std::result::Result<Ground, SyncError> {
    let mut survey = Survey {
        context,
        places: BTreeMap::new(),
        whole: Parts::default(),
        moves: Vec::new(),
    };
    let parts = with_groups(parts);
    let usable = |path: &&SyncPath| !path.is_reserved() && !path.is_root();
    let subtrees = parts.subtrees().iter().filter(usable);
    subtrees
        .clone()
        .for_each(|path| survey.whole.add_subtree(path.clone()));
    // What is walked in any case is looked at too: it may be what was elsewhere before.
    let paths = parts.paths().iter().filter(usable);
    let mut named: BTreeSet<_> = paths.chain(subtrees).cloned().collect();
    while !named.is_empty() {
        let new = survey.look(std::mem::take(&mut named)).await?;
        named = survey.earlier_places(&new)?;
        let Beside { known, guessed } = survey.companions(&new)?;
        named.extend(known);
        named.extend(survey.those_there(guessed).await?);
    }
    let moves = std::mem::take(&mut survey.moves).into_iter();
    survey.moves = moves.filter(|moved| survey.has_left(moved)).collect();
    survey.judge()
}

/// The places, and where one lies in a `.git` folder, all of that.
fn with_groups(parts: &Parts) -> Parts {
    let mut whole = Parts::default();
    for path in parts.subtrees() {
        whole.add_subtree(git_folder(path).unwrap_or_else(|| path.clone()));
    }
    for path in parts.paths() {
        match git_folder(path) {
            Some(git) if git != *path => whole.add_subtree(git),
            _ => whole.add_path(path.clone()),
        }
    }
    whole
}

struct Survey<'a> {
    context: &'a Context,
    places: BTreeMap<SyncPath, Place>,
    whole: Parts,
    moves: Vec<FolderMove>,
}

/// What may belong together with what was named.
#[derive(Default)]
struct Beside {
    known: BTreeSet<SyncPath>,
    /// Nobody knows whether they are there.
    guessed: BTreeSet<SyncPath>,
}

impl Survey<'_> {
    /// Looks at these paths and at the folders above them, and returns those of `named` that were not known yet.
    async fn look(
        &mut self,
        named: BTreeSet<SyncPath>,
    ) -> std::result::Result<Vec<SyncPath>, SyncError> {
        let mut ask = BTreeSet::new();
        let mut new = Vec::new();
        for path in named.iter().flat_map(SyncPath::ancestors) {
            if let std::collections::btree_map::Entry::Vacant(place) = self.places.entry(path) {
                ask.insert(place.key().clone());
                place.insert(Place::default());
            }
        }
        for path in named {
            let place = self.places.entry(path.clone()).or_insert_with(|| {
                ask.insert(path.clone());
                Place::default()
            });
            if !std::mem::replace(&mut place.named, true) {
                new.push(path);
            }
        }
        let (source, target) =
            tokio::join!(self.rows(Side::Source, &ask), self.rows(Side::Target, &ask));
        for (side, rows) in [(Side::Source, source?), (Side::Target, target?)] {
            for row in rows {
                let path = row.key().path;
                if let Some(place) = self.places.get_mut(&path) {
                    place.rows[side] = Some(row);
                }
            }
        }
        Ok(new)
    }

    async fn rows(&self, side: Side, ask: &BTreeSet<SyncPath>) -> Result<Vec<Row>> {
        let folders = self.context.job.storages[side].capabilities().empty_folders;
        // Where folders are only implied nothing is learnt from looking at those above.
        let paths = ask.iter().filter(|path| folders || self.is_named(path));
        let paths: Vec<_> = paths.cloned().collect();
        let mut rows = Vec::new();
        self.each_row(side, paths, |row| rows.push(row)).await?;
        Ok(rows)
    }

    async fn each_row(
        &self,
        side: Side,
        paths: Vec<SyncPath>,
        mut take: impl FnMut(Row),
    ) -> Result<()> {
        if paths.is_empty() {
            return Ok(());
        }
        let storage = &self.context.job.storages[side];
        let mut listing = storage
            .list(request(self.context, Scope::Paths(paths)))
            .await?;
        while let Some(batch) = listing.next().await? {
            self.context.job.progress.saw(batch.len() as u64);
            batch.into_iter().for_each(&mut take);
        }
        Ok(())
    }

    /// Those of `guessed` that are there on some side. They are looked for only where that costs next to nothing.
    async fn those_there(&self, guessed: BTreeSet<SyncPath>) -> Result<BTreeSet<SyncPath>> {
        let mut there = BTreeSet::new();
        for side in Side::BOTH {
            let storage = &self.context.job.storages[side];
            if storage.capabilities().listing_proves_absence {
                let paths = guessed.iter().cloned().collect();
                let take = |row: Row| {
                    if !is_absent(&row) {
                        there.insert(row.key().path);
                    }
                };
                self.each_row(side, paths, take).await?;
            }
        }
        Ok(there)
    }

    fn is_named(&self, path: &SyncPath) -> bool {
        self.places.get(path).is_some_and(|place| place.named)
    }

    /// Where what is new at these paths was before.
    fn earlier_places(
        &mut self,
        paths: &[SyncPath],
    ) -> std::result::Result<BTreeSet<SyncPath>, SyncError> {
        let mut earlier = BTreeSet::new();
        let mut moves = Vec::new();
        if !self.context.has_baseline {
            return Ok(earlier);
        }
        let state = self.context.state();
        let reading = state.reading()?;
        for path in paths {
            let Some(place) = self.places.get(path) else {
                continue;
            };
            for side in Side::BOTH {
                let (Some(meta), None) = (place.meta(side), place.meta(side.other())) else {
                    continue;
                };
                let Some(id) = meta.file_id else { continue };
                let rows = state.rows_with_id(side, id, meta.kind)?;
                // Of two rows one is not true any more: where a folder was is not known then, and its paths are decided one by one.
                let is_known = rows.len() == 1;
                // Where it was all the time nothing moved: the other side's listing did not show it.
                for row in rows.into_iter().filter(|row| row.path != *path) {
                    let other = side.other();
                    // Nothing is renamed from one file system to another, nor to where something is mounted.
                    let is_near = row.sides[side].token == meta.token;
                    if let (true, Kind::Folder, Some(id)) =
                        (is_known && is_near, meta.kind, row.sides[other].file_id)
                    {
                        moves.push(FolderMove {
                            from: row.path.clone(),
                            to: path.clone(),
                            on: other,
                            id,
                        });
                    }
                    if !self.is_named(&row.path) {
                        earlier.insert(row.path);
                    }
                }
            }
        }
        drop(reading);
        drop(state);
        self.moves.append(&mut moves);
        Ok(earlier)
    }

    /// Whether the folder is not where it was any more, on the side that seems to have renamed it. One that is mounted at a second place, or
    /// that is in a snapshot, has its id at both.
    fn has_left(&self, moved: &FolderMove) -> bool {
        let side = moved.on.other();
        let id_at = |path: &SyncPath| self.places.get(path)?.meta(side)?.file_id;
        match self.places.get(&moved.from).map(|place| &place.rows[side]) {
            Some(Some(Row::Absent(_))) => true,
            Some(Some(Row::Present(_))) => id_at(&moved.from) != id_at(&moved.to),
            _ => false,
        }
    }

    /// What may lie beside databases at these paths, and the databases that these may lie beside. What is here now says nothing of what was:
    /// a database that is gone, or left out, or a text by now, held back what lay beside it, and nobody tells of that.
    fn companions(&self, paths: &[SyncPath]) -> std::result::Result<Beside, SyncError> {
        let mut beside = Beside::default();
        let state = self.context.state();
        let _reading = state.reading()?;
        for path in paths {
            if git_folder(path).is_some() {
                continue;
            }
            if let Some(database) = database(path) {
                beside.known.extend(Group::sqlite(database).paths());
                continue;
            }
            // Hardly any file has something beside it whose name begins so: one question answers for all.
            let (from, to) = companion_keys(path);
            let some_are_known = state.has_rows_in(&from, &to)?;
            for path in companions(path) {
                if some_are_known && state.row_at(&path)?.is_some() {
                    beside.known.insert(path);
                } else if path.name().len() <= LONGEST_NAME {
                    beside.guessed.insert(path);
                }
            }
        }
        beside.known.retain(|path| !self.is_named(path));
        beside.guessed.retain(|path| !self.is_named(path));
        Ok(beside)
    }

    /// Which places are told by their rows, and which are walked.
    fn judge(self) -> std::result::Result<Ground, SyncError> {
        let Self {
            context,
            places,
            mut whole,
            moves,
        } = self;
        let mut ground = Ground {
            moves,
            ..Ground::default()
        };
        let mut hidden: Option<SyncPath> = None;
        let mut rows = Vec::new();
        // Of what only makes sense together nothing is put off: it would go over without the rest.
        let there = places.iter().filter(|(_, place)| !place.is_gone());
        let databases: BTreeSet<_> = there.filter_map(|(path, _)| database(path)).collect();
        let state = context.state();
        let reading = state.reading()?;
        for (path, place) in places {
            let below = |above: &SyncPath| path.is_within(above);
            if whole.holds(&path) || hidden.as_ref().is_some_and(below) {
                continue;
            }
            let base = state.row_at(&path)?;
            let node = place.node(&path, base.as_ref(), context.job.options.checksum);
            let replaced = node.as_ref().is_some_and(Node::is_another_folder);
            if place.gives_up(base.as_ref()) {
                ground.gives_up.add_path(path.clone());
            }
            if place.is_excluded() {
                hidden = Some(path.clone());
            } else if replaced || !is_plain(context, path.name() == ".git", &place, base.as_ref()) {
                whole.add_subtree(path);
                continue;
            }
            if place.named {
                ground.covers.add_path(path.clone());
                if place.is_gone() {
                    ground.gone.insert(path.clone());
                }
                let alone = database(&path).is_none() && !databases.contains(&path);
                let young = |node: &Node| alone && node.is_to_be_confirmed() && node.is_young();
                if node.as_ref().is_some_and(young) {
                    ground.young.push(path);
                    continue;
                }
                let quiet = node.as_ref().is_some_and(is_quiet);
                ground.stirred |= !quiet && !place.is_excluded();
            }
            rows.push((place, base));
        }
        for path in whole.subtrees() {
            if state.holds_at_or_below(path)? {
                ground.gives_up.add_subtree(path.clone());
            }
        }
        drop(reading);
        ground.lay_out(rows, &whole);
        Ok(ground)
    }
}

impl Ground {
    /// Puts what was seen and what is to be walked in order.
    fn lay_out(&mut self, rows: Vec<(Place, Option<BaselineRow>)>, whole: &Parts) {
        for (place, base) in rows {
            let Sides { source, target } = place.rows;
            self.rows.source.extend(source);
            self.rows.target.extend(target);
            let base = base.map(|row| Stretch::Row(Box::new(row)));
            self.baseline.extend(base);
        }
        for side in Side::BOTH {
            self.rows[side].make_contiguous().sort_by_key(Row::key);
        }
        for path in whole.subtrees() {
            self.stirred = true;
            self.covers.add_subtree(path.clone());
            self.baseline.extend(Stretch::subtree(path));
            self.subtrees.push(path.clone());
        }
        self.baseline.sort_by_cached_key(Stretch::start);
    }
}

/// Whether what is at a place can be told without looking into it: it is no folder anywhere, or it is one that both sides agreed on.
fn is_plain(context: &Context, is_git: bool, place: &Place, base: Option<&BaselineRow>) -> bool {
    let was_folder = base.is_some_and(|row| row.kind == Kind::Folder);
    let folder = Sides::from_fn(|side| place.is_folder(side));
    if place.named && is_git && (folder.source || folder.target) {
        return false;
    }
    if !(folder.source || folder.target || was_folder) {
        return place.named;
    }
    let keeps_folders =
        Sides::from_fn(|side| context.job.storages[side].capabilities().empty_folders);
    // A folder that was named may have come or gone with all that is in it, and nothing of that is told: it is known only where both have it.
    let is_implied = |side: Side| !place.named && !keeps_folders[side];
    // And so may another with the same name: only an id tells.
    let unknown = |&side: &Side| place.meta(side).is_some_and(|meta| meta.file_id.is_none());
    if place.named && Side::BOTH.iter().any(unknown) {
        return false;
    }
    let as_agreed = |&side: &Side| {
        folder[side] || (is_implied(side) && place.rows[side].as_ref().is_none_or(is_absent))
    };
    (folder.source || folder.target)
        && Side::BOTH.iter().all(as_agreed)
        && (was_folder || (base.is_none() && Side::BOTH.into_iter().any(is_implied)))
}

fn is_absent(row: &Row) -> bool {
    matches!(row, Row::Absent(_))
}

/// A request for what a pass looks at.
pub(super) fn request(context: &Context, scope: Scope) -> ListRequest {
    ListRequest {
        scope,
        filter: Arc::clone(&context.job.options.filter),
        start_after: None,
        spill_dir: context.job.state_dir.clone(),
        cancel: context.job.cancel.clone(),
    }
}

impl Ground {
    /// Whether nothing differs from what was agreed on.
    pub(in crate::sync) fn is_quiet(&self) -> bool {
        !self.stirred
    }

    /// Paths that are as agreed on, unless they changed again within the resolution of their times: to be looked at a little later.
    pub(in crate::sync) fn take_young(&mut self) -> Vec<SyncPath> {
        std::mem::take(&mut self.young)
    }

    /// Folders that one side seems to have renamed, outermost first.
    pub(in crate::sync) fn take_moves(&mut self) -> Vec<FolderMove> {
        std::mem::take(&mut self.moves)
    }

    /// Where contents that were agreed on may be given up.
    pub(super) fn gives_up(&self) -> &Parts {
        &self.gives_up
    }

    /// All that is decided by going through it.
    pub(in crate::sync) fn covers(&self) -> &Area {
        &self.covers
    }

    /// The folder that `path` was in, if nothing is there on either side any more.
    pub(in crate::sync) fn gone_above(&self, path: &SyncPath) -> Option<SyncPath> {
        path.ancestors().find(|above| self.gone.contains(above))
    }

    /// The stretches of the baseline that belong to it.
    pub(super) fn take_baseline(&mut self) -> Vec<Stretch> {
        std::mem::take(&mut self.baseline)
    }

    /// The rows of both sides: what was looked at, and what is walked now.
    pub(super) async fn list(
        &mut self,
        context: &Context,
    ) -> std::result::Result<Sides<Box<dyn Listing>>, SyncError> {
        let rows = std::mem::take(&mut self.rows);
        if self.subtrees.is_empty() {
            return Ok(Sides::new(
                Joined::boxed(rows.source, None),
                Joined::boxed(rows.target, None),
            ));
        }
        let request = request(context, Scope::Subtrees(self.subtrees.clone()));
        let storages = &context.job.storages;
        let (source, target) = tokio::join!(
            storages.source.list(request.clone()),
            storages.target.list(request)
        );
        Ok(Sides::new(
            Joined::boxed(rows.source, Some(source?)),
            Joined::boxed(rows.target, Some(target?)),
        ))
    }
}
