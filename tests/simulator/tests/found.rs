//! Histories that the simulator found, as short as it made them: each failed before what it found was mended.
#![allow(missing_docs)]

use wl_core::model::Direction;
use wl_simulator::{Content, Edit, Extras, Fault, Job, Mode, Plan, SitePlan, Step, What, play};

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
