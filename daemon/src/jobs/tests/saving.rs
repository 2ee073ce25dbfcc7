//! What cannot be recorded is not done, and what was so before stays.

use std::fs;
use std::time::Duration;

use wl_control::State;
use wl_core::sync::Keep;

use super::World;
use super::stops::{conflict, paths};
use super::storage::Hold;

/// In the way of the record, for whoever writes it, root too.
struct InTheWay(std::path::PathBuf);

impl InTheWay {
    fn of(world: &World) -> Self {
        let path = world.dir.path().join("base/state/jobs.json.new");
        fs::create_dir_all(path.join("x")).unwrap();
        Self(path)
    }
}

impl Drop for InTheWay {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// The job goes on: what is new arrives.
async fn goes_on(world: &mut World) {
    world.events = world.hub.listen();
    world.source.memory.write_file("later", "1").unwrap();
    while world.target.memory.read_file("later").is_none() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    while world.status("j").await.state.0 != State::Synced {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_cannot_be_recorded_is_not_started() {
    let world = World::new();
    let in_the_way = InTheWay::of(&world);
    let refusal = world.jobs.start(world.request("j")).await.unwrap_err();
    assert!(refusal.desc.contains("jobs.json"), "{}", refusal.desc);
    assert!(world.jobs.job_state("j").await.unwrap().is_null());
    drop(in_the_way);
    world.start("j").await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_cannot_be_recorded_is_told_and_the_job_goes_on() {
    for hold in [Hold::Nowhere, Hold::List] {
        let mut world = World::synced().await;
        if hold != Hold::Nowhere {
            world.target.hold(hold);
            world.target.is_held().await;
        }
        let in_the_way = InTheWay::of(&world);
        for _ in 0..2 {
            let refusal = world.jobs.stop("j").await.unwrap_err();
            assert!(refusal.desc.contains("jobs.json"), "{}", refusal.desc);
        }
        let (state, text) = world.status("j").await.state;
        assert_eq!(state, State::Error);
        assert!(text.contains("could not be stopped"), "{text}");
        assert!(world.jobs.stop_all().await.is_err());
        world.target.hold(Hold::Nowhere);
        goes_on(&mut world).await;
        drop(in_the_way);
        world.jobs.stop("j").await.unwrap();
        world.restart().await;
        assert!(world.jobs.job_state("j").await.unwrap().is_null());
    }
}

#[tokio::test(start_paused = true)]
async fn a_paused_job_whose_stop_cannot_be_recorded_stays_paused() {
    let mut world = World::synced().await;
    world.jobs.pause("j").await.unwrap();
    let in_the_way = InTheWay::of(&world);
    world.jobs.stop("j").await.unwrap_err();
    assert_eq!(world.status("j").await.state.0, State::Paused);
    world.jobs.resume("j").await.unwrap_err();
    assert_eq!(world.status("j").await.state.0, State::Paused);
    drop(in_the_way);
    world.jobs.resume("j").await.unwrap();
    goes_on(&mut world).await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_cannot_be_recorded_is_told_and_the_job_goes_on() {
    for hold in [Hold::Nowhere, Hold::List] {
        let mut world = World::synced().await;
        if hold != Hold::Nowhere {
            world.target.hold(hold);
            world.target.is_held().await;
        }
        let in_the_way = InTheWay::of(&world);
        world.jobs.pause("j").await.unwrap_err();
        assert_ne!(world.status("j").await.state.0, State::Paused);
        world.target.hold(Hold::Nowhere);
        goes_on(&mut world).await;
        drop(in_the_way);
        world.restart().await;
        goes_on(&mut world).await;
    }
}

/// Who waits for the end of conflicts is not forgotten with a stop that came to nothing.
#[tokio::test(start_paused = true)]
async fn conflicts_are_ended_after_a_stop_that_could_not_be_recorded() {
    let mut world = World::synced().await;
    conflict(&mut world).await;
    world.target.hold(Hold::List);
    let ask = |world: &World| {
        let jobs = world.jobs.clone();
        tokio::spawn(async move { jobs.resolve("j", paths(), Keep::Source).await })
    };
    let first = ask(&world);
    world.target.is_held().await;
    let second = ask(&world);
    tokio::task::yield_now().await;
    let in_the_way = InTheWay::of(&world);
    world.jobs.stop("j").await.unwrap_err();
    assert!(first.await.unwrap().is_err());
    world.target.hold(Hold::Nowhere);
    let report = tokio::time::timeout(Duration::from_secs(60), second).await;
    let report = report.expect("nobody answers").unwrap().unwrap();
    assert_eq!(report["result"], "synced", "{report:#}");
    goes_on(&mut world).await;
    drop(in_the_way);
}
