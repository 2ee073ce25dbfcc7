//! Deliberate faults in wl's own code ([`wl_core::planted`]), each of which the simulator has to find; `docs/simulator.md` lists them.
//!
//! Each is played with a seed that is known to show it: with the fault the judge must object, without it nothing may be wrong. A change of
//! the generator or of wl makes other histories of the same seeds: `soak_planted` searches anew from seed 1, and prints the lines below.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use wl_core::planted::{Bug, Planted};
use wl_simulator::{generate, play};

/// A fault that is not found in this time is not found.
const LONGEST: Duration = Duration::from_secs(60);

/// What the judge says of the history of this seed with a fault or without, and which faults the code came by.
fn judged(seed: u64, bug: Option<Bug>) -> (Option<String>, Planted) {
    let planted = Planted::of(bug);
    let failure = play(&generate(seed), seed % 7, false).failure;
    (failure, planted)
}

fn is_found(bug: Bug, seed: u64) {
    let says = judged(seed, Some(bug)).0;
    assert!(
        says.is_some(),
        "seed {seed} does not show {bug:?}; look for another with `soak_planted`"
    );
    assert_eq!(
        judged(seed, None).0,
        None,
        "seed {seed} fails without {bug:?}"
    );
}

macro_rules! planted {
    ($($name:ident: $bug:ident, $seed:literal;)*) => {
        const ALL: &[(&str, Bug)] = &[$((stringify!($name), Bug::$bug)),*];
        $(
            #[test]
            fn $name() {
                is_found(Bug::$bug, $seed);
            }
        )*
    };
}

planted! {
    a_conflict_taken_for_an_update: ConflictIsUpdate, 3;
    an_old_version_that_wins: OldVersionWins, 1;
    permission_bits_that_decide_contents: BitsDecideContents, 219;
    a_resolve_that_keeps_the_other_side: ResolveKeepsOther, 43;
    conflicts_that_are_told_as_in_sync: ConflictsAreSynced, 1;
    a_removal_that_beats_an_edit: RemovalBeatsEdit, 12;
    equal_sizes_taken_for_equal_content: SizeIsContent, 1;
    a_young_token_that_is_believed: YoungTokenIsBelieved, 32;
    a_one_way_run_that_writes_back: OneWayWritesBack, 45;
    a_second_edit_taken_for_drift: SecondEditIsDrift, 1;
    a_change_of_type_that_forgets_edits: RetypeForgetsEdits, 46;
    an_edit_taken_for_an_echo: EditIsEcho, 1;
    an_echo_taken_for_an_edit: EchoIsEdit, 1;
    a_broken_listing_taken_for_a_whole_one: BrokenListingIsWhole, 11;
    a_dropped_row_of_a_page: LastRowIsDropped, 1;
    an_absence_that_is_not_proven: AbsenceIsNotProven, 6;
    a_replace_that_expects_nothing: ReplaceIsBlind, 8;
    a_read_that_is_not_checked: ReadIsNotChecked, 365;
    a_move_that_forgets_the_removal: MoveForgetsRemoval, 34;
    replies_that_are_mixed_up: RepliesAreMixedUp, 1;
    a_row_recorded_before_its_file_is_published: RecordedBeforePublished, 1;
    a_failed_write_taken_for_done: FailedWriteIsDone, 12;
    a_failed_removal_taken_for_done: FailedRemovalIsDone, 65;
    a_problem_that_is_not_told: ProblemIsNotTold, 11;
    a_conflict_that_is_not_told: ConflictIsNotTold, 1;
    a_cancelled_run_taken_for_done: CancelIsDone, 148;
    an_agreement_that_is_not_recorded: AgreementIsNotRecorded, 6;
    a_folder_that_goes_with_a_survivor: FolderGoesWithSurvivor, 160;
    a_trash_that_is_skipped: TrashIsSkipped, 7;
    a_late_write_that_is_missed: LateWriteIsMissed, 25;
    an_event_that_is_dropped: EventIsDropped, 42;
    the_unknown_taken_for_absent: UnknownIsAbsent, 65;
    a_removal_without_another_look: RemovalIsBlind, 27;
    a_rename_over_a_newer_file: RenameOverwrites, 14;
    a_failed_move_that_forgets_the_removal: FailedMoveForgetsRemoval, 34;
    a_row_that_goes_before_its_file: RowGoesEarly, 19;
    a_move_that_is_not_announced: MoveIsNotAnnounced, 103;
    a_move_that_is_not_recovered: MoveIsNotRecovered, 103;
    a_gap_that_is_ignored: GapIsIgnored, 21;
    a_rest_that_is_forgotten: RestIsForgotten, 241;
    a_root_marker_that_is_ignored: RootMarkerIsIgnored, 4;
    a_note_that_is_believed: NoteIsBelieved, 53;
    a_note_that_is_forgotten: NoteIsForgotten, 51;
    a_hash_believed_for_another_version: LearntIsBelieved, 34;
    a_drift_that_is_not_told: DriftIsNotTold, 1;
    a_claim_that_is_not_told: ClaimIsNotTold, 25;
    a_claim_that_expires: ClaimExpires, 25;
    a_mode_that_is_dropped: ModeIsDropped, 208;
    a_link_that_is_not_compared: LinkIsNotCompared, 40;
    an_open_conflict_that_is_forgotten: OpenConflictIsForgotten, 14;
    an_open_problem_that_is_forgotten: OpenProblemIsForgotten, 267;
    a_removal_of_an_earlier_pass: PendingIsKept, 26;
    a_dry_run_that_writes: DryRunWrites, 3;
    rules_that_are_not_read_again: RulesAreNotReadAgain, 31;
    a_group_that_appears_in_any_order: GroupInAnyOrder, 32;
    unrest_that_is_not_told: UnrestIsNotTold, 533;
    a_wait_that_is_not_told: PendingIsNotTold, 114;
    what_is_left_out_taken_for_absent: LeftOutIsAbsent, 501;
    a_group_without_what_is_large: GroupWithoutWhatIsLarge, 18;
}

