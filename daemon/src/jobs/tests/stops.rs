//! Jobs are stopped, paused and ended at every point, within a second, and begin again at once.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use wl_control::State;
use wl_core::model::SyncPath;
use wl_core::sync::Keep;

use super::World;
use super::storage::{Harm, Hold};

const A_SECOND: Duration = Duration::from_secs(1);

/// Stops the job, and starts it again at once: nothing of the first holds up the second.
async fn stops_and_starts(mut world: World, when: &str) {
    let began = Instant::now();
    world.jobs.stop("j").await.unwrap();
    assert!(began.elapsed() <= A_SECOND, "{when}: {:?}", began.elapsed());
    assert_eq!(world.jobs.job_state("j").await.unwrap(), Value::Null);
    let again = world.jobs.stop("j").await.unwrap_err();
    assert_eq!(again.class, "unknown-job", "{when}");
    for place in [&world.source, &world.target] {
        place.hold(Hold::Nowhere);
        place.harm(None);
        place.memory.set_available(true);
    }
    world.events = world.hub.listen();
    world.source.memory.write_file("new", "2").unwrap();
    world.start("j").await;
    let passed = world.comes_to("j", State::Synced).await;
    let trouble = |(state, _): &(State, String)| [State::Paused, State::Error].contains(state);
    assert!(!passed.iter().any(trouble), "{when}: {passed:?}");
    assert!(world.target.memory.read_file("new").is_some(), "{when}");
}

#[tokio::test(start_paused = true)]
async fn a_job_is_stopped_wherever_it_is() {
    for hold in [Hold::Connect, Hold::List, Hold::Begin] {
        let world = World::new();
        world.target.hold(hold);
        world.start("j").await;
        world.target.is_held().await;
        stops_and_starts(world, &format!("{hold:?}")).await;
    }
    stops_and_starts(World::synced().await, "between looks").await;

    let mut world = World::synced().await;
    world.target.memory.set_available(false);
    world.comes_to("j", State::Paused).await;
    stops_and_starts(world, "waiting for a storage").await;

    let mut world = World::synced().await;
    world
        .target
        .harm(Some(Harm::Fails(wl_core::testing::Operation::Begin)));
    world.comes_to("j", State::Error).await;
    stops_and_starts(world, "waiting after a failure").await;

    let world = World::synced().await;
    world.jobs.pause("j").await.unwrap();
    stops_and_starts(world, "paused").await;
}

/// A server that accepts and never answers.
#[tokio::test(start_paused = true)]
async fn a_job_is_not_in_sync_for_ever_while_a_storage_is_silent() {
    let mut world = World::synced().await;
    let began = Instant::now();
    for hold in [Hold::All, Hold::List] {
        world.target.hold(hold);
        let (state, text) = world.next_state("j").await;
        assert_eq!(state, State::Running);
        let why = match hold {
            Hold::All => "has not answered for 40 s",
            _ => "the look has not got on for 30 s, though both storages answer",
        };
        assert!(text.ends_with(why), "{text}");
        assert!(began.elapsed() < 150 * A_SECOND, "{:?}", began.elapsed());
        // It is told how long that goes on, and the look is not given up.
        assert_eq!(world.next_state("j").await.0, State::Running);
        world.target.hold(Hold::Nowhere);
        world.comes_to("j", State::Synced).await;
    }
}

