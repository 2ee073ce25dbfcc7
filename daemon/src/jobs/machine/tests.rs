use super::*;

const NOW: Duration = Duration::ZERO;

fn machine() -> Machine {
    Machine::new(true, false)
}

fn left(conflicts: u64, problems: u64) -> Left {
    Left {
        conflicts,
        problems,
        drift: 0,
    }
}

fn paths(paths: u64) -> Input {
    Input::Pending(Waits {
        paths,
        anywhere: false,
    })
}

fn failed(class: SyncErrorClass) -> Input {
    Input::Ended(Ending::Failed(class, "why".to_owned()))
}

fn after(inputs: &[Input]) -> (Machine, Action) {
    let (mut machine, mut action) = (machine(), Action::Nothing);
    for input in inputs {
        action = machine.on(input.clone(), NOW, 0.5);
    }
    (machine, action)
}

#[test]
fn synced_is_said_only_after_a_look_that_left_nothing() {
    let clean = Input::Looked(Left::default());
    for (inputs, state) in [
        (vec![], State::Running),
        (vec![Input::Looking], State::Running),
        (vec![Input::Looking, clean.clone()], State::Synced),
        (vec![clean.clone(), Input::Looking], State::Synced),
        (
            vec![clean.clone(), Input::Looking, Input::FoundWork],
            State::Running,
        ),
        (
            vec![clean.clone(), Input::Looked(left(1, 0))],
            State::Running,
        ),
        (
            vec![clean.clone(), Input::Looked(left(0, 1))],
            State::Running,
        ),
        (
            vec![Input::Looked(left(2, 1)), Input::Looking],
            State::Running,
        ),
        (
            vec![Input::Looked(left(2, 1)), clean.clone()],
            State::Synced,
        ),
        (
            vec![clean.clone(), failed(SyncErrorClass::Storage)],
            State::Error,
        ),
        (
            vec![clean.clone(), failed(SyncErrorClass::RootEmptied)],
            State::Paused,
        ),
        (vec![clean.clone(), Input::PauseAsked], State::Paused),
        // Late news of a run that was told to stop.
        (vec![Input::PauseAsked, clean.clone()], State::Paused),
        (vec![Input::PauseAsked, Input::FoundWork], State::Paused),
        (
            vec![clean, Input::PauseAsked, Input::ResumeAsked],
            State::Running,
        ),
    ] {
        assert_eq!(after(&inputs).0.state().0, state, "{inputs:?}");
    }
}

/// Nobody looks from the moment a run gives way to the end of conflicts until the next one has looked.
#[test]
fn a_job_that_ends_conflicts_is_in_sync_only_after_its_next_look() {
    let clean = || Input::Looked(Left::default());
    let gave_way = [clean(), Input::GivesWay];
    let on_top = |more: &[Input]| after(&[&gave_way[..], more].concat()).0;
    let ending = (State::Running, "ending conflicts");
    // Late news of the run that gave way, and that it ended.
    for late in [
        vec![],
        vec![clean()],
        vec![Input::Looking, Input::FoundWork],
        vec![paths(1), Input::Silent(None)],
        vec![clean(), Input::GivesWay],
    ] {
        assert_eq!(on_top(&late).state(), ending, "{late:?}");
    }
    let on = Input::GoesOn;
    for (more, state) in [
        (vec![on.clone()], (State::Running, "starting")),
        (
            vec![on.clone(), Input::Looking],
            (State::Running, "comparing"),
        ),
        (
            vec![on.clone(), Input::Looking, clean()],
            (State::Synced, "synced"),
        ),
        // What waited in the run that gave way is told by no other.
        (
            vec![paths(1), on.clone(), clean()],
            (State::Synced, "synced"),
        ),
        (
            vec![Input::PauseAsked],
            (State::Paused, "paused by request"),
        ),
        (
            vec![Input::PauseAsked, Input::ResumeAsked, clean()],
            (State::Running, "starting"),
        ),
        (
            vec![
                Input::PauseAsked,
                Input::ResumeAsked,
                Input::Ended(Ending::Stopped),
                clean(),
            ],
            (State::Synced, "synced"),
        ),
        (vec![failed(SyncErrorClass::Storage)], (State::Error, "why")),
        (
            vec![failed(SyncErrorClass::Storage), Input::Due, clean()],
            (State::Synced, "synced"),
        ),
    ] {
        assert_eq!(on_top(&more).state(), state, "{more:?}");
    }
}

