//! Histories that the simulator found, as short as it made them: each failed before what it found was mended.
#![allow(missing_docs)]

use wl_core::model::Direction;
use wl_core::storage::{CasGrade, ErrorKind};
use wl_core::testing::{Operation, When};
use wl_simulator::{
    Aim, Content, Edit, Extras, Fault, Job, Mode, Plan, SitePlan, Step, What, play,
};

fn step(after: u32, what: What) -> Step {
    Step { after, what }
}

fn write(path: &str, number: u32) -> Edit {
    Edit::Write(path.to_owned(), Content { number, size: 0 })
}

/// Two storages, two-way.
fn plan(mode: Mode, sites: [SitePlan; 2], steps: Vec<Step>) -> Plan {
    Plan {
        sites: sites.into(),
        jobs: vec![Job {
            source: 0,
            target: 1,
        }],
        mode,
        direction: Direction::TwoWay,
        dawdles: false,
        steps,
        extras: Extras::default(),
    }
}

/// A storage that keeps no folders by themselves shows nothing at the folders above a place: that one of them is a file by now, and in
/// conflict, was not seen by the look at the place, and what was in the way of it was a problem until the next look at everything.
#[test]
fn what_is_told_below_a_conflict_is_part_of_it_where_folders_are_only_implied() {
    let implied = SitePlan {
        empty_folders: false,
        ..SitePlan::default()
    };
    let steps = vec![
        step(0, What::Edit(1, write("d/y", 1))),
        step(0, What::Run),
        step(0, What::Edit(0, write("d/x", 3))),
        step(0, What::Edit(1, Edit::Remove("d".to_owned()))),
        step(0, What::Edit(1, write("d", 2))),
    ];
    let plan = plan(Mode::Watch, [SitePlan::default(), implied], steps);
    for schedule in 0..20 {
        assert_eq!(play(&plan, schedule, false).failure, None, "{schedule}");
    }
}

/// A listing that broke off was only known as such by what the storage had called its error; under another name nobody looked again before the
/// next look at everything.
#[test]
fn a_listing_that_breaks_off_is_begun_again_soon_whatever_the_storage_calls_it() {
    let steps = vec![
        step(0, What::Edit(0, write("a", 1))),
        step(0, What::Edit(0, write("b", 2))),
        step(0, What::Fault(0, Fault::ListingBreaks(1))),
        step(0, What::Run),
    ];
    let plan = plan(Mode::Watch, Default::default(), steps);
    for schedule in 0..20 {
        assert_eq!(play(&plan, schedule, false).failure, None, "{schedule}");
    }
}

/// The storage is gone between two steps in which a database is published, and by the next run its log is too large: what was done stays, an
/// older state that was committed, and is never mixed with a later one.
#[test]
fn a_database_that_is_left_out_after_a_run_broke_off_in_it_stays_usable() {
    let content = |number, size| Content { number, size };
    let transact = |one, other| What::Edit(0, Edit::Transact(one, Some(other)));
    let aim = Aim {
        site: 1,
        operation: Operation::Rename,
        when: When::Before,
    };
    let steps = vec![
        step(0, What::Strike(aim, vec![What::Edit(1, write("new", 7))])),
        step(0, What::Edit(0, write("b", 6))),
        step(0, What::Run),
        step(0, What::Rest),
        step(
            0,
            What::Edit(0, Edit::Rename("b".to_owned(), "new".to_owned())),
        ),
        step(0, What::Run),
        step(32, transact(content(709, 512), content(708, 0))),
        step(59, What::Edit(0, write("b", 10))),
        step(31, What::Fault(1, Fault::Gone(4))),
        step(9, transact(content(705, 1536), content(704, 2000))),
    ];
    let mut plan = plan(Mode::OneShot, Default::default(), steps);
    (plan.sites[1].claims, plan.sites[1].does) = (CasGrade::Recoverable, CasGrade::Recoverable);
    plan.extras.max_size = Some(1000);
    assert_eq!(play(&plan, 4, false).failure, None);
}

