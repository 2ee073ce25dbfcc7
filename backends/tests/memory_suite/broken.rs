//! Backends that break one promise each, and the suite that must notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use wl_core::model::*;
use wl_core::storage::*;
use wl_core::testing::conformance::{Editor, Harness, PROMISES, promise};

use super::{Memory, settings};

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nothing: the control.
    Nothing,
    /// Whatever is there is replaced.
    IgnoresExpect,
    /// Looks, waits a moment, and then changes whatever is there.
    ChecksThenActs,
    /// Rows in reverse.
    Unsorted,
    /// Sorted by path instead of by key.
    SortedByPath,
    /// The last row of every batch is missing.
    LosesRows,
    /// A listing that was stopped says that it is complete.
    EndsWhenStopped,
    /// What is not there is left out.
    HidesAbsence,
    /// `start_after` is not looked at.
    StartsAnywhere,
    /// Excluded entries are left out.
    HidesExcluded,
    /// The trash is always empty.
    NoTrash,
    /// It says that it emptied the trash, and did not.
    KeepsTrash,
    /// Tokens are the size.
    TokenIsSize,
    /// `file_token` is its own.
    OtherFileToken,
    /// The hash is that of something else.
    WrongHash,
    /// Whatever is there is read.
    ReadsAnything,
    /// Small reads answer in the order of paths.
    ReadsInOtherOrder,
    /// Content is seen when it is staged.
    PublishesWhenStaging,
    /// Renames take the place of what is there.
    RenamesOver,
    /// Full folders are removed with all that is in them.
    RemovesFullFolders,
    /// Times are dropped.
    DropsTimes,
    /// Modes are dropped.
    DropsModes,
    /// Links are not claimed, and staged as empty files.
    LinksAsFiles,
    /// Folders are made twice.
    MakesFoldersTwice,
    /// Claims case to count where it does not.
    FoldsCaseInSecret,
    /// Nobody hears that the run is to stop.
    Deaf,
    /// `.wl` is a name like any other.
    StatsReserved,
    /// What wl keeps for itself is listed.
    ListsReserved,
    /// Nothing is excluded.
    IgnoresFilter,
    /// The end of a file is not checked.
    ReadsTorn,
    /// Claims to be read-only, and is not.
    WritesInSecret,
    /// A file takes a folder's place.
    ReplacesFolders,
    /// What should be replaced is created if it is gone.
    CreatesInstead,
    /// What is gone was removed, it says.
    RemovesNothing,
    /// Missing folders are made.
    MakesParents,
    /// What is removed is nowhere, whatever it is.
    RemovesForGood,
    /// Spaces around names are dropped.
    TrimsNames,
    /// `stat` tells no times.
    StatsWithoutTimes,
    /// Removals, renames and folders are done, it says.
    OnlySaysSo,
    /// The root is told by what is in it.
    MarksByContent,
    /// A folder has another token when something in it changes.
    FolderTokenIsContent,
    /// A folder that was just made is told with another token than listings tell.
    MadeFolderHasOtherToken,
}

struct Broken {
    memory: Memory,
    fault: Fault,
    window: Arc<Window>,
}

impl Broken {
    fn new(fault: Fault) -> Self {
        let settings = settings().folds_case(fault == Fault::FoldsCaseInSecret);
        Self {
            memory: Memory::with(settings),
            fault,
            window: Arc::default(),
        }
    }
}

/// The moment between a check and the act that it was for, which [`Fault::ChecksThenActs`] leaves open. It lasts until somebody
/// else is in it too or has changed what was checked: the fault does its harm on a busy machine as well.
#[derive(Debug, Default)]
struct Window {
    inside: AtomicUsize,
    entered: AtomicUsize,
}

impl Window {
    /// The longest that one waits who is alone.
    const MOST: std::time::Duration = std::time::Duration::from_millis(30);

