//! Jobs that share storages.

use std::time::Duration;

use serde_json::json;
use wl_control::State;
use wl_core::testing::Operation;

use super::storage::{Hold, Place};
use super::{World, between, request};

#[tokio::test(start_paused = true)]
async fn a_pair_is_never_worked_on_twice() {
    let world = World::synced().await;
    for other in [
        world.request("k"),
        between("k", &world.target, &world.source),
    ] {
        let refusal = world.jobs.start(other).await.unwrap_err();
        assert_eq!(refusal.class, "job-exists");
        assert!(refusal.desc.contains("`j`"), "{}", refusal.desc);
    }
}

/// By another name it is only known as the same once it is reached. Then the second ends, and the first never notices.
#[tokio::test(start_paused = true)]
async fn a_pair_under_other_names_belongs_to_the_first_job() {
    let mut world = World::synced().await;
    let (source, target) = (world.source.name.clone(), world.target.name.clone());
    for continuous in [false, true] {
        let mut other = request(
            "k",
            json!({"name": target, "also": "x"}),
            json!({"name": source}),
        );
        other.continuous = continuous;
        let begun = world.target.calls(Operation::Begin);
        world.jobs.start(other).await.unwrap();
        let passed = world.comes_to("k", State::Error).await;
        let text = &passed[passed.len() - 1].1;
        assert!(text.contains("`j`") && text.contains("stop"), "{text}");
        assert_eq!(
            world.target.calls(Operation::Begin),
            begun,
            "it did not work"
        );
        // It is tried again ever later and stays what it is; the first one's looks go on meanwhile.
        let looks = world.status("j").await.done.looks;
        tokio::time::sleep(Duration::from_secs(100)).await;
        let [j, k] = [world.status("j").await, world.status("k").await];
        assert_eq!((j.state.0, j.failures), (State::Synced, 0));
        assert!(j.done.looks > looks);
        assert_eq!(k.state.0, State::Error);
        if !continuous {
            world.jobs.stop("k").await.unwrap();
        }
    }
    // When the first is gone the pair is free, and the second does not wait for its next try.
    let stopped = tokio::time::Instant::now();
    world.jobs.stop("j").await.unwrap();
    world.comes_to("k", State::Synced).await;
    assert!(stopped.elapsed() < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_one_shot_that_has_ended_has_no_pair() {
    let mut world = World::new();
    let mut once = world.request("j");
    once.continuous = false;
    world.jobs.start(once).await.unwrap();
    world.comes_to("j", State::Synced).await;
    let (source, target) = (&world.source.name, &world.target.name);
    let other = request(
        "k",
        json!({"name": source, "also": "x"}),
        json!({"name": target}),
    );
    world.jobs.start(other).await.unwrap();
    world.comes_to("k", State::Synced).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_target_never_holds_back_the_other() {
    for hold in [Hold::Connect, Hold::List, Hold::Begin] {
        let mut world = World::new();
        let slow = Place::new();
        slow.hold(hold);
        world
            .source
            .memory
            .write_file("large", vec![7; 9 << 20])
            .unwrap();
        world
            .jobs
            .start(between("slow", &world.source, &slow))
            .await
            .unwrap();
        slow.is_held().await;
        world.start("j").await;
        world.comes_to("j", State::Synced).await;
        world.source.memory.write_file("b", "2").unwrap();
        world.comes_to("j", State::Running).await;
        world.comes_to("j", State::Synced).await;
        assert!(world.target.memory.read_file("b").is_some());
        slow.hold(Hold::Nowhere);
        while world.status("slow").await.state.0 != State::Synced {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(slow.memory.read_file("large").unwrap().len(), 9 << 20);
    }
}

/// How many files are read for two targets that are ready for the same 50.
async fn reads(checksum: bool) -> u64 {
    let mut world = World::new();
    let other = Place::new();
    for file in 0..50 {
        world
            .source
            .memory
            .write_file(&format!("f{file}"), format!("{file}"))
            .unwrap();
    }
    world.source.memory.pass_time(Duration::from_secs(60));
    world.source.hold(Hold::List);
    let mut one = world.request("j");
    let mut two = between("k", &world.source, &other);
    (one.options.checksum, two.options.checksum) = (checksum, checksum);
    world.jobs.start(one).await.unwrap();
    world.source.is_held().await;
    world.jobs.start(two).await.unwrap();
    while world.source.connects() < 2 {
        tokio::task::yield_now().await;
    }
    world.source.hold(Hold::Nowhere);
    for id in ["j", "k"] {
        while world.status(id).await.state.0 != State::Synced {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert!(other.memory.read_file("f49").is_some());
    let reads = world.source.calls(Operation::ReadSmall);
    world.comes_to("k", State::Synced).await;
    reads
}

#[tokio::test(start_paused = true)]
async fn what_two_targets_are_ready_for_is_read_once() {
    assert_eq!(reads(false).await, 50);
}

/// What was read for another is found again by its token: whoever asks for contents does not trust tokens.
#[tokio::test(start_paused = true)]
async fn who_compares_contents_reads_them() {
    assert!(reads(true).await >= 100);
}