/// Searches from seed 1 (`WL_PLANTED_FROM`) for each fault, or for those with a part of `WL_PLANTED` (`A,B`) in their names.
#[test]
#[ignore = "searches for minutes: cargo xtask soak --minutes N"]
fn soak_planted() {
    let wanted = std::env::var("WL_PLANTED").unwrap_or_default();
    let seconds = std::env::var("WL_PLANTED_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok());
    let longest = seconds.map_or(LONGEST, Duration::from_secs);
    let is_wanted = |bug: Bug| {
        wanted
            .split(',')
            .any(|part| format!("{bug:?}").contains(part))
    };
    let mut open: Vec<_> = ALL.iter().filter(|(_, bug)| is_wanted(*bug)).collect();
    // A history is only played with the faults that it comes by without them: what all share is counted for each.
    let mut lost = Vec::new();
    let (mut shared, mut met) = (Duration::ZERO, HashMap::<Bug, (u32, Duration)>::new());
    let from = std::env::var("WL_PLANTED_FROM").ok();
    let from = from.and_then(|text| text.parse().ok()).unwrap_or(1);
    for seed in from.. {
        let began = Instant::now();
        let (clean, way) = judged(seed, None);
        let way: Vec<bool> = open.iter().map(|(_, bug)| way.met(*bug)).collect();
        shared += began.elapsed();
        if let Some(says) = clean {
            println!("    seed {seed} fails without any fault, and shows none: {says}");
            continue;
        }
        let mut way = way.into_iter();
        open.retain(|(name, bug)| {
            let (times, spent) = met.entry(*bug).or_default();
            if way.next() == Some(true) {
                let began = Instant::now();
                let (says, _) = judged(seed, Some(*bug));
                *times += 1;
                *spent += began.elapsed();
                if let Some(says) = says {
                    let took = (shared + *spent).as_secs_f64();
                    println!("    {name}: {bug:?}, {seed}; // {took:.1} s, the {times}. to come by it: {says}");
                    return false;
                }
            }
            shared + *spent < longest || {
                println!("    {name}: {bug:?}, NOT FOUND in {seed} histories, of which {times} came by it");
                lost.push(*bug);
                false
            }
        });
        if open.is_empty() {
            break;
        }
    }
    assert!(lost.is_empty(), "not found: {lost:?}");
}