    async fn pass(&self, memory: &wl_backends::memory::MemoryBackend, path: &SyncPath) {
        let checked = memory.stat(path).await.ok().flatten();
        let ticket = self.entered.fetch_add(1, Ordering::SeqCst) + 1;
        let alone = self.inside.fetch_add(1, Ordering::SeqCst) == 0;
        let until = std::time::Instant::now() + Self::MOST;
        while alone && std::time::Instant::now() < until {
            let another = self.entered.load(Ordering::SeqCst) > ticket;
            if another || memory.stat(path).await.ok().flatten() != checked {
                break;
            }
            tokio::task::yield_now().await;
        }
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Harness for Broken {
    fn backend(&self) -> Arc<dyn StorageBackend> {
        let inner = self.memory.backend();
        let claims = inner.capabilities().clone();
        Arc::new(BrokenBackend {
            claims: Capabilities {
                folds_case: false,
                links: self.fault != Fault::LinksAsFiles,
                writable: self.fault != Fault::WritesInSecret,
                ..claims
            },
            memory: self.memory.0.clone(),
            inner,
            fault: self.fault,
            window: Arc::clone(&self.window),
        })
    }

    fn second(&self) -> Arc<dyn StorageBackend> {
        self.backend()
    }

    fn editor(&self) -> Arc<dyn Editor> {
        self.memory.editor()
    }
}

#[derive(Clone, Debug)]
struct BrokenBackend {
    inner: Arc<dyn StorageBackend>,
    memory: wl_backends::memory::MemoryBackend,
    claims: Capabilities,
    fault: Fault,
    window: Arc<Window>,
}

impl BrokenBackend {
    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn tell(&self, meta: Meta) -> Meta {
        match self.fault {
            Fault::TokenIsSize if meta.kind == Kind::File => Meta {
                token: Token::new(meta.size.to_string()),
                ..meta
            },
            Fault::FolderTokenIsContent if meta.kind == Kind::Folder => Meta {
                token: Token::new(self.memory.snapshot().len().to_string()),
                ..meta
            },
            _ => meta,
        }
    }

    /// The request as the true backend wants it: with the token of what is there.
    async fn current(&self, request: ReadRequest) -> ReadRequest {
        if !self.is(Fault::ReadsAnything) && !self.is(Fault::TokenIsSize) {
            return request;
        }
        match self.inner.stat(&request.path).await {
            Ok(Some(meta)) => ReadRequest { meta, ..request },
            _ => request,
        }
    }
}

#[async_trait]
impl StorageBackend for BrokenBackend {
    fn type_name(&self) -> &'static str {
        "broken"
    }
    fn location(&self) -> &str {
        self.inner.location()
    }
    fn identity(&self) -> &str {
        self.inner.identity()
    }
    async fn root_marker(&self) -> Result<RootMarker> {
        let mut marker = self.inner.root_marker().await?;
        if self.is(Fault::MarksByContent) {
            marker.folder = Some(self.memory.snapshot().len().to_string());
        }
        Ok(marker)
    }
    fn capabilities(&self) -> &Capabilities {
        &self.claims
    }
    async fn list(&self, mut request: ListRequest) -> Result<Box<dyn Listing>> {
        let cancel = request.cancel.clone();
        if self.is(Fault::EndsWhenStopped) || self.is(Fault::Deaf) {
            request.cancel = CancellationToken::new();
        }
        if self.is(Fault::IgnoresFilter) {
            request.filter = Arc::new(NoFilter);
        }
        if self.is(Fault::StartsAnywhere) {
            request.start_after = None;
        }
        Ok(Box::new(BrokenListing {
            inner: self.inner.list(request).await?,
            backend: self.clone(),
            cancel,
            reserved: self.is(Fault::ListsReserved),
        }))
    }
    async fn stat(&self, path: &SyncPath) -> Result<Option<Meta>> {
        if self.is(Fault::StatsReserved) && path.is_reserved() {
            return Ok(None);
        }
        let meta = self.inner.stat(path).await?.map(|meta| self.tell(meta));
        Ok(match self.fault {
            Fault::StatsWithoutTimes => meta.map(|meta| Meta {
                mtime: None,
                ..meta
            }),
            _ => meta,
        })
    }
    async fn file_token(&self, path: &SyncPath) -> Result<Option<Token>> {
        let token = self.inner.file_token(path).await?;
        Ok(token.map(|token| match self.fault {
            Fault::OtherFileToken => Token::new(format!("{token:?}-other")),
            _ => token,
        }))
    }
    async fn hash(&self, path: &SyncPath, cancel: &CancellationToken) -> Result<Hashed> {
        let deaf = CancellationToken::new();
        let cancel = if self.is(Fault::Deaf) { &deaf } else { cancel };
        let mut hashed = self.inner.hash(path, cancel).await?;
        hashed.meta = self.tell(hashed.meta);
        if self.is(Fault::WrongHash) {
            hashed.hash = ContentHash::of(hashed.meta.size.to_string().as_bytes());
        }
        Ok(hashed)
    }
    async fn read(&self, request: ReadRequest) -> Result<Box<dyn ContentReader>> {
        let reader = self.inner.read(self.current(request).await).await?;
        Ok(match self.fault {
            Fault::ReadsTorn => Box::new(TornReader(reader)),
            _ => reader,
        })
    }
    async fn read_small(&self, requests: Vec<ReadRequest>) -> Vec<Result<SmallRead>> {
        let mut current = Vec::new();
        for request in requests {
            current.push(self.current(request).await);
        }
        if self.is(Fault::ReadsInOtherOrder) {
            current.sort_by_key(|request| request.path.clone());
        }
        self.inner.read_small(current).await
    }
    fn copy_source(&self) -> Option<CopySource> {
        self.inner.copy_source()
    }
    fn copies_from(&self, source: &CopySource) -> bool {
        self.inner.copies_from(source)
    }
    async fn begin(&self, mut options: SessionOptions) -> Result<Arc<dyn WriteSession>> {
        if self.is(Fault::Deaf) {
            options.cancel = CancellationToken::new();
        }
        Ok(Arc::new(BrokenSession {
            inner: self.inner.begin(options).await?,
            backend: self.clone(),
        }))
    }
    async fn trash_list(&self) -> Result<Vec<TrashItem>> {
        match self.fault {
            Fault::NoTrash => Ok(Vec::new()),
            _ => self.inner.trash_list().await,
        }
    }
    async fn trash_claimed(&self) -> Result<Vec<TrashItem>> {
        self.inner.trash_claimed().await
    }
    async fn trash_restore(&self, id: &TrashId, to: &SyncPath) -> Result<()> {
        if self.is(Fault::IgnoresExpect) {
            let _ = self.memory.remove(to.as_str());
        }
        self.inner.trash_restore(id, to).await
    }

    async fn trash_empty(&self, options: SessionOptions) -> Result<()> {
        match self.fault {
            Fault::KeepsTrash => Ok(()),
            _ => self.inner.trash_empty(options).await,
        }
    }
}

struct TornReader(Box<dyn ContentReader>);

#[async_trait]
impl ContentReader for TornReader {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        Ok(self.0.next().await.unwrap_or(None))
    }
}

