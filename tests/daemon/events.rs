//! Events: who gets which, and what one that was away is told.

use serde_json::{Value, json};
use wl_control::{Client, Event, EventKind, State};

use crate::raw::Raw;
use crate::world::{self, World, local, state};

async fn ask(client: &mut Client, cmd: &str, args: Value) -> Value {
    client.ask(cmd, args).await.unwrap()
}

async fn next(client: &mut Client) -> Event {
    client
        .next_event()
        .await
        .unwrap()
        .expect("the daemon ended")
}

/// Makes events of a job, one after another: each pause and each resume is at least one.
async fn stir(client: &mut Client, id: &str, times: usize) {
    for _ in 0..times {
        ask(client, "pause", json!({ "job-id": id })).await;
        ask(client, "resume", json!({ "job-id": id })).await;
    }
}

/// Reads until the job has come to rest after a resume.
async fn all_until_synced(client: &mut Client, id: &str) -> Vec<Event> {
    let mut all = Vec::new();
    loop {
        let event = next(client).await;
        let synced = event.kind == EventKind::State
            && event.job_id.as_deref() == Some(id)
            && event.fields["state"][0] == 3;
        all.push(event);
        if synced {
            return all;
        }
    }
}

fn numbers(events: &[Event]) -> Vec<u64> {
    let told = events
        .iter()
        .filter(|event| event.kind != EventKind::Progress);
    told.map(|event| event.number).collect()
}

/// A world with two jobs: `j`, which has conflicts, and `k`.
async fn two_jobs(world: &World) -> Client {
    let mut client = world.client().await;
    for folder in ["one", "two"] {
        std::fs::create_dir(world.path(folder)).unwrap();
    }
    world.write("source/a", "1");
    world.write("target/a", "2");
    let mut other = world.job("k", true);
    other["source"] = local(&world.path("one"));
    other["target"] = local(&world.path("two"));
    ask(&mut client, "start", other).await;
    state(&mut client, "k", State::Synced).await;
    client
}

#[tokio::test]
async fn each_connection_gets_what_it_asked_for_and_the_others_get_all() {
    let world = World::new().await;
    let mut driver = two_jobs(&world).await;
    let (mut all, mut conflicts, mut only_j, mut nothing_of_j) = (
        world.client().await,
        world.client().await,
        world.client().await,
        world.client().await,
    );
    ask(&mut all, "version", json!({})).await;
    ask(
        &mut conflicts,
        "subscribe",
        json!({ "active-events": ["conflict"] }),
    )
    .await;
    ask(
        &mut only_j,
        "subscribe",
        json!({ "job-id": "j", "active-events": ["state"] }),
    )
    .await;
    // Nothing but errors of `j`, of which there are none; all of `k`.
    let mut start = world.job("j", true);
    start["active-events"] = json!(["error"]);
    ask(&mut nothing_of_j, "start", start).await;
    loop {
        let text = state(&mut all, "j", State::Running).await;
        if text == "1 conflict left" {
            break;
        }
    }
    stir(&mut driver, "k", 1).await;
    let of_k = all_until_synced(&mut nothing_of_j, "k").await;
    assert!(
        of_k.iter()
            .all(|event| event.job_id.as_deref() == Some("k")),
        "{of_k:?}"
    );
    let event = next(&mut conflicts).await;
    assert_eq!(
        (event.kind, event.job_id.as_deref()),
        (EventKind::Conflict, Some("j"))
    );
    loop {
        let event = next(&mut only_j).await;
        assert_eq!(
            (event.kind, event.job_id.as_deref()),
            (EventKind::State, Some("j"))
        );
        if event.fields["state"][1] == "1 conflict left" {
            break;
        }
    }
    all_until_synced(&mut all, "k").await;
}