/// Only what was running and known gives way to anything.
#[test]
fn what_stopped_a_job_is_told_while_conflicts_are_ended() {
    let clean = || Input::Looked(Left::default());
    for (inputs, state) in [
        (
            vec![Input::PauseAsked, Input::GivesWay],
            (State::Paused, "paused by request"),
        ),
        (
            vec![failed(SyncErrorClass::Storage), Input::GivesWay],
            (State::Error, "why"),
        ),
        (
            vec![
                failed(SyncErrorClass::RootEmptied),
                Input::Due,
                Input::GivesWay,
                clean(),
                Input::GoesOn,
                Input::Looking,
            ],
            (State::Paused, "why"),
        ),
    ] {
        assert_eq!(after(&inputs).0.state(), state, "{inputs:?}");
    }
}

#[test]
fn what_is_left_is_told() {
    let text = |conflicts, problems| {
        let (machine, _) = after(&[Input::Looked(left(conflicts, problems))]);
        machine.state().1.to_owned()
    };
    assert_eq!(text(0, 0), "synced");
    let drift = Left {
        drift: 2,
        ..Left::default()
    };
    let (machine, _) = after(&[Input::Looked(drift)]);
    assert_eq!(machine.state().0, State::Synced);
    assert!(
        machine.state().1.contains("2 paths"),
        "{:?}",
        machine.state()
    );
    assert_eq!(text(1, 0), "1 conflict left");
    assert_eq!(text(2, 3), "3 problems and 2 conflicts left");
    // No look says that over and over again.
    let again = [Input::Looked(left(1, 0)), Input::Looking, Input::FoundWork];
    assert_eq!(after(&again).0.state().1, "1 conflict left");
}

/// A conflict must not hide it: a job that has one is RUNNING anyway.
#[test]
fn what_waits_for_its_time_is_told_whatever_else_is_left() {
    let text = |inputs: &[Input]| {
        let (machine, _) = after(inputs);
        let (state, text) = machine.state();
        (state, text.to_owned())
    };
    let running = |text: &str| (State::Running, text.to_owned());
    let clean = Input::Looked(Left::default());
    let conflict = Input::Looked(left(1, 0));
    let one = paths(1);
    let waits = running("1 changed path waits");
    assert_eq!(text(&[clean.clone(), one.clone()]), waits);
    assert_eq!(text(&[one.clone(), clean.clone()]), waits);
    let again = [clean.clone(), one.clone(), Input::Looking, clean.clone()];
    assert_eq!(text(&again), waits, "another look does not end it");
    let both = running("1 conflict left, 2 changed paths wait");
    assert_eq!(text(&[conflict.clone(), paths(2)]), both);
    assert_eq!(text(&[paths(2), conflict.clone()]), both);
    // Nor does its end by itself: what came of it is not told yet.
    let none = paths(0);
    let over = [clean.clone(), one.clone(), none.clone()];
    assert_eq!(text(&over).0, State::Running);
    let over = [clean.clone(), one.clone(), none.clone(), clean.clone()];
    assert_eq!(text(&over).0, State::Synced);
    let over = [conflict, one.clone(), none.clone()];
    assert_eq!(text(&over), running("1 conflict left"));
    // It says nothing of a job that is not followed.
    let paused = [clean.clone(), Input::PauseAsked, one.clone()];
    assert_eq!(text(&paused).0, State::Paused);
    let failed = [one, failed(SyncErrorClass::RootEmptied), clean.clone()];
    assert_eq!(text(&failed).0, State::Synced, "that run is over");
    assert_eq!(text(&[clean.clone(), none.clone()]).0, State::Synced);
    let anywhere = Input::Pending(Waits {
        paths: 0,
        anywhere: true,
    });
    let lost = running("anything may have changed");
    assert_eq!(text(&[anywhere.clone(), clean.clone()]), lost);
    assert_eq!(text(&[clean.clone(), anywhere.clone()]), lost);
    let over = text(&[clean.clone(), anywhere, none, clean]);
    assert_eq!(over.0, State::Synced);
}