struct BrokenListing {
    /// Whether the reserved name is still to be listed.
    reserved: bool,
    inner: Box<dyn Listing>,
    backend: BrokenBackend,
    cancel: CancellationToken,
}

#[async_trait]
impl Listing for BrokenListing {
    async fn next(&mut self) -> Result<Option<Vec<Row>>> {
        let fault = self.backend.fault;
        if fault == Fault::EndsWhenStopped && self.cancel.is_cancelled() {
            return Ok(None);
        }
        if std::mem::take(&mut self.reserved) {
            let path = SyncPath::new(".wl").unwrap();
            return Ok(Some(vec![Row::Skipped(path)]));
        }
        let Some(mut rows) = self.inner.next().await? else {
            return Ok(None);
        };
        for row in &mut rows {
            if let Row::Present(entry) = row {
                entry.meta = self.backend.tell(entry.meta.clone());
                if fault == Fault::TrimsNames {
                    entry.path = SyncPath::new(entry.path.as_str().trim()).unwrap();
                }
            }
        }
        match fault {
            Fault::Unsorted => rows.reverse(),
            Fault::SortedByPath => rows.sort_by_key(|row| row.key().path),
            Fault::LosesRows if rows.len() > 1 => drop(rows.pop()),
            Fault::HidesAbsence => rows.retain(|row| !matches!(row, Row::Absent(_))),
            Fault::HidesExcluded => rows.retain(|row| !matches!(row, Row::Excluded(_))),
            _ => {}
        }
        Ok(Some(rows))
    }
}