/// Where the other side's folders are only implied, a folder that was named was taken for one that both have: what came or went with it was
/// not looked for before the next look at everything.
#[test]
fn a_folder_that_is_renamed_is_looked_into_where_folders_are_only_implied() {
    let implied = SitePlan {
        empty_folders: false,
        ..SitePlan::default()
    };
    for site in [0, 1] {
        let rename = Edit::Rename("d".to_owned(), "f".to_owned());
        let steps = vec![
            step(0, What::Edit(site, write("d/x", 1))),
            step(0, What::Run),
            step(0, What::Rest),
            step(0, What::Edit(site, rename)),
            step(0, What::Rest),
            step(0, What::Rest),
        ];
        let plan = plan(Mode::Watch, [implied.clone(), SitePlan::default()], steps);
        // Which of the two events comes late is diced by the schedule.
        for schedule in 0..60 {
            assert_eq!(play(&plan, schedule, false).failure, None, "{schedule}");
        }
    }
}

/// A large file was written to in place between two reads, under a token that several versions share: what was recorded was the content of one
/// with the size of the other, and each later run took it for changed and read it again.
#[test]
fn content_of_another_length_than_was_listed_is_another_version() {
    let shares = SitePlan {
        changes_per_token: 3,
        ..SitePlan::default()
    };
    let large = |number| Content {
        number,
        size: 300_000,
    };
    let in_place = |content| What::Edit(0, Edit::WriteInPlace("m".to_owned(), content));
    let small = Content { number: 9, size: 0 };
    for (first, second) in (1..50).flat_map(|first| [(first, 1), (first, 3), (first, 5)]) {
        let steps = vec![
            // So that what is written to `m` shares its token.
            step(0, What::Edit(0, write("a", 5))),
            step(
                0,
                What::Edit(0, Edit::Rename("a".to_owned(), "b".to_owned())),
            ),
            step(0, What::Edit(0, Edit::Write("m".to_owned(), large(7)))),
            step(0, What::Run),
            step(0, What::Run),
            step(first, in_place(large(8))),
            step(second, in_place(small)),
            step(0, What::Run),
            step(
                0,
                What::Edit(1, Edit::Rename("m".to_owned(), "new".to_owned())),
            ),
        ];
        let mut plan = plan(Mode::OneShot, [shares.clone(), SitePlan::default()], steps);
        plan.direction = Direction::OneWay;
        assert_eq!(play(&plan, 2, false).failure, None, "{first} {second}");
    }
}

/// Where the target of a one-way job has a folder in a file's place, the file was read by each run: whether it is still the one that was agreed on
/// was found out and not remembered.
#[test]
fn a_file_in_whose_place_the_target_has_a_folder_is_not_read_again_and_again() {
    let shares = SitePlan {
        changes_per_token: 3,
        ..SitePlan::default()
    };
    for first in 0..3 {
        let mut steps: Vec<_> = (0..first)
            .map(|number| step(0, What::Edit(0, write("a", 20 + number))))
            .collect();
        steps.extend([
            step(0, What::Edit(0, write("b", 10))),
            step(0, What::Edit(1, write("d/y", 11))),
            step(0, What::Run),
            step(0, What::Rest),
            step(
                0,
                What::Edit(1, Edit::Rename("b".to_owned(), "new".to_owned())),
            ),
            step(
                0,
                What::Edit(1, Edit::Rename("d".to_owned(), "b".to_owned())),
            ),
        ]);
        let mut plan = plan(Mode::OneShot, [shares.clone(), SitePlan::default()], steps);
        plan.direction = Direction::OneWay;
        assert_eq!(play(&plan, 3, false).failure, None, "{first}");
    }
}

/// A file became a link, and the process died before that was recorded; then it became a file again. What is about to be published was written
/// down for files only, so that this was told as a conflict.
#[test]
fn a_file_that_became_a_link_and_is_edited_next_is_no_conflict() {
    let aim = Aim {
        site: 1,
        operation: Operation::Replace,
        when: When::After,
    };
    let steps = vec![
        step(0, What::Edit(0, write("d/x", 6))),
        step(0, What::Run),
        step(0, What::Rest),
        step(
            0,
            What::Edit(0, Edit::Link("d/x".to_owned(), "there".to_owned())),
        ),
        step(
            0,
            What::Strike(aim, vec![What::Kill, What::Edit(0, write("d/x", 8))]),
        ),
        step(0, What::Run),
        step(0, What::Run),
    ];
    let plan = plan(Mode::OneShot, Default::default(), steps);
    for schedule in 0..4 {
        assert_eq!(play(&plan, schedule, false).failure, None, "{schedule}");
    }
}

