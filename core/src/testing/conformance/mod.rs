//! The contract with storage backends as code.
//!
//! Each promise is a function that tries to break it. A backend's tests implement [`Harness`] and say
//! [`conformance_tests!`](crate::conformance_tests), which makes a test of every promise. The declared
//! [`Capabilities`](crate::storage::Capabilities) choose what is demanded: who does not claim links must refuse them, not drop them.

mod creating;
mod folders;
mod keeping;
mod kit;
mod listing;
mod names;
mod races;
mod reading;
mod removing;
mod renaming;
mod replacing;
mod staging;
mod trash;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::storage::StorageBackend;

pub use creating::*;
pub use folders::*;
pub use keeping::*;
pub use listing::*;
pub use names::*;
pub use races::*;
pub use reading::*;
pub use removing::*;
pub use renaming::*;
pub use replacing::*;
pub use staging::*;
pub use trash::*;

/// One fresh, empty storage and the ways to it. A new harness is made for every promise.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The storage.
    fn backend(&self) -> Arc<dyn StorageBackend>;

    /// Another handle to the same storage, as another process has it.
    fn second(&self) -> Arc<dyn StorageBackend>;

    /// Somebody who changes the storage behind the backend's back.
    fn editor(&self) -> Arc<dyn Editor>;

    /// Whether times before 1970 are kept too. Where a protocol has no such times it must be 1970 that arrives.
    fn keeps_times_before_1970(&self) -> bool {
        true
    }

    /// Waits until every token given so far is settled.
    async fn settle(&self) {}
}

/// Changes a storage behind the backend's back, and looks at it. Paths are as in [`crate::model::SyncPath`]. Panics on trouble.
#[async_trait]
pub trait Editor: Send + Sync {
    /// Writes a file, whatever is there: a new file that takes the old one's place. Missing folders are made.
    async fn write(&self, path: &str, content: &[u8]);

    /// Writes into the file that is there, without a new one; where there is no such thing as [`Editor::write`].
    async fn write_in_place(&self, path: &str, content: &[u8]);

    /// Removes a file, a link, or a folder with all in it.
    async fn remove(&self, path: &str);

    /// Makes a folder and those above it; not an error if it is there, or if the storage keeps no empty folders.
    async fn make_folder(&self, path: &str);

    /// Makes a symbolic link. Only called where links are kept.
    async fn make_link(&self, path: &str, target: &str);

    /// A file's content; `None` if no file is there.
    async fn read(&self, path: &str) -> Option<Vec<u8>>;
}

/// A promise of the contract.
#[derive(Clone, Copy)]
pub struct Promise {
    /// The function's name.
    pub name: &'static str,
    /// Tries to break it; panics if that succeeds.
    pub run: for<'a> fn(&'a dyn Harness) -> BoxFuture<'a, ()>,
}

impl fmt::Debug for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The promise `name`.
pub fn promise(name: &str) -> Promise {
    let found = PROMISES.iter().find(|promise| promise.name == name);
    *found.unwrap_or_else(|| panic!("there is no promise `{name}`"))
}

/// Tries to break every promise, each on a storage of its own.
pub async fn all<H: Harness>(make: impl Fn() -> H) {
    for promise in PROMISES {
        (promise.run)(&make()).await;
    }
}

/// Tries to break every promise, all at once and each on a storage of its own: for storages whose tokens settle by waiting. Panics with
/// the names of those that were broken.
pub async fn all_at_once<H, F>(make: impl Fn() -> F)
where
    H: Harness + 'static,
    F: Future<Output = H> + Send + 'static,
{
    let running = PROMISES.iter().map(|promise| {
        let made = make();
        let task = async move { (promise.run)(&made.await).await };
        (promise.name, tokio::spawn(task))
    });
    let running: Vec<_> = running.collect();
    let mut broken = Vec::new();
    for (name, task) in running {
        if task.await.is_err() {
            broken.push(name);
        }
    }
    assert!(broken.is_empty(), "broken: {broken:?}");
}