#[derive(Debug)]
struct BrokenSession {
    inner: Arc<dyn WriteSession>,
    backend: BrokenBackend,
}

impl BrokenSession {
    /// What two of the faults do before something is put at `path`.
    async fn make_way(&self, path: &SyncPath) {
        let found = self.backend.inner.stat(path).await.ok().flatten();
        let folder = found.is_some_and(|meta| meta.kind == Kind::Folder);
        if folder && self.backend.is(Fault::ReplacesFolders) {
            let _ = self.backend.memory.remove(path.as_str());
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.is_root())
            && self.backend.is(Fault::MakesParents)
        {
            let _ = self.backend.memory.make_folder(parent.as_str());
        }
    }

    /// What the true backend must be told to expect so that it does what the fault does.
    async fn expect(&self, path: &SyncPath, expected: Expected) -> Expected {
        let fault = self.backend.fault;
        let found = self.backend.inner.stat(path).await.ok().flatten();
        let Some(found) = found else {
            return expected;
        };
        let now = Expected::of(&found, None);
        match fault {
            Fault::IgnoresExpect | Fault::RemovesForGood => now,
            // A token that does not tell versions apart.
            Fault::TokenIsSize if self.backend.tell(found).token_is(&expected) => now,
            Fault::ChecksThenActs => {
                let hashed = self
                    .backend
                    .inner
                    .hash(path, &CancellationToken::new())
                    .await;
                let same = now.token == expected.token
                    || hashed.is_ok_and(|hashed| expected.hash == Some(hashed.hash));
                if !same {
                    return expected;
                }
                self.backend.window.pass(&self.backend.memory, path).await;
                let later = self.backend.inner.stat(path).await.ok().flatten();
                later.map_or(expected, |meta| Expected::of(&meta, None))
            }
            _ => expected,
        }
    }
}

trait TokenIs {
    fn token_is(&self, expected: &Expected) -> bool;
}

impl TokenIs for Meta {
    fn token_is(&self, expected: &Expected) -> bool {
        Some(&self.token) == expected.token.as_ref()
    }
}

