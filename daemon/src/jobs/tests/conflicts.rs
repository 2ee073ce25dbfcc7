//! Conflicts that are being ended: what is told of those that are left.

use wl_control::State;
use wl_core::model::SyncPath;
use wl_core::sync::Keep;

use super::World;
use super::storage::Hold;

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

/// The folders are not watched until the job runs again and has looked: nothing is known to be in sync all that time.
#[tokio::test(start_paused = true)]
async fn a_job_is_not_in_sync_from_a_resolve_until_it_has_looked_again() {
    let mut world = World::synced().await;
    let told = |text: &str| (State::Running, text.to_owned());
    world.target.hold(Hold::List);
    let jobs = world.jobs.clone();
    let resolve = tokio::spawn(async move { jobs.resolve("j", path("a"), Keep::Source).await });
    world.target.is_held().await;
    assert_eq!(world.status("j").await.state, told("ending conflicts"));
    // The next run is held before it looks, and then in its first look.
    world.target.hold(Hold::Connect);
    let report = resolve.await.unwrap().unwrap();
    assert_eq!(report["error"], serde_json::Value::Null, "{report:#}");
    world.target.is_held().await;
    world.source.memory.write_file("a", "2").unwrap();
    assert_eq!(world.status("j").await.state, told("starting"));
    world.target.hold(Hold::List);
    while world.status("j").await.state == told("starting") {
        tokio::task::yield_now().await;
    }
    world.target.is_held().await;
    assert_eq!(world.status("j").await.state, told("comparing"));
    world.target.hold(Hold::Nowhere);
    let passed = world.comes_to("j", State::Synced).await;
    assert_eq!(passed[0], told("ending conflicts"));
    assert_eq!(world.target.memory.read_file("a").unwrap().as_ref(), b"2");
}

/// It rests all the while.
#[tokio::test(start_paused = true)]
async fn a_paused_job_says_so_while_its_conflicts_are_ended() {
    let world = World::synced().await;
    world.jobs.pause("j").await.unwrap();
    let paused = world.status("j").await.state;
    assert_eq!(paused.0, State::Paused);
    world.target.hold(Hold::List);
    let jobs = world.jobs.clone();
    let resolve = tokio::spawn(async move { jobs.resolve("j", path("a"), Keep::Source).await });
    world.target.is_held().await;
    assert_eq!(world.status("j").await.state, paused);
    world.target.hold(Hold::Nowhere);
    resolve.await.unwrap().unwrap();
    assert_eq!(world.status("j").await.state, paused);
}
