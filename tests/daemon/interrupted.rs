//! Jobs that are stopped in the middle, and pairs that somebody else works on.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use serde_json::json;
use wl_control::State;

use crate::world::{World, state};

/// Large enough that it is not done when the stop comes, however late that is: no byte of it takes any room, and all are read.
const LARGE: u64 = 64 << 30;

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transfer_is_interrupted_and_leaves_nothing_half_done() {
    for continuous in [true, false] {
        let world = World::new().await;
        let mut client = world.client().await;
        let large = File::create(world.path("source/large")).unwrap();
        large.set_len(LARGE).unwrap();
        client
            .ask("start", world.job("j", continuous))
            .await
            .unwrap();
        // Until content is on its way: there is a scratch folder on the target.
        while !world.path("target/.wl").exists() {
            tokio::task::yield_now().await;
        }
        let began = Instant::now();
        let job = json!({ "job-id": "j" });
        client.ask("stop", job).await.unwrap();
        // The exact bound is tried with a clock that nobody else slows down.
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{:?}",
            began.elapsed()
        );
        assert!(!world.path("target/large").exists());
        // The pair is free at once, and what was left is tidied.
        large.set_len(1000).unwrap();
        let mut client = world.client().await;
        client.ask("start", world.job("j", false)).await.unwrap();
        let text = state(&mut client, "j", State::Synced).await;
        assert_eq!(text, "synced");
        assert_eq!(
            fs::metadata(world.path("target/large")).unwrap().len(),
            1000
        );
        assert!(!world.path("target/.wl/stage").exists());
    }
}

/// As `wl sync` on the same two folders does for as long as it runs.
#[tokio::test]
async fn a_pair_that_another_process_works_on_pauses_its_job_until_that_has_ended() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.ask("start", world.job("j", true)).await.unwrap();
    state(&mut client, "j", State::Synced).await;
    let locks = fs::read_dir(world.base().join("state")).unwrap();
    let locks = locks.map(|entry| entry.unwrap().path());
    let locks: Vec<_> = locks
        .filter(|path| path.extension().is_some_and(|end| end == "lock"))
        .collect();
    let [lock] = &locks[..] else {
        panic!("not one pair: {locks:?}");
    };
    let other = File::open(lock).unwrap();
    // A look that goes on at this moment has it.
    while other.try_lock().is_err() {
        tokio::task::yield_now().await;
    }
    world.write("source/a", "1");
    let text = state(&mut client, "j", State::Paused).await;
    assert!(text.contains("another run"), "{text}");
    assert_eq!(world.read("target/a"), None);
    drop(other);
    state(&mut client, "j", State::Synced).await;
    assert_eq!(world.read("target/a").as_deref(), Some("1"));
}
