//! Jobs, as a client sees them.

use serde_json::{Value, json};
use wl_control::State;

use crate::world::{World, refused, state};

#[tokio::test]
async fn a_continuous_job_syncs_goes_on_and_is_forgotten_when_it_is_stopped() {
    let mut world = World::new().await;
    let mut client = world.client().await;
    world.write("source/a", "1");
    client.ask("start", world.job("j", true)).await.unwrap();
    state(&mut client, "j", State::Synced).await;
    assert_eq!(world.read("target/a").as_deref(), Some("1"));
    world.write("target/b", "2");
    state(&mut client, "j", State::Running).await;
    state(&mut client, "j", State::Synced).await;
    assert_eq!(world.read("source/b").as_deref(), Some("2"));
    assert_eq!(
        refused(client.ask("start", world.job("j", true)).await).class,
        "job-exists"
    );
    assert_eq!(
        refused(client.ask("start", world.job("k", true)).await).class,
        "job-exists"
    );
    let job = json!({ "job-id": "j" });
    client.ask("stop", job.clone()).await.unwrap();
    assert_eq!(
        client.ask("job-state", job.clone()).await.unwrap(),
        Value::Null
    );
    assert_eq!(refused(client.ask("stop", job).await).class, "unknown-job");
    client.ask("shutdown", json!({})).await.unwrap();
    world.ended().await;
    assert!(!world.socket().exists());
}

#[tokio::test]
async fn a_one_shot_ends_in_the_state_that_its_report_says() {
    let world = World::new().await;
    let mut client = world.client().await;
    world.write("source/a", "1");
    client.ask("start", world.job("once", false)).await.unwrap();
    state(&mut client, "once", State::Synced).await;
    assert_eq!(world.read("target/a").as_deref(), Some("1"));
    world.write("source/b", "1");
    world.write("target/b", "2");
    client
        .ask("start", world.job("twice", false))
        .await
        .unwrap();
    let text = state(&mut client, "twice", State::Stopped).await;
    assert_eq!(text, "1 conflict left");
}

#[tokio::test]
async fn continuous_jobs_survive_the_daemon_and_paused_ones_stay_paused() {
    let mut world = World::new().await;
    let mut client = world.client().await;
    client.ask("start", world.job("j", true)).await.unwrap();
    state(&mut client, "j", State::Synced).await;
    world.end().await;
    world.write("source/a", "1");
    world.start().await;
    let mut client = world.client().await;
    state(&mut client, "j", State::Synced).await;
    assert_eq!(world.read("target/a").as_deref(), Some("1"));
    client.ask("pause", json!({ "job-id": "j" })).await.unwrap();
    world.end().await;
    world.start().await;
    let mut client = world.client().await;
    let now = client
        .ask("job-state", json!({ "job-id": "j" }))
        .await
        .unwrap();
    assert_eq!(now[0], 6);
    client
        .ask("resume", json!({ "job-id": "j" }))
        .await
        .unwrap();
    state(&mut client, "j", State::Synced).await;
}

#[tokio::test]
async fn what_is_meant_for_one_run_is_not_kept_for_ever() {
    let world = World::new().await;
    let mut client = world.client().await;
    for (option, continuous) in [
        ("allow-empty", true),
        ("accept-new-filesystem", true),
        ("dry-run", true),
        ("dry-run", false),
    ] {
        let mut job = world.job("j", continuous);
        job["options"] = json!({ option: true });
        let refusal = refused(client.ask("start", job).await);
        assert_eq!(refusal.class, "usage", "{option}: {refusal}");
    }
    assert_eq!(client.ask("jobs", json!({})).await.unwrap(), json!({}));
}

#[tokio::test]
async fn an_interval_that_no_clock_can_count_is_no_panic() {
    let world = World::new().await;
    let mut client = world.client().await;
    let mut job = world.job("j", true);
    job["source"]["watcher-interval"] = u64::MAX.into();
    client.ask("start", job).await.unwrap();
    state(&mut client, "j", State::Synced).await;
}

#[tokio::test]
async fn a_job_that_has_ended_says_when_its_conflicts_are_ended() {
    let world = World::new().await;
    let mut client = world.client().await;
    world.write("source/c", "1");
    world.write("target/c", "two");
    client.ask("start", world.job("once", false)).await.unwrap();
    state(&mut client, "once", State::Stopped).await;
    let args = json!({ "job-id": "once", "paths": ["c"], "keep": "target" });
    client.ask("resolve", args).await.unwrap();
    let status = client.ask("status", json!({})).await.unwrap();
    assert_eq!(status[0]["state"], json!([1, "conflicts ended"]));
    assert_eq!(status[0]["conflict-count"], 0);
}

/// As on the command line.
#[tokio::test]
async fn what_belongs_to_wl_is_no_conflict_to_end() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.ask("start", world.job("j", true)).await.unwrap();
    for path in [".wl", ".wl/trash"] {
        let args = json!({ "job-id": "j", "paths": ["a", path], "keep": "source" });
        let refusal = refused(client.ask("resolve", args).await);
        assert_eq!(refusal.class, "usage", "{path}");
        assert!(refusal.desc.contains(path), "{}", refusal.desc);
    }
}

#[tokio::test]
async fn what_a_job_leaves_out_stays_left_out_over_a_restart() {
    let mut world = World::new().await;
    let mut client = world.client().await;
    let mut job = world.job("j", true);
    job["options"] =
        json!({ "exclude": ["*.o", "!keep.o"], "exclude-preset": ["python"], "max-size": 4 });
    for (name, text) in [
        ("a", "1"),
        ("b.o", "2"),
        ("keep.o", "3"),
        ("c.pyc", "4"),
        ("large", "12345"),
    ] {
        world.write(&format!("source/{name}"), text);
    }
    client.ask("start", job).await.unwrap();
    state(&mut client, "j", State::Synced).await;
    let left_out = ["b.o", "c.pyc", "large"].map(|name| format!("target/{name}"));
    for restarted in [false, true] {
        for (name, text) in [("a", "1"), ("keep.o", "3")] {
            assert_eq!(world.read(&format!("target/{name}")).as_deref(), Some(text));
        }
        for name in &left_out {
            assert_eq!(world.read(name), None, "{name}, restarted: {restarted}");
        }
        if !restarted {
            world.end().await;
            world.write("source/d", "5");
            world.start().await;
            let mut client = world.client().await;
            state(&mut client, "j", State::Synced).await;
            assert_eq!(world.read("target/d").as_deref(), Some("5"));
        }
    }
}

#[tokio::test]
async fn rules_that_cannot_be_read_stop_a_job_until_they_are_corrected() {
    let world = World::new().await;
    let mut client = world.client().await;
    world.write("source/a", "1");
    world.write("source/.wlignore", "a[");
    client.ask("start", world.job("j", true)).await.unwrap();
    let text = state(&mut client, "j", State::Error).await;
    assert!(text.contains(".wlignore of the source, line 1"), "{text}");
    assert_eq!(world.read("target/a"), None);
    world.write("source/.wlignore", "b");
    state(&mut client, "j", State::Synced).await;
    assert_eq!(world.read("target/a").as_deref(), Some("1"));
}

#[tokio::test]
async fn a_rule_that_is_none_is_refused_at_once() {
    let world = World::new().await;
    let mut client = world.client().await;
    let mut job = world.job("j", true);
    job["options"] = json!({ "exclude": ["fine", "a["] });
    let refusal = refused(client.ask("start", job).await);
    assert_eq!(refusal.class, "usage");
    assert!(
        refusal.desc.contains("`a[` from the job's options"),
        "{}",
        refusal.desc
    );
}