#[test]
fn a_look_that_does_not_get_on_ends_what_was_known() {
    let clean = Input::Looked(Left::default());
    let silent = || Input::Silent(Some("b has not answered for 40 s".to_owned()));
    let (machine, _) = after(&[clean.clone(), silent()]);
    assert_eq!(
        machine.state(),
        (State::Running, "b has not answered for 40 s")
    );
    let (machine, _) = after(&[clean.clone(), silent(), Input::Silent(None)]);
    assert_eq!(machine.state(), (State::Running, "comparing"));
    let (machine, _) = after(&[Input::Looked(left(1, 0)), silent(), Input::Silent(None)]);
    assert_eq!(machine.state(), (State::Running, "1 conflict left"));
    let (machine, _) = after(&[silent(), Input::Silent(None), clean.clone()]);
    assert_eq!(machine.state().0, State::Synced);
    let (machine, _) = after(&[clean, Input::PauseAsked, silent()]);
    assert_eq!(machine.state().0, State::Paused);
}

#[test]
fn an_absent_storage_pauses_the_job_and_its_return_ends_that() {
    for class in [
        SyncErrorClass::RootUnavailable,
        SyncErrorClass::RootChanged,
        SyncErrorClass::RootEmptied,
        SyncErrorClass::Locked,
    ] {
        let (mut machine, action) = after(&[failed(class)]);
        assert_eq!(machine.state(), (State::Paused, "why"));
        assert!(matches!(action, Action::LaunchAfter(_)));
        assert_eq!(machine.on(Input::Due, NOW, 0.5), Action::Launch);
        assert_eq!(machine.on(Input::Looking, NOW, 0.5), Action::Nothing);
        assert_eq!(
            machine.state(),
            (State::Paused, "why"),
            "not known to be back"
        );
        machine.on(Input::Looked(Left::default()), NOW, 0.5);
        assert_eq!(machine.state().0, State::Synced);
        assert_eq!(machine.failures(), 0);
    }
}

#[test]
fn delays_grow_to_a_limit_and_are_spread() {
    for (class, longest) in [
        (SyncErrorClass::Storage, LONGEST_DELAY),
        (SyncErrorClass::RootUnavailable, LONGEST_ABSENCE),
    ] {
        let delays = |dice: f64| {
            let mut machine = machine();
            let each = (0..40).map(|_| match machine.on(failed(class), NOW, dice) {
                Action::LaunchAfter(delay) => {
                    assert_eq!(machine.on(Input::Due, NOW, dice), Action::Launch);
                    delay
                }
                other => panic!("{other:?}"),
            });
            each.collect::<Vec<_>>()
        };
        let middle = delays(0.5);
        assert_eq!(middle[0], FIRST_DELAY);
        assert_eq!(middle[1], 2 * FIRST_DELAY);
        assert!(middle.is_sorted());
        assert_eq!(middle[39], longest);
        assert!(delays(0.0)[20] < longest && longest < delays(1.0)[20]);
    }
}

#[test]
fn a_job_that_panics_too_often_is_left_alone_until_it_is_resumed() {
    let panic = || Input::Ended(Ending::Panicked("boom".to_owned()));
    let mut machine = machine();
    for count in 1..=MOST_PANICS {
        let action = machine.on(panic(), NOW, 0.5);
        assert!(matches!(action, Action::LaunchAfter(_)), "{count}");
        assert_eq!(machine.on(Input::Due, NOW, 0.5), Action::Launch);
    }
    // Old ones do not count.
    let later = PANIC_WINDOW + Duration::from_secs(1);
    assert!(matches!(
        machine.on(panic(), later, 0.5),
        Action::LaunchAfter(_)
    ));
    for _ in 1..MOST_PANICS {
        machine.on(Input::Due, later, 0.5);
        machine.on(panic(), later, 0.5);
    }
    machine.on(Input::Due, later, 0.5);
    assert_eq!(machine.on(panic(), later, 0.5), Action::Nothing);
    assert_eq!(machine.state().0, State::Error);
    assert!(machine.state().1.contains("boom"));
    assert_eq!(machine.panics() as usize, 2 * MOST_PANICS + 1);
    assert_eq!(machine.on(Input::ResumeAsked, later, 0.5), Action::Launch);
    assert_eq!(machine.state().0, State::Running);
    assert!(matches!(
        machine.on(panic(), later, 0.5),
        Action::LaunchAfter(_)
    ));
}

