//! Deliberate faults in this code, so that tests of the simulator can show that it finds such faults.
//!
//! Without the feature `planted`, which only tests switch on, [`planted`] is `false` for good and nothing of a fault is in the program.
//! With it a fault is there only while a test holds it in place on its own thread.

/// A deliberate fault: what the code then does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    /// Both sides changed a file, and the source's version is taken for the newer one.
    ConflictIsUpdate,
    /// An edit is undone: the side that changed gets what the other side still holds.
    OldVersionWins,
    /// Who chooses permission bits of a folder chooses that side of all that is below it.
    BitsDecideContents,
    /// Who ends a conflict with the version of one side gets that of the other.
    ResolveKeepsOther,
    /// A run that left conflicts says that both sides are equal.
    ConflictsAreSynced,
    /// One side removed what the other edited, and the removal is carried out.
    RemovalBeatsEdit,
    /// Files of one size are taken for equal.
    SizeIsContent,
    /// A token that is too young to prove anything is believed.
    YoungTokenIsBelieved,
    /// A one-way run sends what the target has changed to the source.
    OneWayWritesBack,
    /// A one-way run takes an edit of what it has brought for a difference that it is to leave alone.
    SecondEditIsDrift,
    /// A folder gives way to a file although something in it was edited.
    RetypeForgetsEdits,
    /// That a file is as agreed on is told by its size alone: an edit is taken for an echo of our own write.
    EditIsEcho,
    /// No token is known again: what we wrote ourselves is taken for an edit, and read by every run.
    EchoIsEdit,
    /// A listing that broke off is taken for one that ended.
    BrokenListingIsWhole,
    /// The last row of each page of a listing is dropped.
    LastRowIsDropped,
    /// What is unknown is taken for absent.
    UnknownIsAbsent,
    /// What a listing that may be stale does not show is removed without another look.
    AbsenceIsNotProven,
    /// That a file is there is decided by a listing, and that it is still so is not checked when it is replaced.
    ReplaceIsBlind,
    /// What is removed is not looked at again.
    RemovalIsBlind,
    /// A file is renamed over whatever took the new path meanwhile.
    RenameOverwrites,
    /// What was read is not held against what was listed: it may be another version, or of two.
    ReadIsNotChecked,
    /// The replies to many reads are given to the wrong files.
    RepliesAreMixedUp,
    /// A rename is done as a copy, and what was there stays for good.
    MoveForgetsRemoval,
    /// After a rename that failed the file is copied, and the removal of the old one is forgotten.
    FailedMoveForgetsRemoval,
    /// The baseline records a file before it is published.
    RecordedBeforePublished,
    /// A file that could not be published is recorded as if it had been.
    FailedWriteIsDone,
    /// Something that could not be removed is forgotten as if it were gone.
    FailedRemovalIsDone,
    /// The trouble that a path has is told to nobody.
    ProblemIsNotTold,
    /// A conflict is told to nobody.
    ConflictIsNotTold,
    /// What keeps changing under a run is told to nobody.
    UnrestIsNotTold,
    /// A run that was stopped says that it is done.
    CancelIsDone,
    /// The row of a path is removed from the baseline before the path is.
    RowGoesEarly,
    /// What is equal on both sides is not recorded.
    AgreementIsNotRecorded,
    /// A folder goes although something in it is to stay.
    FolderGoesWithSurvivor,
    /// A displaced version does not go to the trash.
    TrashIsSkipped,
    /// A version in the trash that somebody still writes to is not told from others.
    LateWriteIsMissed,
    /// A version that an exchange brought out, and that nobody had agreed to displace, is not put back but counts as replaced.
    PutBackIsSkipped,
    /// The baseline records a batch before it is durable.
    RecordedBeforeDurable,
    /// That a file was renamed is recorded in two transactions, the removal before the rename is durable.
    RenameIsRecordedInTwo,
    /// That a folder is about to be renamed is not written down.
    MoveIsNotAnnounced,
    /// A rename that a run did not live to record is forgotten.
    MoveIsNotRecovered,
    /// What a watcher says while a continuous job looks is dropped.
    EventIsDropped,
    /// That a watcher lost something, and may have lost anything, is not heard.
    GapIsIgnored,
    /// What failed under a look of a continuous job is not looked at again after a rest.
    RestIsForgotten,
    /// That something waits for its time is told to nobody.
    PendingIsNotTold,
    /// That another root is in the place of the one that the baseline speaks about is not seen.
    RootMarkerIsIgnored,
    /// What a killed run announced is taken for what is there, whatever was written since.
    NoteIsBelieved,
    /// What a killed run announced is not asked for by the next.
    NoteIsForgotten,
    /// What was read of a path counts for every later version of it.
    LearntIsBelieved,
    /// That the target differs and is left alone is told to nobody.
    DriftIsNotTold,
    /// A version that nobody agreed to give up lies in the trash, and nobody is told.
    ClaimIsNotTold,
    /// A version in the trash that nobody agreed to give up expires like any other.
    ClaimExpires,
    /// A change of permission bits goes nowhere.
    ModeIsDropped,
    /// Links are equal, wherever they point.
    LinkIsNotCompared,
    /// A look at some places forgets the conflicts at others.
    OpenConflictIsForgotten,
    /// A look at some places forgets the problems at others.
    OpenProblemIsForgotten,
    /// What an earlier pass held back is carried out by the next one.
    PendingIsKept,
    /// A dry run does what it was to tell.
    DryRunWrites,
    /// What is left out is taken for absent.
    LeftOutIsAbsent,
    /// A group is published without a file of it that is too large.
    GroupWithoutWhatIsLarge,
    /// That rules changed is found out after the removals.
    RulesAreNotReadAgain,
    /// What belongs together becomes visible in any order.
    GroupInAnyOrder,
}

/// Whether the fault is in place.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn planted(_: Bug) -> bool {
    false
}

#[cfg(feature = "planted")]
pub use switch::{Planted, planted};

#[cfg(feature = "planted")]
mod switch {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static IN_PLACE: Cell<Option<Bug>> = const { Cell::new(None) };
        /// The faults that the code came by, a bit each.
        static MET: Cell<u128> = const { Cell::new(0) };
    }

    /// Whether the fault is in place.
    pub fn planted(bug: Bug) -> bool {
        MET.set(MET.get() | 1 << bug as u64);
        IN_PLACE.get() == Some(bug)
    }

    /// While this lives, a fault is in place on this thread.
    #[derive(Debug)]
    pub struct Planted(Option<Bug>);

    impl Planted {
        /// Puts `bug` in place, or none.
        pub fn of(bug: Option<Bug>) -> Self {
            MET.set(0);
            Self(IN_PLACE.replace(bug))
        }

        /// Whether the code came by where the fault is or would be.
        pub fn met(&self, bug: Bug) -> bool {
            MET.get() & (1 << bug as u64) != 0
        }
    }

    impl Drop for Planted {
        fn drop(&mut self) {
            IN_PLACE.set(self.0.take());
        }
    }
}