/// A test for every promise: `conformance_tests!(EXPRESSION)`, where the expression gives a fresh
/// [`Harness`](crate::testing::conformance::Harness) each time. Best in a module of its own.
#[macro_export]
macro_rules! conformance_tests {
    ($make:expr) => {
        $crate::conformance_tests!(@all tests ($make));
    };
    (@tests ($make:expr) $($name:ident)*) => {$(
        #[::tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $name() {
            let harness = $make;
            $crate::testing::conformance::$name(&harness).await;
        }
    )*};
    (@table () $($name:ident)*) => {
        &[$(Promise { name: stringify!($name), run: |harness| Box::pin($name(harness)) }),*]
    };
    (@all $make:ident $args:tt) => { $crate::conformance_tests! { @$make $args
        an_empty_storage_lists_nothing
        a_listing_is_complete_and_in_order
        a_long_listing_comes_in_batches
        a_scope_lists_only_itself
        an_absent_scope_is_told
        paths_are_looked_at_alone
        a_listing_starts_after_a_row
        what_is_excluded_keeps_its_place
        a_scope_below_an_excluded_folder_is_no_absence
        a_listing_stops_when_told
        the_root_marker_stays
        the_reserved_name_is_not_listed
        the_reserved_name_is_refused
        names_arrive_as_they_are
        case_counts_as_declared
        stat_tells_what_the_listing_tells
        file_token_is_the_token_of_stat
        a_token_changes_with_the_content
        a_token_from_before_it_settled_never_vouches
        hash_is_that_of_the_content
        hash_stops_when_told
        another_version_is_not_read
        a_version_that_changes_while_it_is_read_is_busy
        small_reads_answer_in_order
        an_empty_file_is_a_file
        large_content_streams
        absent_creates
        absent_refuses_what_is_there
        a_missing_folder_is_no_parent
        staged_content_is_invisible
        a_dropped_session_leaves_nothing
        results_are_in_the_order_of_requests
        a_cancelled_session_changes_nothing
        what_is_not_writable_is_refused
        replace_takes_the_version_it_knows
        replace_refuses_another_version
        replace_refuses_without_knowledge
        replace_believes_the_hash_after_a_touch
        replace_of_nothing_creates_nothing
        a_file_never_replaces_a_folder
        remove_takes_the_version_it_knows
        remove_refuses_another_version
        remove_of_nothing_is_not_found
        remove_refuses_a_full_folder
        rename_moves_the_version_it_knows
        rename_refuses_what_is_there
        rename_refuses_another_version
        rename_needs_its_folder
        a_folder_is_renamed_whole
        make_folder_makes_one
        make_folder_refuses_what_is_there
        a_folders_token_stays
        modification_times_are_kept
        modes_are_kept
        set_mode_refuses_another_version
        links_are_kept
        links_are_compared_by_target
        replaced_versions_are_in_the_trash
        removed_versions_are_in_the_trash
        restore_refuses_what_is_there
        the_trash_keeps_until_the_next_run_has_ended
        the_trash_is_emptied_when_that_is_asked
        one_creator_wins
        one_folder_maker_wins
        no_increment_is_lost
        create_against_remove_loses_nothing
        replace_against_an_editor_loses_nothing
        remove_against_an_editor_loses_nothing
        rename_against_replace_has_one_winner
    } };
}

/// Every promise.
pub const PROMISES: &[Promise] = crate::conformance_tests!(@all table ());

#[cfg(test)]
mod tests {
    #[test]
    fn no_promise_is_forgotten() {
        let sources = [
            include_str!("creating.rs"),
            include_str!("folders.rs"),
            include_str!("keeping.rs"),
            include_str!("listing.rs"),
            include_str!("names.rs"),
            include_str!("races.rs"),
            include_str!("reading.rs"),
            include_str!("removing.rs"),
            include_str!("renaming.rs"),
            include_str!("replacing.rs"),
            include_str!("staging.rs"),
            include_str!("trash.rs"),
        ];
        let written = sources.iter().flat_map(|source| {
            let starts = source.split("\npub async fn ").skip(1);
            starts.map(|rest| rest.split('(').next().unwrap())
        });
        let mut written: Vec<_> = written.collect();
        let mut listed: Vec<_> = super::PROMISES.iter().map(|p| p.name).collect();
        written.sort_unstable();
        listed.sort_unstable();
        assert_eq!(written, listed);
    }
}