#[async_trait]
impl WriteSession for BrokenSession {
    async fn stage(&self, mut requests: Vec<StageRequest>) -> Vec<Result<Staged>> {
        for request in &mut requests {
            match (&request.payload, self.backend.fault) {
                (_, Fault::DropsTimes) => request.mtime = None,
                (_, Fault::DropsModes) => request.mode = None,
                (Payload::Link(_), Fault::LinksAsFiles) => {
                    request.payload = Payload::Bytes(Bytes::new());
                    request.hash = ContentHash::of(b"");
                }
                (Payload::Bytes(content), Fault::PublishesWhenStaging) => {
                    let _ = self
                        .backend
                        .memory
                        .write_file(request.path.as_str(), content.to_vec());
                }
                _ => {}
            }
        }
        self.inner.stage(requests).await
    }
    async fn stage_large(
        &self,
        request: StageRequest,
        size: u64,
        expect: &Expect,
    ) -> Result<Box<dyn ContentWriter>> {
        self.inner.stage_large(request, size, expect).await
    }
    async fn stage_copy(&self, request: StageRequest, from: CopyFrom) -> Result<Staged> {
        self.inner.stage_copy(request, from).await
    }
    async fn flush(&self) -> Result<()> {
        self.inner.flush().await
    }
    async fn rename_folder(&self, from: &SyncPath, id: FileId, to: &SyncPath) -> Result<()> {
        if self.backend.is(Fault::RenamesOver) {
            let _ = self.backend.memory.remove(to.as_str());
        }
        self.inner.rename_folder(from, id, to).await
    }
    async fn replace(&self, requests: Vec<ReplaceRequest>) -> Vec<Result<Published>> {
        let mut changed = Vec::new();
        for request in requests {
            self.make_way(&request.path).await;
            let there = self.backend.inner.stat(&request.path).await.ok().flatten();
            let expect = match (request.expect, there) {
                (Expect::Is(_), None) if self.backend.is(Fault::CreatesInstead) => Expect::Absent,
                (Expect::Is(expected), _) => Expect::Is(self.expect(&request.path, expected).await),
                (Expect::Absent, Some(meta)) if self.backend.is(Fault::IgnoresExpect) => {
                    Expect::Is(Expected::of(&meta, None))
                }
                (Expect::Absent, None) if self.backend.is(Fault::ChecksThenActs) => {
                    let window = &self.backend.window;
                    window.pass(&self.backend.memory, &request.path).await;
                    match self.backend.inner.stat(&request.path).await.ok().flatten() {
                        Some(meta) => Expect::Is(Expected::of(&meta, None)),
                        None => Expect::Absent,
                    }
                }
                (expect, _) => expect,
            };
            changed.push(ReplaceRequest { expect, ..request });
        }
        self.inner.replace(changed).await
    }
    async fn remove(&self, mut requests: Vec<RemoveRequest>) -> Vec<Result<()>> {
        if self.backend.is(Fault::OnlySaysSo) {
            return requests.iter().map(|_| Ok(())).collect();
        }
        for request in &mut requests {
            let expected = request.expected.clone();
            request.expected = self.expect(&request.path, expected).await;
            if self.backend.is(Fault::RemovesFullFolders) {
                let found = self.backend.memory.snapshot();
                let below = format!("{}/", request.path.as_str());
                for key in found
                    .keys()
                    .filter(|key| key.starts_with(&below) && **key != below)
                {
                    let _ = self.backend.memory.remove(key.trim_end_matches('/'));
                }
            }
        }
        let results = self.inner.remove(requests.clone()).await;
        if self.backend.is(Fault::RemovesForGood) {
            for item in self.backend.inner.trash_list().await.unwrap_or_default() {
                let gone = SyncPath::new(format!("gone-{}", item.since)).unwrap();
                let _ = self.backend.inner.trash_restore(&item.id, &gone).await;
                let _ = self.backend.memory.remove(gone.as_str());
            }
        }
        let hide = |result: Result<()>| match result {
            Err(error)
                if self.backend.is(Fault::RemovesNothing)
                    && error.kind() == ErrorKind::NotFound =>
            {
                Ok(())
            }
            result => result,
        };
        results.into_iter().map(hide).collect()
    }
    async fn rename(&self, mut requests: Vec<RenameRequest>) -> Vec<Result<Published>> {
        if self.backend.is(Fault::OnlySaysSo) {
            return requests.iter().map(|_| Ok(pretended())).collect();
        }
        for request in &mut requests {
            let expected = request.expected.clone();
            request.expected = self.expect(&request.from, expected).await;
            self.make_way(&request.to).await;
            if self.backend.is(Fault::RenamesOver) {
                let _ = self.backend.memory.remove(request.to.as_str());
            }
        }
        self.inner.rename(requests).await
    }
    async fn make_folder(&self, path: &SyncPath, mode: Option<Mode>) -> Result<Published> {
        let there = self.backend.inner.stat(path).await?.is_some();
        let twice = there && self.backend.is(Fault::MakesFoldersTwice);
        if twice || self.backend.is(Fault::OnlySaysSo) {
            return Ok(pretended());
        }
        let made = self.inner.make_folder(path, mode).await?;
        Ok(match self.backend.fault {
            Fault::MadeFolderHasOtherToken => Published {
                token: Token::new("other"),
                ..made
            },
            _ => made,
        })
    }
    async fn set_mode(
        &self,
        path: &SyncPath,
        expected: &Expected,
        mode: Mode,
    ) -> Result<Published> {
        let expected = self.expect(path, expected.clone()).await;
        self.inner.set_mode(path, &expected, mode).await
    }
    async fn stranded(&self) -> Vec<StrandedVersion> {
        self.inner.stranded().await
    }
    async fn finish(&self) -> Result<Displaced> {
        self.inner.finish().await
    }
}

