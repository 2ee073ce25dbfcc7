//! Storages that go away, fail or panic, and jobs that go on when they can.

use std::time::Duration;

use tokio::time::Instant;
use wl_control::{EventKind, State};
use wl_core::testing::Operation;

use super::storage::{Harm, Place};
use super::{World, between};

fn states(passed: &[(State, String)]) -> Vec<State> {
    passed.iter().map(|(state, _)| *state).collect()
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_is_gone_pauses_its_job_until_it_is_back() {
    let mut world = World::synced().await;
    world.target.memory.set_available(false);
    let passed = world.comes_to("j", State::Paused).await;
    assert_eq!(passed.len(), 1, "{passed:?}");
    let status = world.status("j").await;
    assert!(!status.state.1.is_empty() && status.next_try.is_some());
    world.source.memory.write_file("b", "2").unwrap();
    world.target.memory.set_available(true);
    world.comes_to("j", State::Synced).await;
    assert!(world.target.memory.read_file("b").is_some());
    let status = world.status("j").await;
    assert_eq!((status.failures, status.next_try), (0, None));
}

/// A look that finds an emptied root ends in the middle: nothing of it says that the sides are equal.
#[tokio::test(start_paused = true)]
async fn an_emptied_root_pauses_its_job_and_is_never_called_synced() {
    let mut world = World::synced().await;
    world.target.memory.remove("a").unwrap();
    let mut delays = Vec::new();
    for round in 1..=6 {
        let passed = match round {
            1 => world.comes_to("j", State::Paused).await,
            _ => Vec::new(),
        };
        assert!(!states(&passed).contains(&State::Synced), "{passed:?}");
        let began = Instant::now();
        let connects = world.target.connects();
        assert_eq!(world.status("j").await.failures, round);
        while world.target.connects() == connects {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        delays.push(began.elapsed());
        // Until that try has ended too.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(
        delays.is_sorted() && delays[5] > 10 * delays[0],
        "{delays:?}"
    );
    // Nothing new is known, and nothing is told.
    while let Ok(told) = world.events.try_recv() {
        assert_eq!(told.event.kind, EventKind::Progress, "{}", told.text);
    }
    assert!(world.source.memory.read_file("a").is_some());
    world.target.memory.write_file("a", "1").unwrap();
    let passed = world.comes_to("j", State::Synced).await;
    assert!(!states(&passed).contains(&State::Error), "{passed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failing_storage_is_tried_again_ever_later() {
    let mut world = World::synced().await;
    world.target.harm(Some(Harm::Fails(Operation::Begin)));
    let passed = world.comes_to("j", State::Error).await;
    assert!(passed[passed.len() - 1].1.contains("broken on purpose"));
    let (mut last, mut delays) = (Instant::now(), Vec::new());
    for _ in 0..6 {
        let connects = world.target.connects();
        while world.target.connects() == connects {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        delays.push(last.elapsed());
        last = Instant::now();
    }
    for pair in delays.windows(2) {
        assert!(pair[1] > pair[0], "{delays:?}");
    }
    assert!(delays[5] > Duration::from_secs(20), "{delays:?}");
    world.target.harm(None);
    world.comes_to("j", State::Synced).await;
    assert_eq!(world.status("j").await.failures, 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_one_job_alone() {
    for harm in [Harm::Panics(Operation::List), Harm::PanicsAtConnect] {
        let mut world = World::synced().await;
        let (one, other) = (Place::new(), Place::new());
        one.harm(Some(harm));
        world
            .jobs
            .start(between("bad", &one, &other))
            .await
            .unwrap();
        let passed = world.comes_to("bad", State::Error).await;
        assert!(passed[passed.len() - 1].1.contains("fault"), "{passed:?}");
        let status = world.status("bad").await;
        assert_eq!(status.panics, 1);
        assert!(status.next_try.is_some());
        // Six times within ten minutes is too often.
        while world.status("bad").await.panics < 6 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let status = world.status("bad").await;
        assert!(status.state.1.contains("left alone"), "{:?}", status.state);
        assert_eq!(status.next_try, None);
        tokio::time::sleep(Duration::from_secs(1000)).await;
        assert_eq!(world.status("bad").await.panics, 6);
        // The other never noticed.
        let good = world.status("j").await;
        assert_eq!(
            (good.state.0, good.panics, good.failures),
            (State::Synced, 0, 0)
        );
        assert!(good.done.looks > 90, "{}", good.done.looks);
        one.harm(None);
        world.events = world.hub.listen();
        world.jobs.resume("bad").await.unwrap();
        world.comes_to("bad", State::Synced).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_that_does_not_come_again_is_gone_by_itself() {
    let mut world = World::synced().await;
    world.source.harm(Some(Harm::Panics(Operation::List)));
    world.comes_to("j", State::Error).await;
    world.source.harm(None);
    world.source.memory.write_file("b", "2").unwrap();
    world.comes_to("j", State::Synced).await;
    assert!(world.target.memory.read_file("b").is_some());
    assert_eq!(world.status("j").await.panics, 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_cannot_be_recorded_is_refused_and_does_nothing() {
    let world = World::new();
    let record = world.dir.path().join("base/state/jobs.json");
    std::fs::create_dir_all(record.join("in the way")).unwrap();
    let refusal = world.jobs.start(world.request("j")).await.unwrap_err();
    assert_eq!(refusal.class, "failed");
    assert!(refusal.desc.contains("jobs.json"), "{}", refusal.desc);
    assert!(world.jobs.job_state("j").await.unwrap().is_null());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((world.source.connects(), world.target.connects()), (0, 0));
    // Nothing that was written for it is left.
    let state = std::fs::read_dir(record.parent().unwrap()).unwrap();
    assert_eq!(state.count(), 1);
    std::fs::remove_dir_all(&record).unwrap();
    let mut world = world;
    world.start("j").await;
    world.comes_to("j", State::Synced).await;
}

/// A person who has seen to it need not wait for the next attempt.
#[tokio::test(start_paused = true)]
async fn a_file_that_failed_is_tried_at_once_when_somebody_asks() {
    let mut world = World::synced().await;
    world.target.harm(Some(Harm::Fails(Operation::Stage)));
    world.source.memory.write_file("b", "2").unwrap();
    while world.status("j").await.error_count == 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(1800)).await;
    let tries = world.target.calls(Operation::Stage);
    assert!((4..=11).contains(&tries), "{tries} in half an hour");
    world.target.harm(None);
    world.events = world.hub.listen();
    world.jobs.resume("j").await.unwrap();
    let began = Instant::now();
    let passed = world.comes_to("j", State::Synced).await;
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    assert!(
        passed.iter().all(|(state, _)| *state != State::Stopped),
        "{passed:?}"
    );
    assert!(world.target.memory.read_file("b").is_some());
}