#[tokio::test]
async fn what_a_connection_wants_can_be_changed_again() {
    let world = World::new().await;
    let mut driver = two_jobs(&world).await;
    ask(&mut driver, "start", world.job("j", true)).await;
    while state(&mut driver, "j", State::Running).await != "1 conflict left" {}
    let mut client = world.client().await;
    ask(
        &mut client,
        "subscribe",
        json!({ "active-events": ["error"] }),
    )
    .await;
    stir(&mut driver, "j", 1).await;
    stir(&mut driver, "k", 1).await;
    // Of this job all, of the others still nothing but errors, of which there are none.
    let of_j = json!({ "job-id": "j", "active-events": [] });
    ask(&mut client, "active-events", of_j).await;
    stir(&mut driver, "k", 1).await;
    stir(&mut driver, "j", 1).await;
    let event = next(&mut client).await;
    assert_eq!(event.job_id.as_deref(), Some("j"), "{event:?}");
    ask(
        &mut client,
        "subscribe",
        json!({ "active-events": ["state"] }),
    )
    .await;
    stir(&mut driver, "k", 1).await;
    let of_k = all_until_synced(&mut client, "k").await;
    assert!(
        of_k.iter()
            .any(|event| event.job_id.as_deref() == Some("k"))
    );
    // Whoever names a job that is not there is told so.
    let other = json!({ "job-id": "other", "active-events": [] });
    let refused = world::refused(client.ask("active-events", other).await);
    assert_eq!(refused.class, "unknown-job");
}

#[tokio::test]
async fn who_comes_back_misses_nothing_and_sees_nothing_twice() {
    let world = World::new().await;
    let mut driver = two_jobs(&world).await;
    let mut steady = world.client().await;
    ask(&mut steady, "version", json!({})).await;
    let mut away = world.client().await;
    ask(&mut away, "version", json!({})).await;
    stir(&mut driver, "k", 1).await;
    let mut seen = numbers(&all_until_synced(&mut away, "k").await);
    let mut wanted = numbers(&all_until_synced(&mut steady, "k").await);
    for _ in 0..5 {
        drop(away);
        stir(&mut driver, "k", 3).await;
        wanted.extend(numbers(&all_until_synced(&mut steady, "k").await));
        away = world.client().await;
        // Something happens between coming back and asking.
        ask(&mut away, "version", json!({})).await;
        stir(&mut driver, "k", 1).await;
        let since = *seen.last().unwrap();
        let answer = ask(&mut away, "subscribe", json!({ "since": since })).await;
        assert_eq!(answer["missed"], false, "{answer}");
        wanted.extend(numbers(&all_until_synced(&mut steady, "k").await));
        let last = *wanted.last().unwrap();
        while *seen.last().unwrap() < last {
            seen.extend(numbers(&[next(&mut away).await]));
        }
    }
    assert_eq!(seen, wanted);
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
}

#[tokio::test]
async fn what_is_gone_is_said_to_be_missed_before_anything_else() {
    let world = World::new().await;
    let mut driver = two_jobs(&world).await;
    for since in [0, 1, u64::MAX] {
        let mut raw = Raw::connect(&world).await;
        let request = json!({ "cmd": "subscribe", "args": { "since": since }, "id": 1 });
        let answer = raw.ask(&request).await;
        assert_eq!(answer["result"]["missed"], true, "{answer}");
        stir(&mut driver, "k", 1).await;
        let first = raw.event().await;
        assert_eq!(first["type"], "missed", "{first}");
        let second = raw.event().await;
        assert_eq!(second["number"], first["number"]);
    }
    // The number that comes next is told to whoever asks for nothing else; with it nothing is missed.
    let mut raw = Raw::connect(&world).await;
    let answer = raw.ask(&json!({ "cmd": "subscribe", "id": 1 })).await;
    assert_eq!(answer["result"]["missed"], false);
    let before = answer["result"]["next"].as_u64().unwrap() - 1;
    let again = json!({ "cmd": "subscribe", "args": { "since": before }, "id": 2 });
    assert_eq!(raw.ask(&again).await["result"]["missed"], false);
}

#[tokio::test]
async fn numbers_grow_over_a_restart_and_the_break_is_told() {
    let mut world = World::new().await;
    let mut client = two_jobs(&world).await;
    stir(&mut client, "k", 2).await;
    let before = all_until_synced(&mut client, "k").await;
    let last = before.last().unwrap().number;
    drop(client);
    for _ in 0..3 {
        world.end().await;
        world.start().await;
        let mut raw = Raw::connect(&world).await;
        let request = json!({ "cmd": "subscribe", "args": { "since": last }, "id": 1 });
        let answer = raw.ask(&request).await;
        assert_eq!(
            answer["result"]["missed"], true,
            "what the daemon said at its end is gone: {answer}"
        );
        assert!(answer["result"]["next"].as_u64().unwrap() > last);
        let first = raw.event().await;
        assert_eq!(first["type"], "missed");
        assert!(first["number"].as_u64().unwrap() > last);
    }
}