/// Each question may hold a thread, and all jobs share those.
#[tokio::test(start_paused = true)]
async fn a_silent_storage_is_asked_nothing_more_until_it_has_answered() {
    let mut world = World::synced().await;
    world.target.hold(Hold::All);
    for _ in 0..5 {
        let (_, text) = world.next_state("j").await;
        assert!(text.contains("has not answered for"), "{text}");
        // The look, and the question.
        assert_eq!(world.target.held_up(), 2, "{text}");
    }
    world.target.hold(Hold::Nowhere);
    world.comes_to("j", State::Synced).await;
    // It is asked anew, once it has answered.
    world.target.hold(Hold::All);
    let (_, text) = world.next_state("j").await;
    assert!(text.ends_with("has not answered for 40 s"), "{text}");
    assert_eq!(world.target.held_up(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_one_shot_is_stopped_too() {
    for hold in [Hold::Connect, Hold::List, Hold::Begin] {
        let world = World::new();
        world.source.hold(hold);
        let mut request = world.request("j");
        request.continuous = false;
        world.jobs.start(request).await.unwrap();
        if hold == Hold::Begin {
            // The source of two ways is written to as well.
            world.source.is_held().await;
        }
        world.source.is_held().await;
        stops_and_starts(world, &format!("one-shot, {hold:?}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_resolve_is_told_when_the_job_is_stopped() {
    let mut world = World::synced().await;
    conflict(&mut world).await;
    world.target.hold(Hold::List);
    let jobs = world.jobs.clone();
    let first = tokio::spawn(async move { jobs.resolve("j", paths(), Keep::Source).await });
    world.target.is_held().await;
    let jobs = world.jobs.clone();
    let second = tokio::spawn(async move { jobs.resolve("j", paths(), Keep::Source).await });
    tokio::task::yield_now().await;
    stops_and_starts_in_conflict(world).await;
    for waiting in [first, second] {
        assert!(waiting.await.unwrap().is_err());
    }
}

async fn stops_and_starts_in_conflict(world: World) {
    let began = Instant::now();
    world.jobs.stop("j").await.unwrap();
    assert!(began.elapsed() <= A_SECOND);
    world.target.hold(Hold::Nowhere);
    world.start("j").await;
    // Nobody ended the conflict.
    while world.status("j").await.conflict_count != 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(super) fn paths() -> Vec<SyncPath> {
    vec![SyncPath::new("a").unwrap()]
}

/// Both sides change the same file.
pub(super) async fn conflict(world: &mut World) {
    let looks = world.status("j").await.done.looks;
    for (place, side) in [(&world.source, "source"), (&world.target, "target")] {
        let content = format!("{side} {looks}");
        place.memory.write_file("a", content).unwrap();
    }
    loop {
        let (state, text) = world.next_state("j").await;
        assert_eq!(state, State::Running);
        if text == "1 conflict left" {
            return;
        }
    }
}

/// A run that gives way to the end of conflicts takes with it what waited: the next one has seen none of that.
#[tokio::test(start_paused = true)]
async fn what_waited_when_conflicts_were_ended_is_not_told_for_ever() {
    let mut world = World::synced().await;
    conflict(&mut world).await;
    let git = |name: &str| format!(".git/{name}");
    world.source.memory.make_folder(".git").unwrap();
    for name in ["HEAD", "index.lock"] {
        world.source.memory.write_file(&git(name), "x").unwrap();
    }
    while world.next_state("j").await.1 != "1 conflict left, 1 changed path waits" {}
    world.source.memory.remove(&git("index.lock")).unwrap();
    let resolved = world.jobs.resolve("j", paths(), Keep::Source).await;
    assert_eq!(resolved.unwrap()["result"], "synced");
    let synced = tokio::time::timeout(60 * A_SECOND, world.comes_to("j", State::Synced)).await;
    synced.expect("it waits for ever");
    assert!(world.target.memory.read_file(&git("HEAD")).is_some());
    assert_eq!(world.status("j").await.pending, None);
}

#[tokio::test(start_paused = true)]
async fn conflicts_are_ended_between_two_looks_and_while_paused() {
    let mut world = World::synced().await;
    conflict(&mut world).await;
    let report = world
        .jobs
        .resolve("j", paths(), Keep::Target)
        .await
        .unwrap();
    assert_eq!(report["result"], "synced", "{report:#}");
    let kept = world.source.memory.read_file("a").unwrap();
    assert!(kept.starts_with(b"target"));
    world.comes_to("j", State::Synced).await;

    conflict(&mut world).await;
    world.jobs.pause("j").await.unwrap();
    let report = world
        .jobs
        .resolve("j", paths(), Keep::Source)
        .await
        .unwrap();
    assert_eq!(report["result"], "synced", "{report:#}");
    assert_eq!(world.status("j").await.state.0, State::Paused);
    world.jobs.resume("j").await.unwrap();
    world.comes_to("j", State::Synced).await;
    let kept = world.target.memory.read_file("a").unwrap();
    assert!(kept.starts_with(b"source"));
}

#[tokio::test(start_paused = true)]
async fn started_and_stopped_in_quick_succession() {
    let mut world = World::new();
    for round in 0..30 {
        world.start("j").await;
        for _ in 0..round % 7 {
            tokio::task::yield_now().await;
        }
        world.jobs.stop("j").await.unwrap();
    }
    world.events = world.hub.listen();
    world.source.memory.write_file("a", "1").unwrap();
    world.start("j").await;
    world.comes_to("j", State::Synced).await;
    // Nothing of the earlier ones goes on.
    let before = world.target.connects();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.target.connects(), before);
}

#[tokio::test(start_paused = true)]
async fn a_rest_outlasts_the_daemon() {
    let mut world = World::synced().await;
    world.jobs.pause("j").await.unwrap();
    world.restart().await;
    world.source.memory.write_file("b", "2").unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.status("j").await.state.0, State::Paused);
    assert!(world.target.memory.read_file("b").is_none());
    world.jobs.resume("j").await.unwrap();
    world.comes_to("j", State::Synced).await;
    world.restart().await;
    world.comes_to("j", State::Synced).await;
}

/// Whoever asks for something while the daemon ends does not keep it from ending.
#[tokio::test(start_paused = true)]
async fn the_end_waits_for_nobody() {
    let mut world = World::synced().await;
    world.jobs.pause("j").await.unwrap();
    conflictless_second(&mut world).await;
    let began = Instant::now();
    let (jobs, closing) = (world.jobs.clone(), world.jobs.clone());
    let close = tokio::spawn(async move { closing.close().await });
    tokio::task::yield_now().await;
    // It is asked before the held one has come to its end.
    let _ = jobs.resume("j").await;
    let late = tokio::time::timeout(10 * A_SECOND, close).await;
    late.expect("it never ends").unwrap();
    assert!(began.elapsed() <= A_SECOND, "{:?}", began.elapsed());
}

/// Another job, which is held up.
async fn conflictless_second(world: &mut World) {
    let (one, other) = (super::Place::new(), super::Place::new());
    one.hold(Hold::List);
    let request = super::between("k", &one, &other);
    world.jobs.start(request).await.unwrap();
    one.is_held().await;
}

#[tokio::test(start_paused = true)]
async fn a_second_stop_is_an_error_and_stop_all_waits_for_the_first() {
    let world = World::new();
    world.target.hold(Hold::List);
    world.start("j").await;
    world.target.is_held().await;
    let ask = |all: bool| {
        let jobs = world.jobs.clone();
        tokio::spawn(async move {
            match all {
                true => jobs.stop_all().await,
                false => jobs.stop("j").await,
            }
        })
    };
    let first = ask(false);
    tokio::task::yield_now().await;
    let began = Instant::now();
    let refusal = world.jobs.stop("j").await.unwrap_err();
    assert_eq!(refusal.class, "unknown-job");
    assert!(refusal.desc.contains("already"), "{}", refusal.desc);
    assert!(world.jobs.pause("j").await.is_err());
    assert!(
        world
            .jobs
            .resolve("j", paths(), Keep::Source)
            .await
            .is_err()
    );
    assert_eq!(began.elapsed(), Duration::ZERO);
    ask(true).await.unwrap().unwrap();
    assert!(first.is_finished(), "stop-all was faster than the end");
    assert!(world.jobs.job_state("j").await.unwrap().is_null());
}

/// It is acknowledged when nothing is being done any more: what was asked before is done first.
#[tokio::test(start_paused = true)]
async fn a_pause_waits_for_the_conflicts_that_were_to_be_ended_before() {
    let mut world = World::synced().await;
    conflict(&mut world).await;
    world.target.hold(Hold::List);
    world.target.is_held().await;
    let jobs = world.jobs.clone();
    let resolve = tokio::spawn(async move { jobs.resolve("j", paths(), Keep::Source).await });
    tokio::task::yield_now().await;
    let jobs = world.jobs.clone();
    let pause = tokio::spawn(async move { jobs.pause("j").await });
    // The look gives way to the end of the conflicts, which is held up too.
    tokio::time::sleep(5 * A_SECOND).await;
    assert!(!pause.is_finished(), "it is not at rest");
    world.target.hold(Hold::Nowhere);
    let report = resolve.await.unwrap().unwrap();
    assert_eq!(report["result"], "synced", "{report:#}");
    pause.await.unwrap().unwrap();
    assert_eq!(world.status("j").await.state.0, State::Paused);
    let before = world.target.connects();
    tokio::time::sleep(600 * A_SECOND).await;
    assert_eq!(world.target.connects(), before);
    world.jobs.resume("j").await.unwrap();
    world.comes_to("j", State::Synced).await;
}

/// A pause breaks off what is being done, and says so to whoever asked for it.
#[tokio::test(start_paused = true)]
async fn a_pause_breaks_off_the_end_of_conflicts() {
    let mut world = World::synced().await;
    conflict(&mut world).await;
    world.target.hold(Hold::List);
    let jobs = world.jobs.clone();
    let resolve = tokio::spawn(async move { jobs.resolve("j", paths(), Keep::Source).await });
    world.target.is_held().await;
    while world.status("j").await.progress.is_none() {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(A_SECOND).await;
    let began = Instant::now();
    world.jobs.pause("j").await.unwrap();
    assert!(began.elapsed() <= A_SECOND, "{:?}", began.elapsed());
    let refusal = resolve.await.unwrap().unwrap_err();
    assert!(refusal.desc.contains("ask again"), "{}", refusal.desc);
    assert_eq!(world.status("j").await.state.0, State::Paused);
    world.target.hold(Hold::Nowhere);
    // It can be asked for again while it rests.
    let report = world.jobs.resolve("j", paths(), Keep::Source).await;
    assert_eq!(report.unwrap()["result"], "synced");
    assert_eq!(world.status("j").await.state.0, State::Paused);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_pause_is_answered_when_it_is_taken_back() {
    let world = World::synced().await;
    world.target.hold(Hold::List);
    world.target.is_held().await;
    let jobs = world.jobs.clone();
    let pause = tokio::spawn(async move { jobs.pause("j").await });
    tokio::task::yield_now().await;
    world.jobs.resume("j").await.unwrap();
    let answered = tokio::time::timeout(5 * A_SECOND, pause).await;
    answered.expect("it waits for ever").unwrap().unwrap();
}
