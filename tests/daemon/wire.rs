//! Raw bytes on the socket: whatever comes, the daemon stays up and answers others.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use wl_control::State;

use crate::raw::{LATE, Raw};
use crate::world::{World, state};

const TWO: &str = "{\"cmd\":\"version\",\"id\":1}\n\n{\n\"cmd\":\"job-state\",\"args\":{\"job-id\":\"\u{fc}\u{1f600}\"},\"id\":2}\r\n\r\n";

async fn two_answers(raw: &mut Raw) {
    let first = raw.answer().await;
    assert_eq!(
        (&first["id"], &first["result"]["version"]),
        (&json!(1), &json!("1.2.3"))
    );
    assert_eq!(raw.answer().await, json!({ "id": 2, "result": null }));
}

#[tokio::test]
async fn messages_may_be_cut_anywhere() {
    let world = World::new().await;
    let mut raw = Raw::connect(&world).await;
    for cut in 0..=TWO.len() {
        let (first, second) = TWO.as_bytes().split_at(cut);
        raw.send(first).await;
        // Lets the daemon read the first part by itself, most times; what it makes of it is the same.
        world.is_up().await;
        raw.send(second).await;
        two_answers(&mut raw).await;
    }
    for byte in TWO.bytes() {
        raw.send([byte]).await;
        tokio::task::yield_now().await;
    }
    two_answers(&mut raw).await;
}

#[tokio::test]
async fn messages_may_come_together_and_are_answered_in_order() {
    let world = World::new().await;
    let mut raw = Raw::connect(&world).await;
    let (mut reader, mut writer) = raw.stream.split();
    let all: String = (0..500)
        .map(|id| format!("\n\n\n{{\"cmd\":\"jobs\",\"id\":{id}}}\n\n"))
        .collect();
    let mut text = vec![0; 500 * 24];
    let wanted: String = (0..500)
        .map(|id| format!("{{\"result\":{{}},\"id\":{id}}}\n\n"))
        .collect();
    let wanted_length = wanted.len();
    let both = async {
        let read = reader.read_exact(&mut text[..wanted_length]);
        let (wrote, read) = tokio::join!(writer.write_all(all.as_bytes()), read);
        wrote.unwrap();
        read.unwrap();
    };
    timeout(LATE, both).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&text[..wanted_length]), wanted);
    world.is_up().await;
}

#[tokio::test]
async fn garbage_is_refused_without_an_id_and_the_connection_lives_on() {
    let world = World::new().await;
    let mut raw = Raw::connect(&world).await;
    let deep = |open: &str, count: usize| open.repeat(count) + "\n\n";
    let cases: Vec<Vec<u8>> = vec![
        b"hello\n\n".into(),
        b"\0\0\0\n\n".into(),
        b"{\n\n".into(),
        b"}{\n\n".into(),
        b"{\"cmd\": \"status\"} {\"cmd\": \"status\"}\n\n".into(),
        b"{\"cmd\": \"status\",}\n\n".into(),
        b"{'cmd': 'status'}\n\n".into(),
        b"\"\\ud800\"\n\n".into(),
        b"\xff\xfe\n\n".into(),
        b"{\"cmd\": \"stat\xffus\", \"id\": 1}\n\n".into(),
        b"\xef\xbb\xbf{\"cmd\": \"status\"}\n\n".into(),
        b"[]\n\n".into(),
        b"[\"status\", {}, 1]\n\n".into(),
        b"[\"shutdown\"]\n\n".into(),
        b"null\n\n".into(),
        b"17\n\n".into(),
        b"\"shutdown\"\n\n".into(),
        b"{}\n\n".into(),
        b"{\"cmd\": \"status\", \"id\": 1e999}\n\n".into(),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
        deep("[", 100_000).into(),
        deep("{\"a\":", 100_000).into(),
        deep("{\"cmd\":\"start\",\"id\":1,\"args\":{\"source\":[[", 1).into(),
        ("{\"cmd\":\"start\",\"args\":".to_owned()
            + &"[".repeat(5000)
            + &"]".repeat(5000)
            + "}\n\n")
            .into(),
    ];
    for bytes in cases {
        let answer = raw.is_refused(&bytes, "malformed").await;
        assert_eq!(answer["id"], Value::Null, "{answer}");
        let desc = answer["error"]["desc"].as_str().unwrap();
        assert!(desc.len() < 3000 && !desc.contains('\n'), "{desc}");
    }
    world.is_up().await;
}

#[tokio::test]
async fn what_is_too_long_is_told_once_and_passed_over() {
    let world = World::new().await;
    let mut raw = Raw::connect(&world).await;
    let id = "x".repeat((1 << 20) - 30);
    raw.is_refused(
        format!("{{\"cmd\":\"jobs\",\"id\":\"{id}\"}}\n\n"),
        "malformed",
    )
    .await;
    for mebibytes in [1, 5, 40] {
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..mebibytes {
            raw.send(&piece).await;
            world.is_up().await;
        }
        let answer = raw.is_refused("xx\n\n", "malformed").await;
        assert!(
            answer["error"]["desc"]
                .as_str()
                .unwrap()
                .contains("1048576"),
            "{answer}"
        );
    }
    // A single line end does not end it.
    let lines = b"{\"cmd\": \"shutdown\"}\n\r".repeat(100_000);
    raw.send(&lines).await;
    raw.is_refused("\n\n", "malformed").await;
    world.is_up().await;
}

#[tokio::test]
async fn ids_come_back_as_they_are() {
    let world = World::new().await;
    let mut raw = Raw::connect(&world).await;
    for id in [
        json!(0),
        json!(-1),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(""),
        json!("\u{0}\"\\\n\n\u{1f600}"),
        json!("x".repeat(300)),
        Value::Null,
    ] {
        for _ in 0..2 {
            let answer = raw.ask(&json!({ "cmd": "jobs", "id": id })).await;
            assert_eq!(answer["id"], id);
        }
    }
    let answer = raw.ask(&json!({ "cmd": "jobs" })).await;
    assert_eq!(answer, json!({ "result": {}, "id": null }));
    for id in ["1.5", "1e300", "true", "[1]", "{}", "18446744073709551617"] {
        let answer = raw
            .is_refused(format!("{{\"cmd\":\"jobs\",\"id\":{id}}}\n\n"), "malformed")
            .await;
        assert_eq!(answer["id"], Value::Null);
    }
}

#[tokio::test]
async fn who_closes_half_gets_the_answers_and_who_disappears_harms_nobody() {
    let world = World::new().await;
    let mut half = Raw::connect(&world).await;
    half.send(TWO).await;
    half.stream.shutdown().await.unwrap();
    two_answers(&mut half).await;
    assert_eq!(half.message().await, None, "and then the end");
    for sent in [
        "",
        "{",
        "{\"cmd\": \"status\", \"id\"",
        "{\"cmd\":\"status\"}\n",
        TWO,
    ] {
        for _ in 0..20 {
            let mut gone = Raw::connect(&world).await;
            gone.send(sent).await;
            drop(gone);
        }
        world.is_up().await;
    }
    // In the middle of one that takes its time: it is carried out, and nobody waits for the answer.
    let mut client = world.client().await;
    client.ask("version", json!({})).await.unwrap();
    let mut gone = Raw::connect(&world).await;
    let start = json!({ "cmd": "start", "args": world.job("j", true), "id": 1 });
    gone.send(format!("{start}\n\n")).await;
    drop(gone);
    let started = timeout(LATE, state(&mut client, "j", State::Synced)).await;
    started.expect("a request that was sent is carried out");
    world.is_up().await;
}