/// Another folder took the name of one that both sides had, on a storage whose folders have no ids: its name was told and not what had come with it,
/// and nobody looked before the next look at everything.
#[test]
fn a_folder_in_the_place_of_another_is_looked_into_where_folders_have_no_ids() {
    let implied = SitePlan {
        empty_folders: false,
        ..SitePlan::default()
    };
    let rename = || Edit::Rename("d".to_owned(), "f".to_owned());
    let steps = vec![
        step(0, What::Edit(1, write("d/x", 2))),
        step(0, What::Edit(1, rename())),
        step(0, What::Run),
        step(0, What::Edit(1, write("d/e/z", 3))),
        step(0, What::Edit(1, Edit::Remove("f".to_owned()))),
        step(0, What::Edit(1, rename())),
        step(0, What::Rest),
    ];
    let mut plan = plan(Mode::Watch, [SitePlan::default(), implied], steps);
    plan.dawdles = true;
    for schedule in 0..60 {
        assert_eq!(play(&plan, schedule, false).failure, None, "{schedule}");
    }
}

/// A look that had long been silent was told to stop: what had been told before it was told once more, as if it had looked.
#[test]
fn a_silent_look_that_is_told_to_stop_says_nothing() {
    let steps = vec![
        step(0, What::Edit(0, write("a", 2))),
        step(0, What::Run),
        step(7, What::Edit(0, write("a", 3))),
        step(8, What::Sleep(3136)),
        step(0, What::Cancel),
    ];
    let mut plan = plan(Mode::Poll, Default::default(), steps);
    plan.dawdles = true;
    for schedule in 0..20 {
        assert_eq!(play(&plan, schedule, false).failure, None, "{schedule}");
    }
}

fn ignore(site: usize, name: &str) -> Step {
    step(0, What::Edit(site, Edit::Ignore(vec![name.to_owned()])))
}

/// The run that brings new rules to the other side still went by the old ones of that side. What they had left out, and is not left out any
/// more, was nowhere in a report that said that all was in sync.
#[test]
fn a_run_that_brings_other_rules_looks_again_by_those() {
    let steps = vec![
        ignore(0, "m"),
        step(0, What::Run),
        step(0, What::Rest),
        step(0, What::Edit(1, write("m", 1))),
        step(0, What::Run),
        step(0, What::Rest),
        ignore(0, "b"),
        step(0, What::Run),
    ];
    let sites = [SitePlan::default(), SitePlan::default()];
    assert_eq!(
        play(&plan(Mode::OneShot, sites, steps), 1, false).failure,
        None
    );
}

/// A link is carried over as the listing tells it. A stale listing told of the link that there had been before, as if somebody had made that
/// anew, and the new one was put back to it on the other side.
#[test]
fn a_link_that_a_stale_listing_shows_is_looked_at() {
    let link = |target: &str| What::Edit(0, Edit::Link("b".to_owned(), target.to_owned()));
    let steps = vec![
        step(0, link("there")),
        step(0, What::Run),
        step(16, What::Fault(0, Fault::Fails(ErrorKind::Temporary))),
        step(
            7,
            What::Edit(0, Edit::Link("d/x".to_owned(), "there".to_owned())),
        ),
        step(0, link("here")),
    ];
    let stale = |modes| SitePlan {
        empty_folders: false,
        stale: true,
        modes,
        ..SitePlan::default()
    };
    let mut plan = plan(Mode::Watch, [stale(true), stale(false)], steps);
    plan.dawdles = true;
    for schedule in 0..20 {
        assert_eq!(play(&plan, schedule, false).failure, None, "{schedule}");
    }
}

/// A log was replaced and the answer was lost, while the source wrote to the database without one. It had been told under a name that passed for
/// a refusal, so that nobody remembered that the log may have come, and the target's log was taken for the target's own.
#[test]
fn a_log_of_which_the_answer_was_lost_is_no_change_of_the_target() {
    let transact = |number, log: Option<u32>| {
        let content = |number, size| Content { number, size };
        let log = log.map(|number| content(number, 0));
        What::Edit(0, Edit::Transact(content(number, 512), log))
    };
    let aim = |when| Aim {
        site: 1,
        operation: Operation::Replace,
        when,
    };
    for kind in [ErrorKind::Busy, ErrorKind::Denied, ErrorKind::Temporary] {
        let lost = What::Fault(1, Fault::ReplyLost(kind));
        let strike = vec![lost, transact(701, None)];
        let at_the_log = What::Strike(aim(When::Before), strike);
        let steps = vec![
            step(0, transact(714, Some(715))),
            step(0, What::Run),
            step(0, What::Rest),
            step(0, What::Strike(aim(When::After), vec![at_the_log])),
            step(0, transact(709, Some(710))),
            step(0, What::Run),
        ];
        let mut plan = plan(Mode::Watch, Default::default(), steps);
        plan.direction = Direction::OneWay;
        for schedule in 0..20 {
            let failure = play(&plan, schedule, false).failure;
            assert_eq!(failure, None, "{kind:?} {schedule}");
        }
    }
}

