//! Many clients, and clients that do not listen.

use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use wl_control::State;

use crate::raw::{LATE, Raw};
use crate::world::{World, state};

/// More than are kept for one that lags, and than fit into a socket.
const MANY: usize = 2500;

/// Makes many events at once: each of these is a conflict.
async fn conflicts(world: &World) {
    for side in ["source", "target"] {
        for number in 0..MANY {
            world.write(&format!("{side}/{number}"), side);
        }
    }
    let mut client = world.client().await;
    client.ask("start", world.job("j", true)).await.unwrap();
    client
        .ask(
            "active-events",
            json!({ "job-id": "j", "active-events": ["state"] }),
        )
        .await
        .unwrap();
    loop {
        let text = state(&mut client, "j", State::Running).await;
        if text == format!("{MANY} conflicts left") {
            return;
        }
    }
}

#[tokio::test]
async fn a_thousand_connections_hold_up_nobody() {
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if most < 4096 {
        eprintln!(
            "SKIPPED: {most} open files are not enough for a thousand connections at both ends"
        );
        return;
    }
    let world = World::new().await;
    let mut all = Vec::new();
    for _ in 0..1000 {
        all.push(Raw::connect(&world).await);
    }
    world.is_up().await;
    // The newest are served; the oldest, which never said a word, made room.
    for raw in all.iter_mut().rev().take(400) {
        let answer = timeout(LATE, raw.ask(&json!({ "cmd": "jobs", "id": 1 }))).await;
        assert_eq!(answer.unwrap()["id"], 1);
    }
    let first = timeout(LATE, all[0].message()).await;
    assert_eq!(first.expect("it is closed"), None);
    drop(all);
    for _ in 0..1000 {
        drop(Raw::connect(&world).await);
    }
    world.is_up().await;
}

#[tokio::test]
async fn who_speaks_is_not_closed_for_the_silent() {
    let world = World::new().await;
    let mut speaker = Raw::connect(&world).await;
    let mut silent = Vec::new();
    for number in 0..700 {
        silent.push(Raw::connect(&world).await);
        if number % 100 == 0 {
            let answer = speaker.ask(&json!({ "cmd": "jobs", "id": number })).await;
            assert_eq!(answer["id"], number);
        }
    }
    world.is_up().await;
}

#[tokio::test]
async fn who_never_reads_holds_up_nobody_and_is_told_what_it_missed() {
    let world = World::new().await;
    let mut mute: Vec<Raw> = Vec::new();
    for _ in 0..20 {
        mute.push(Raw::connect(&world).await);
    }
    conflicts(&world).await;
    world.is_up().await;
    for mut raw in mute {
        let (mut last, mut told) = (0, false);
        // Everything is there in order, or said to be missing.
        while last == 0 || !told {
            let event = raw.event().await;
            let number = event["number"].as_u64().unwrap();
            if event["type"] == "missed" {
                told = true;
                assert!(
                    number > last + 1,
                    "nothing is missing between {last} and {number}"
                );
            } else if last != 0 {
                assert!(
                    number == last + 1 || told,
                    "a silent gap between {last} and {number}"
                );
            }
            last = last.max(number);
        }
    }
}

#[tokio::test]
async fn who_asks_and_never_reads_is_not_heard_without_end() {
    let world = World::new().await;
    let mut raw = Raw::connect(&world).await;
    let request = format!("{{\"cmd\":\"jobs\",\"id\":\"{}\"}}\n\n", "x".repeat(300)).repeat(100);
    let mut sent = 0;
    // The daemon stops reading when enough answers wait: what it holds is bounded by that.
    while let Ok(wrote) = timeout(
        Duration::from_millis(300),
        raw.stream.write_all(request.as_bytes()),
    )
    .await
    {
        wrote.unwrap();
        sent += request.len();
        assert!(
            sent < 8 << 20,
            "{sent} bytes of requests were taken, and no answer was read"
        );
    }
    world.is_up().await;
    let waiting = Raw::connect(&world).await;
    drop((raw, waiting));
    world.is_up().await;
}

/// Resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
#[ignore = "takes minutes: run it with `cargo xtask soak`"]
async fn soak_nothing_that_clients_do_makes_the_daemon_grow() {
    let world = World::new().await;
    let deep = "[".repeat(200_000) + "\n\n";
    let long = "x".repeat(3 << 20) + "\n\n";
    let minutes = std::env::var("WL_SOAK_MINUTES").ok();
    let minutes: f64 = minutes.and_then(|text| text.parse().ok()).unwrap_or(0.2);
    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    // Enough for memory that is given back late to be there once.
    const WARM: u32 = 100;
    let (mut before, mut round) = (0, 0);
    while round <= 2 * WARM || Instant::now() < end {
        round += 1;
        let mut raw = Raw::connect(&world).await;
        for bytes in [
            &*deep,
            &*long,
            "garbage\n\n",
            "{\"cmd\":\"jobs\",\"id\":1.5}\n\n",
        ] {
            raw.is_refused(bytes, "malformed").await;
        }
        let subscribe = json!({ "cmd": "subscribe", "args": { "since": 0 }, "id": 1 });
        assert_eq!(raw.ask(&subscribe).await["error"], Value::Null);
        let half = Raw::connect(&world).await;
        let mut gone = Raw::connect(&world).await;
        gone.send(&deep[..100_000]).await;
        drop((half, gone));
        if round == WARM {
            before = resident();
        }
    }
    let after = resident();
    assert!(
        after < before + 16 * 1024,
        "{before} KiB became {after} KiB"
    );
    world.is_up().await;
}