/// A reply for what was not done.
fn pretended() -> Published {
    Published {
        token: Token::new(""),
        settled: false,
        file_id: None,
        mode: None,
        mtime: None,
    }
}

/// What must notice which fault.
const TABLE: &[(Fault, &[&str])] = &[
    (
        Fault::IgnoresExpect,
        &[
            "absent_refuses_what_is_there",
            "replace_refuses_another_version",
            "replace_refuses_without_knowledge",
            "a_token_from_before_it_settled_never_vouches",
            "remove_refuses_another_version",
            "rename_refuses_another_version",
            "set_mode_refuses_another_version",
            "restore_refuses_what_is_there",
            "results_are_in_the_order_of_requests",
            "links_are_compared_by_target",
            "one_creator_wins",
            "no_increment_is_lost",
            "rename_against_replace_has_one_winner",
            "create_against_remove_loses_nothing",
        ],
    ),
    (
        Fault::ChecksThenActs,
        &[
            "one_creator_wins",
            "no_increment_is_lost",
            "replace_against_an_editor_loses_nothing",
        ],
    ),
    (
        Fault::Unsorted,
        &[
            "a_listing_is_complete_and_in_order",
            "a_scope_lists_only_itself",
        ],
    ),
    (
        Fault::SortedByPath,
        &[
            "a_listing_is_complete_and_in_order",
            "a_scope_lists_only_itself",
        ],
    ),
    (
        Fault::LosesRows,
        &[
            "a_listing_is_complete_and_in_order",
            "a_long_listing_comes_in_batches",
        ],
    ),
    (Fault::EndsWhenStopped, &["a_listing_stops_when_told"]),
    (
        Fault::HidesAbsence,
        &["an_absent_scope_is_told", "paths_are_looked_at_alone"],
    ),
    (Fault::StartsAnywhere, &["a_listing_starts_after_a_row"]),
    (Fault::HidesExcluded, &["what_is_excluded_keeps_its_place"]),
    (
        Fault::KeepsTrash,
        &["the_trash_is_emptied_when_that_is_asked"],
    ),
    (
        Fault::NoTrash,
        &[
            "replaced_versions_are_in_the_trash",
            "removed_versions_are_in_the_trash",
            "the_trash_keeps_until_the_next_run_has_ended",
            "no_increment_is_lost",
        ],
    ),
    (
        Fault::TokenIsSize,
        &[
            "a_token_changes_with_the_content",
            "replace_refuses_another_version",
            "remove_refuses_another_version",
            "rename_refuses_another_version",
            "another_version_is_not_read",
        ],
    ),
    (Fault::FolderTokenIsContent, &["a_folders_token_stays"]),
    (Fault::MadeFolderHasOtherToken, &["a_folders_token_stays"]),
    (Fault::OtherFileToken, &["file_token_is_the_token_of_stat"]),
    (
        Fault::WrongHash,
        &[
            "hash_is_that_of_the_content",
            "an_empty_file_is_a_file",
            "large_content_streams",
            "replace_believes_the_hash_after_a_touch",
        ],
    ),
    (Fault::TrimsNames, &["names_arrive_as_they_are"]),
    (
        Fault::StatsWithoutTimes,
        &["stat_tells_what_the_listing_tells"],
    ),
    (
        Fault::OnlySaysSo,
        &[
            "remove_takes_the_version_it_knows",
            "rename_moves_the_version_it_knows",
            "make_folder_makes_one",
        ],
    ),
    (
        Fault::ReadsAnything,
        &["another_version_is_not_read", "small_reads_answer_in_order"],
    ),
    (Fault::ReadsInOtherOrder, &["small_reads_answer_in_order"]),
    (
        Fault::PublishesWhenStaging,
        &[
            "staged_content_is_invisible",
            "absent_creates",
            "replace_takes_the_version_it_knows",
            "a_dropped_session_leaves_nothing",
        ],
    ),
    (
        Fault::RenamesOver,
        &["rename_refuses_what_is_there", "a_folder_is_renamed_whole"],
    ),
    (Fault::RemovesFullFolders, &["remove_refuses_a_full_folder"]),
    (Fault::DropsTimes, &["modification_times_are_kept"]),
    (Fault::DropsModes, &["modes_are_kept"]),
    (Fault::LinksAsFiles, &["links_are_kept"]),
    (
        Fault::MakesFoldersTwice,
        &["make_folder_refuses_what_is_there", "one_folder_maker_wins"],
    ),
    (Fault::FoldsCaseInSecret, &["case_counts_as_declared"]),
    (
        Fault::Deaf,
        &[
            "a_listing_stops_when_told",
            "hash_stops_when_told",
            "a_cancelled_session_changes_nothing",
        ],
    ),
    (Fault::StatsReserved, &["the_reserved_name_is_refused"]),
    (
        Fault::ListsReserved,
        &[
            "an_empty_storage_lists_nothing",
            "the_reserved_name_is_not_listed",
        ],
    ),
    (
        Fault::IgnoresFilter,
        &[
            "what_is_excluded_keeps_its_place",
            "a_scope_below_an_excluded_folder_is_no_absence",
        ],
    ),
    (
        Fault::ReadsTorn,
        &["a_version_that_changes_while_it_is_read_is_busy"],
    ),
    (Fault::WritesInSecret, &["what_is_not_writable_is_refused"]),
    (Fault::ReplacesFolders, &["a_file_never_replaces_a_folder"]),
    (
        Fault::CreatesInstead,
        &["replace_of_nothing_creates_nothing"],
    ),
    (Fault::MarksByContent, &["the_root_marker_stays"]),
    (Fault::RemovesNothing, &["remove_of_nothing_is_not_found"]),
    (
        Fault::MakesParents,
        &["a_missing_folder_is_no_parent", "rename_needs_its_folder"],
    ),
    (
        Fault::RemovesForGood,
        &[
            "removed_versions_are_in_the_trash",
            "remove_against_an_editor_loses_nothing",
        ],
    ),
];

