//! Conflicts that are being ended: what is told of those that are left.

use wl_control::State;
use wl_core::model::SyncPath;
use wl_core::sync::Keep;

use super::World;

fn path(text: &str) -> Vec<SyncPath> {
    vec![SyncPath::new(text).unwrap()]
}

/// Files on both sides that nobody ever agreed on.
fn differ(world: &World, paths: &[&str]) {
    for path in paths {
        world.source.memory.write_file(path, "one").unwrap();
        world.target.memory.write_file(path, "two").unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_end_of_conflicts_ends_none_of_a_one_shot() {
    let mut world = World::new();
    differ(&world, &["a"]);
    let mut request = world.request("j");
    request.continuous = false;
    world.jobs.start(request).await.unwrap();
    world.comes_to("j", State::Stopped).await;
    world.target.memory.set_available(false);
    let answer = world.jobs.resolve("j", path("a"), Keep::Source).await;
    assert_eq!(answer.unwrap()["error"]["class"], "root-unavailable");
    let status = world.status("j").await;
    assert_eq!(status.state.1, "1 conflict left");
    assert_eq!(status.conflict_count, 1);

    world.target.memory.set_available(true);
    let answer = world.jobs.resolve("j", path("a"), Keep::Source).await;
    assert_eq!(answer.unwrap()["result"], "synced");
    let status = world.status("j").await;
    assert_eq!(status.state.1, "conflicts ended");
    assert_eq!(status.conflict_count, 0);
}

/// The job goes on in between, and its look gives way at once.
#[tokio::test(start_paused = true)]
async fn a_conflict_stays_open_when_others_are_ended_one_after_the_other() {
    let mut world = World::synced().await;
    let all = ["aa", "ab", "zz"];
    differ(&world, &all);
    while world.next_state("j").await.1 != "3 conflicts left" {}
    let first = world.jobs.resolve("j", path("aa"), Keep::Source).await;
    assert_eq!(first.unwrap()["error"], serde_json::Value::Null);
    assert_eq!(world.status("j").await.conflict_count, 2);
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    let second = world.jobs.resolve("j", path("ab"), Keep::Source).await;
    let second = second.unwrap();
    assert_eq!(second["conflicts"][0]["path"], "zz", "{second:#}");
    assert_eq!(world.status("j").await.conflict_count, 1);
    // And after the next look.
    world.jobs.pause("j").await.unwrap();
    assert_eq!(world.status("j").await.conflict_count, 1);
}