/// A folder was renamed on the source, while its old name stayed on the target for something in it, and was given its old name again. It was told,
/// and as it was the one that both had agreed on, nobody looked into it before the next look at everything.
#[test]
fn a_folder_that_is_back_where_it_stayed_is_looked_into() {
    let rename = |from: &str, to: &str| What::Edit(0, Edit::Rename(from.into(), to.into()));
    // It stays for drift, and for what is left out.
    let left_out = ignore(0, "b");
    let drift = step(0, What::Edit(0, write("m", 3)));
    for (direction, stays, first) in [
        (Direction::OneWay, "d/e/z", &drift),
        (Direction::OneWay, "d/b", &left_out),
        (Direction::TwoWay, "d/b", &left_out),
    ] {
        let steps = vec![
            first.clone(),
            step(0, What::Run),
            step(0, What::Edit(1, write(stays, 4))),
            step(0, What::Run),
            step(0, What::Edit(0, write("d/x", 6))),
            step(0, What::Rest),
            step(0, rename("d", "f")),
            step(0, What::Run),
            step(74, rename("f", "d")),
        ];
        let mut plan = plan(Mode::Watch, Default::default(), steps);
        plan.direction = direction;
        for schedule in 0..40 {
            let failure = play(&plan, schedule, false).failure;
            assert_eq!(failure, None, "{direction:?} {stays} {schedule}");
        }
    }
}

/// Two jobs share a storage. One of them changed it so that a conflict of the other was over, which was never told of that as the event was lost:
/// the first run after it found it, and the one after that carried on what came of it. The judge took that for a job that does not come to rest.
#[test]
fn what_a_lost_event_hid_is_carried_one_job_further_by_each_run() {
    let commit = |number| What::Edit(0, Edit::Commit(Content { number, size: 0 }));
    let content = |number, size| Content { number, size };
    let transact = Edit::Transact(content(701, 512), Some(content(702, 0)));
    let link = |site| What::Edit(site, Edit::Link("d/y".to_owned(), "there".to_owned()));
    let steps = vec![
        step(0, What::Edit(1, write("a", 1))),
        step(0, What::Edit(0, write("d/x", 1))),
        step(0, commit(704)),
        step(0, What::Run),
        step(0, commit(705)),
        step(0, What::Edit(0, Edit::Remove("d".to_owned()))),
        step(0, What::Edit(1, write("d/x", 2))),
        step(0, link(0)),
        step(0, What::Run),
        step(6, link(2)),
        step(8, What::Edit(2, write("d/x", 3))),
        step(36, What::Edit(2, Edit::Touch("d/x".to_owned()))),
        step(
            5,
            What::Edit(0, Edit::WriteInPlace("d/x".to_owned(), content(4, 0))),
        ),
        step(0, What::Rest),
        step(0, What::Edit(0, transact)),
        step(0, What::Rest),
        step(30, commit(703)),
        step(48, What::Kill),
        // What all had agreed on.
        step(0, What::Edit(1, write("d/x", 2))),
        step(9, What::Kill),
    ];
    let recoverable = SitePlan {
        claims: CasGrade::Recoverable,
        does: CasGrade::Recoverable,
        ..SitePlan::default()
    };
    let implied = SitePlan {
        empty_folders: false,
        ..recoverable.clone()
    };
    let mut plan = plan(Mode::Watch, [recoverable, implied], steps);
    plan.sites.push(SitePlan::default());
    let shares = |target| Job { source: 0, target };
    plan.jobs = vec![shares(1), shares(2)];
    plan.dawdles = true;
    for schedule in 0..20 {
        assert_eq!(play(&plan, schedule, false).failure, None, "{schedule}");
    }
}