/// Whether the suite's function `name` stops a backend with this fault.
async fn notices(fault: Fault, name: &'static str) -> bool {
    let broken = Broken::new(fault);
    let run = tokio::spawn(async move { (promise(name).run)(&broken).await });
    let limit = std::time::Duration::from_secs(300);
    let ended = tokio::time::timeout(limit, run).await;
    let ended = ended.unwrap_or_else(|_| panic!("{name} never ends with {fault:?}"));
    ended.is_err_and(|error| error.is_panic())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_fault_is_noticed() {
    let mut missed = Vec::new();
    for (fault, promises) in TABLE {
        for name in *promises {
            if !notices(*fault, name).await {
                missed.push((*fault, *name));
            }
        }
    }
    assert!(missed.is_empty(), "not noticed: {missed:#?}");
}

/// The faults are noticed, not the wrapper.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_a_fault_nothing_is_noticed() {
    for promise in PROMISES {
        (promise.run)(&Broken::new(Fault::Nothing)).await;
    }
}

#[test]
fn every_promise_is_broken_by_a_fault() {
    let broken: Vec<_> = TABLE.iter().flat_map(|(_, names)| *names).collect();
    let names = PROMISES.iter().map(|promise| promise.name);
    let unbroken: Vec<_> = names.filter(|name| !broken.contains(&name)).collect();
    assert_eq!(unbroken, [""; 0], "no fault of the table breaks these");
}