#[test]
fn a_rest_lasts_until_it_is_ended() {
    let mut machine = machine();
    assert_eq!(machine.on(Input::PauseAsked, NOW, 0.5), Action::Halt);
    assert_eq!(
        machine.on(Input::Ended(Ending::Stopped), NOW, 0.5),
        Action::Nothing
    );
    assert_eq!(machine.on(Input::Due, NOW, 0.5), Action::Nothing);
    assert_eq!(machine.on(Input::PauseAsked, NOW, 0.5), Action::Nothing);
    assert_eq!(machine.state().0, State::Paused);
    assert_eq!(machine.on(Input::ResumeAsked, NOW, 0.5), Action::Launch);
    // Resumed before the run that was told to stop has ended.
    assert_eq!(machine.on(Input::PauseAsked, NOW, 0.5), Action::Halt);
    assert_eq!(machine.on(Input::ResumeAsked, NOW, 0.5), Action::Nothing);
    assert_eq!(
        machine.on(Input::Ended(Ending::Stopped), NOW, 0.5),
        Action::Launch
    );
    assert!(machine.is_running());
    // To resume what runs is nothing.
    assert_eq!(machine.on(Input::ResumeAsked, NOW, 0.5), Action::Nothing);
    // A job that was resting when the daemon ended goes on resting.
    let mut machine = Machine::new(true, true);
    assert_eq!(machine.state().0, State::Paused);
    assert_eq!(machine.on(Input::Due, NOW, 0.5), Action::Nothing);
    assert_eq!(machine.on(Input::ResumeAsked, NOW, 0.5), Action::Launch);
}

/// The try that goes on may have begun before the disk was back: what comes of it is no answer.
#[test]
fn a_job_that_is_just_being_tried_again_is_tried_anew_when_it_is_resumed() {
    for class in [SyncErrorClass::RootUnavailable, SyncErrorClass::Storage] {
        let (mut machine, action) = after(&[failed(class), Input::Due, Input::Looking]);
        assert_eq!(action, Action::Nothing);
        assert_eq!(machine.on(Input::ResumeAsked, NOW, 0.5), Action::Halt);
        assert_eq!(machine.state(), (State::Running, "starting"));
        // Whoever asks again changes nothing.
        assert_eq!(machine.on(Input::ResumeAsked, NOW, 0.5), Action::Nothing);
        assert_eq!(machine.on(failed(class), NOW, 0.5), Action::Launch);
        assert_eq!(machine.state(), (State::Running, "starting"));
        // What ends conflicts is not broken off.
        let (mut machine, _) = after(&[failed(class), Input::Due, Input::GivesWay]);
        assert_eq!(machine.on(Input::ResumeAsked, NOW, 0.5), Action::Nothing);
        assert_eq!(machine.state(), (State::Running, "starting"));
    }
}

#[test]
fn a_one_shot_ends_once() {
    for (ending, state) in [
        (Ending::Done(left(0, 0)), State::Synced),
        (Ending::Done(left(2, 0)), State::Stopped),
        (Ending::Done(left(2, 1)), State::Error),
        (Ending::Stopped, State::Stopped),
        (
            Ending::Failed(SyncErrorClass::RootUnavailable, String::new()),
            State::Error,
        ),
        (Ending::Panicked(String::new()), State::Error),
    ] {
        let mut machine = Machine::new(false, false);
        machine.on(Input::Looking, NOW, 0.5);
        assert_eq!(machine.state().0, State::OneShot);
        assert_eq!(machine.on(Input::Ended(ending), NOW, 0.5), Action::Nothing);
        assert_eq!(machine.state().0, state);
        assert!(!machine.is_running());
    }
}
