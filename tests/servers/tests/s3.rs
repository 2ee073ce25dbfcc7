//! The S3 server, seen by a client: opendal, which signs its requests as every client does.

#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use opendal::{ErrorKind, Operator};
use wl_test_servers::faults::{Action, Refusal, When, Which};
use wl_test_servers::s3::{Conditional, IfMatchOnAbsent, S3Server};

use support::{Raw, operator, with_secret};

async fn server() -> (S3Server, Operator) {
    let server = S3Server::builder()
        .bucket("bucket")
        .if_match_on_absent(IfMatchOnAbsent::Failed)
        .start()
        .await;
    let client = operator(&server);
    (server, client)
}

fn kind<T: std::fmt::Debug>(result: opendal::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[tokio::test]
async fn what_is_written_is_read() {
    let (server, client) = server().await;
    let names = [
        "a",
        "é/+%25",
        "a b",
        "emoji🙂",
        "new\nline",
        "q",
        "q/r",
        "'\"<&>",
    ];
    for name in names {
        let write = client
            .write_with(name, name)
            .user_metadata([("op".to_owned(), "1".to_owned())]);
        write.await.unwrap();
        assert_eq!(client.read(name).await.unwrap().to_vec(), name.as_bytes());
        let object = server.get("bucket", name).unwrap();
        assert_eq!(object.content, name);
        assert_eq!(object.metadata["op"], "1");
        let stat = client.stat(name).await.unwrap();
        assert_eq!(stat.etag().unwrap(), format!("\"{}\"", object.etag));
        assert_eq!(stat.user_metadata().unwrap().get("op"), Some("1"));
    }
    let mut sorted = names.map(str::to_owned);
    sorted.sort();
    assert_eq!(server.keys("bucket"), sorted);
    let listed: Vec<String> = client
        .lister_with("")
        .recursive(true)
        .await
        .unwrap()
        .map_ok(|entry| entry.path().to_owned())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(listed, sorted);
    let part = client.read_with("emoji🙂").range(1..4).await.unwrap();
    assert_eq!(part.to_vec(), b"moj");
    client.delete("a").await.unwrap();
    client.delete("a").await.unwrap();
    assert_eq!(kind(client.stat("a").await), ErrorKind::NotFound);
}

#[test]
fn a_test_without_a_runtime_can_have_a_server() {
    let server = S3Server::start_blocking();
    let address = format!("127.0.0.1:{}", server.port());
    assert!(std::net::TcpStream::connect(&address).is_ok());
    drop(server);
    assert!(std::net::TcpStream::connect(&address).is_err());
}

#[tokio::test]
async fn a_wrong_key_is_refused() {
    let (server, _) = server().await;
    let wrong = with_secret(&server, "another");
    assert_eq!(
        kind(wrong.write("a", "1").await),
        ErrorKind::PermissionDenied
    );
    let unsigned = Raw::new(&server).unsigned("PUT", "/bucket/a").await;
    assert_eq!(unsigned, 403);
    assert!(server.keys("bucket").is_empty());
}

#[tokio::test]
async fn conditions_of_writes_hold() {
    let (server, client) = server().await;
    let failed = ErrorKind::ConditionNotMatch;
    client
        .write_with("a", "1")
        .if_not_exists(true)
        .await
        .unwrap();
    let again = client.write_with("a", "2").if_not_exists(true).await;
    assert_eq!(kind(again), failed);
    let etag = format!("\"{}\"", server.get("bucket", "a").unwrap().etag);
    client.write_with("a", "2").if_match(&etag).await.unwrap();
    assert_eq!(
        kind(client.write_with("a", "3").if_match(&etag).await),
        failed
    );
    assert_eq!(
        kind(client.write_with("b", "3").if_match(&etag).await),
        failed
    );
    assert_eq!(server.get("bucket", "a").unwrap().content, "2");
    assert_eq!(server.keys("bucket"), ["a"]);
    assert_eq!(kind(client.read_with("a").if_match(&etag).await), failed);
}

#[tokio::test]
async fn conditions_are_412_or_404_as_a_server_is_told() {
    let strict = S3Server::builder().bucket("bucket").start().await;
    let (soft, _) = server().await;
    for (server, absent) in [(&strict, 404), (&soft, 412)] {
        let raw = Raw::new(server);
        let etag = server.put("bucket", "there", "1");
        let (match_, stale) = (("if-match", etag.as_str()), ("if-match", "\"00\""));
        let create = ("if-none-match", "*");
        let source = ("x-amz-copy-source", "bucket/there");
        assert_eq!(raw.send("PUT", "/bucket/there", &[create], "2").await, 412);
        assert_eq!(raw.send("PUT", "/bucket/there", &[stale], "2").await, 412);
        assert_eq!(
            raw.send("PUT", "/bucket/none", &[match_], "2").await,
            absent
        );
        assert_eq!(raw.send("DELETE", "/bucket/there", &[stale], "").await, 412);
        assert_eq!(
            raw.send("DELETE", "/bucket/none", &[match_], "").await,
            absent
        );
        assert_eq!(raw.send("GET", "/bucket/there", &[stale], "").await, 412);
        let unchanged = ("if-none-match", etag.as_str());
        assert_eq!(
            raw.send("GET", "/bucket/there", &[unchanged], "").await,
            304
        );
        let onto = [source, create];
        assert_eq!(raw.send("PUT", "/bucket/copy", &onto, "").await, 200);
        assert_eq!(raw.send("PUT", "/bucket/copy", &onto, "").await, 412);
        let changed = [source, ("x-amz-copy-source-if-match", "\"00\"")];
        assert_eq!(raw.send("PUT", "/bucket/copy2", &changed, "").await, 412);
        assert_eq!(
            raw.send("DELETE", "/bucket/there", &[match_], "").await,
            204
        );
        assert_eq!(server.keys("bucket"), ["copy"]);
    }
}

#[tokio::test]
async fn sums_are_checked_and_given_back() {
    let (server, _) = server().await;
    let raw = Raw::new(&server);
    // printf 1 | sha256sum | xxd -r -p | base64, and the same of md5sum.
    let (sha, md5) = (
        (
            "x-amz-checksum-sha256",
            "a4ayc/80/OGda4BO/1o/V0etpOqiLx1JwB5S3beHW0s=",
        ),
        ("content-md5", "xMpCOKC5I4INzFCab3WEmw=="),
    );
    assert_eq!(raw.send("PUT", "/bucket/a", &[sha, md5], "1").await, 200);
    assert_eq!(raw.send("PUT", "/bucket/a", &[sha], "2").await, 400);
    assert_eq!(raw.send("PUT", "/bucket/a", &[md5], "2").await, 400);
    assert_eq!(server.get("bucket", "a").unwrap().content, "1");
    let mode = [("x-amz-checksum-mode", "ENABLED")];
    let reply = raw.reply("HEAD", "/bucket/a", &mode, "").await;
    assert_eq!(reply.headers()[sha.0], sha.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_creators_wins() {
    let (server, client) = server().await;
    for round in 0..200 {
        let name = format!("race-{round}");
        let create = |text: &'static str| {
            let (client, name) = (client.clone(), name.clone());
            let write = async move { client.write_with(&name, text).if_not_exists(true).await };
            tokio::spawn(write)
        };
        let (a, b) = (create("a"), create("b"));
        let (a, b) = (a.await.unwrap(), b.await.unwrap());
        assert_ne!(a.is_ok(), b.is_ok(), "round {round}");
        let winner = if a.is_ok() { "a" } else { "b" };
        assert_eq!(server.get("bucket", &name).unwrap().content, winner);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_loses_nothing() {
    let (server, client) = server().await;
    server.put("bucket", "counter", "0");
    let count = |client: Operator| async move {
        let mut done = 0;
        while done < 50 {
            let etag = client.stat("counter").await.unwrap();
            let etag = etag.etag().unwrap().to_owned();
            let Ok(text) = client.read_with("counter").if_match(&etag).await else {
                continue;
            };
            let text = String::from_utf8(text.to_vec()).unwrap();
            let next = (text.parse::<u64>().unwrap() + 1).to_string();
            if client
                .write_with("counter", next)
                .if_match(&etag)
                .await
                .is_ok()
            {
                done += 1;
            }
        }
    };
    let tasks = [0; 3].map(|_| tokio::spawn(count(client.clone())));
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(server.get("bucket", "counter").unwrap().content, "150");
}

#[tokio::test]
async fn listings_have_pages_and_starts() {
    let (server, client) = server().await;
    for number in 0..25 {
        server.put("bucket", &format!("d/{number:02}"), "");
    }
    server.put("bucket", "e", "");
    let small = server.faults().page_size(4);
    let list = |start: &'static str| {
        let client = client.clone();
        async move {
            let lister = client.lister_with("").recursive(true).start_after(start);
            let entries: Vec<_> = lister.await.unwrap().try_collect().await.unwrap();
            entries
        }
    };
    server.reset_counts();
    assert_eq!(list("").await.len(), 26);
    assert_eq!(server.counts()["ListObjectsV2"], 7);
    assert_eq!(server.counts().len(), 1, "LIST pages and nothing else");
    assert_eq!(small.fired(), 7);
    let rest = list("d/20").await;
    let names: Vec<&str> = rest.iter().map(opendal::Entry::path).collect();
    assert_eq!(names, ["d/21", "d/22", "d/23", "d/24", "e"]);
    let top = client.list("").await.unwrap();
    let names: Vec<&str> = top.iter().map(opendal::Entry::path).collect();
    assert_eq!(names, ["d/", "e"]);
    assert!(server.record().lines()[0].starts_with("GET /bucket"));
}

#[tokio::test]
async fn uploads_in_parts() {
    let (server, client) = server().await;
    let part = vec![7_u8; 5 << 20];
    let mut writer = client.writer_with("big").if_not_exists(true).await.unwrap();
    writer.write(part.clone()).await.unwrap();
    writer.write(part.clone()).await.unwrap();
    writer.write("end").await.unwrap();
    let uploads = server.uploads("bucket");
    assert_eq!(uploads.len(), 1);
    let raw = Raw::new(&server);
    let query = format!("/bucket/big?uploadId={}", uploads[0].id);
    let listed = raw.text("GET", &query).await;
    assert!(listed.contains("<PartNumber>1</PartNumber>"), "{listed}");
    let listed = raw.text("GET", "/bucket?uploads").await;
    assert!(listed.contains(&uploads[0].id), "{listed}");
    writer.close().await.unwrap();
    let object = server.get("bucket", "big").unwrap();
    assert!(object.etag.ends_with("-3"), "{}", object.etag);
    assert_eq!(object.content.len(), 2 * part.len() + 3);
    assert!(server.uploads("bucket").is_empty());

    let mut writer = client.writer_with("big").if_not_exists(true).await.unwrap();
    writer.write(part.clone()).await.unwrap();
    writer.write(part).await.unwrap();
    assert_eq!(kind(writer.close().await), ErrorKind::ConditionNotMatch);
    assert_eq!(server.get("bucket", "big").unwrap().etag, object.etag);
}

#[tokio::test]
async fn parts_can_be_copied_and_uploads_aborted() {
    let server = S3Server::builder()
        .bucket("bucket")
        .min_part_size(0)
        .start()
        .await;
    server.put("bucket", "from", "0123456789");
    let raw = Raw::new(&server);
    raw.send("POST", "/bucket/to?uploads", &[], "").await;
    let id = server.uploads("bucket")[0].id.clone();
    for (number, range) in [(1, "bytes=8-9"), (2, "bytes=0-1")] {
        let path = format!("/bucket/to?partNumber={number}&uploadId={id}");
        let source = [
            ("x-amz-copy-source", "bucket/from"),
            ("x-amz-copy-source-range", range),
        ];
        assert_eq!(raw.send("PUT", &path, &source, "").await, 200);
    }
    let part = |number: i32| {
        let etag = server.uploads("bucket")[0].parts[&number].etag.clone();
        format!("<Part><PartNumber>{number}</PartNumber><ETag>\"{etag}\"</ETag></Part>")
    };
    let body = |parts: &str| format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    let path = format!("/bucket/to?uploadId={id}");
    let wrong = body(&format!("{}{}", part(2), part(1)));
    assert_eq!(raw.send("POST", &path, &[], &wrong).await, 400);
    let right = body(&format!("{}{}", part(1), part(2)));
    let create = [("if-none-match", "*")];
    assert_eq!(raw.send("POST", &path, &create, &right).await, 200);
    assert_eq!(server.get("bucket", "to").unwrap().content, "8901");
    raw.send("POST", "/bucket/to?uploads", &[], "").await;
    let id = server.uploads("bucket")[0].id.clone();
    let path = format!("/bucket/to?uploadId={id}");
    assert_eq!(raw.send("DELETE", &path, &[], "").await, 204);
    assert_eq!(raw.send("DELETE", &path, &[], "").await, 404);
    assert!(server.uploads("bucket").is_empty());
}

#[tokio::test]
async fn every_ignored_condition_is_ignored() {
    let (server, client) = server().await;
    server.put("bucket", "a", "1");
    let ignored = server.faults().ignore_conditions(Conditional::PutAbsent);
    let write = client.write_with("a", "2").if_not_exists(true);
    write.await.unwrap();
    assert_eq!(ignored.fired(), 1);
    assert_eq!(
        kind(client.write_with("a", "3").if_match("\"0\"").await),
        ErrorKind::ConditionNotMatch
    );
    ignored.remove();
    assert!(
        client
            .write_with("a", "3")
            .if_not_exists(true)
            .await
            .is_err()
    );
    let all = server.faults().ignore_all_conditions();
    client.write_with("a", "4").if_match("\"0\"").await.unwrap();
    let raw = Raw::new(&server);
    let stale = [("if-match", "\"0\"")];
    assert_eq!(raw.send("DELETE", "/bucket/a", &stale, "").await, 204);
    assert_eq!(all.fired(), 2);
    all.remove();
    server.faults().refuse_conditions(Conditional::DeleteMatch);
    assert_eq!(raw.send("DELETE", "/bucket/a", &stale, "").await, 501);
    assert_eq!(raw.send("DELETE", "/bucket/a", &[], "").await, 204);
}

#[tokio::test]
async fn requests_are_refused_as_planned() {
    let (server, client) = server().await;
    for refusal in [
        Refusal::slow_down(),
        Refusal::internal_error(),
        Refusal::access_denied(),
        Refusal::time_too_skewed(),
        Refusal::no_such_bucket(),
    ] {
        let code = refusal.code.clone();
        let puts = Which::operation("PutObject");
        let fault = server.faults().refuse(puts, When::Every(2), refusal);
        client.write("a", "1").await.unwrap();
        let error = client.write("a", "2").await.unwrap_err();
        assert!(error.to_string().contains(&code), "{error}");
        assert_eq!((fault.met(), fault.fired()), (2, 1));
        assert_eq!(server.get("bucket", "a").unwrap().content, "1");
        server.faults().clear();
    }
    let fault = server.faults().refuse_operation("CopyObject");
    let source = [("x-amz-copy-source", "bucket/a")];
    assert_eq!(
        Raw::new(&server)
            .send("PUT", "/bucket/b", &source, "")
            .await,
        501
    );
    assert_eq!(fault.fired(), 1);
}

#[tokio::test]
async fn replies_and_requests_are_lost() {
    let (server, client) = server().await;
    let fault = server
        .faults()
        .lose_reply(Which::operation("PutObject"), When::Next(1));
    let lost = client
        .write_with("a", "1")
        .if_not_exists(true)
        .await
        .unwrap_err();
    assert!(lost.is_temporary(), "{lost}");
    assert_eq!(server.get("bucket", "a").unwrap().content, "1");
    assert_eq!(fault.fired(), 1);
    let again = client.write_with("a", "1").if_not_exists(true).await;
    assert_eq!(kind(again), ErrorKind::ConditionNotMatch);
    let fault = server
        .faults()
        .lose_request(Which::any().with_path("/b"), When::Always);
    assert!(client.write("b", "1").await.is_err());
    assert!(server.get("bucket", "b").is_none());
    assert!(fault.fired() >= 1);
}

#[tokio::test]
async fn bodies_are_cut() {
    let (server, client) = server().await;
    server.put("bucket", "a", vec![1_u8; 1 << 20]);
    let fault = server
        .faults()
        .cut_body(Which::operation("GetObject"), When::Every(2));
    assert_eq!(client.read("a").await.unwrap().len(), 1 << 20);
    assert_eq!(fault.fired(), 0);
    let mut stream = client
        .reader("a")
        .await
        .unwrap()
        .into_bytes_stream(..)
        .await
        .unwrap();
    let (mut seen, mut failed) = (0, false);
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) => seen += chunk.len(),
            Err(_) => {
                failed = true;
                break;
            }
        }
    }
    assert!(failed && seen <= 1 << 19, "{seen}");
    assert_eq!(fault.fired(), 1);
}

#[tokio::test]
async fn listings_lie_as_planned() {
    let (server, client) = server().await;
    for name in ["a", "b", "c", "d"] {
        server.put("bucket", name, "");
    }
    let names = || async {
        let entries = client.list("").await?;
        Ok::<_, opendal::Error>(
            entries
                .iter()
                .map(|it| it.path().to_owned())
                .collect::<String>(),
        )
    };
    let stale = server.faults().stale_listings(When::Always);
    server.delete("bucket", "a");
    server.put("bucket", "e", "");
    assert_eq!(names().await.unwrap(), "abcd");
    assert_eq!(stale.fired(), 1);
    stale.remove();
    assert_eq!(names().await.unwrap(), "bcde");
    server.faults().page_size(2);
    let early = server.faults().end_listings_early(When::Nth(1));
    assert_eq!(names().await.unwrap(), "bc");
    assert_eq!(early.fired(), 1);
    early.remove();
    let list = Which::operation("ListObjectsV2");
    let fault = server
        .faults()
        .refuse(list, When::From(2), Refusal::internal_error());
    assert!(names().await.is_err());
    assert_eq!(fault.fired(), 1);
}

#[tokio::test]
async fn an_editor_comes_between_two_requests() {
    let (server, client) = server().await;
    server.put("bucket", "a", "old");
    let store = server.store();
    let edit = Action::after(move |_| {
        store.put("bucket", "a", "new");
    });
    let fault = server
        .faults()
        .add(Which::operation("HeadObject"), When::Nth(1), edit);
    let stat = client.stat("a").await.unwrap();
    let read = client.read_with("a").if_match(stat.etag().unwrap()).await;
    assert_eq!(kind(read), ErrorKind::ConditionNotMatch);
    assert_eq!(client.read("a").await.unwrap().to_vec(), b"new");
    assert_eq!(fault.fired(), 1);
}

#[tokio::test]
async fn requests_wait_as_planned() {
    let (server, client) = server().await;
    let (gate, fault) = server
        .faults()
        .hold(Which::operation("PutObject"), When::Always);
    let writes = [0, 1, 2].map(|number| {
        let client = client.clone();
        tokio::spawn(async move { client.write(&number.to_string(), "1").await })
    });
    let deadline = std::time::Instant::now() + Duration::from_secs(120);
    while fault.fired() < 3 && std::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(server.keys("bucket").is_empty());
    gate.open();
    for write in writes {
        write.await.unwrap().unwrap();
    }
    assert_eq!(server.record().most_at_once(), 3);
    let slow = server
        .faults()
        .delay(Which::any(), When::Always, Duration::from_millis(50));
    let start = std::time::Instant::now();
    client.stat("0").await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(50));
    assert_eq!(slow.fired(), 1);
}

#[tokio::test]
async fn many_are_deleted_at_once_and_old_listings_work() {
    let (server, _) = server().await;
    for name in ["a/1", "a/2", "b"] {
        server.put("bucket", name, name);
    }
    let raw = Raw::new(&server);
    let listed = raw.text("GET", "/bucket?delimiter=%2F&max-keys=1").await;
    assert!(listed.contains("<Prefix>a/</Prefix>"), "{listed}");
    assert!(listed.contains("<NextMarker>a/</NextMarker>"), "{listed}");
    let listed = raw.text("GET", "/bucket?delimiter=%2F&marker=a%2F").await;
    assert!(
        listed.contains("<Key>b</Key>") && !listed.contains("a/1"),
        "{listed}"
    );
    let body = "<Delete><Object><Key>a/1</Key></Object><Object><Key>none</Key></Object>\
        <Object><Key>b</Key><ETag>\"00\"</ETag></Object></Delete>";
    let reply = raw.reply("POST", "/bucket?delete", &[], body).await;
    assert_eq!(reply.status(), 200);
    let text = reply.text().await.unwrap();
    assert!(text.contains("<Code>PreconditionFailed</Code>"), "{text}");
    assert_eq!(server.keys("bucket"), ["a/2", "b"]);
    assert_eq!(server.counts()["DeleteObjects"], 1);
    assert_eq!(server.counts()["ListObjects"], 2);
}

#[tokio::test]
async fn conditions_of_copies_and_uploads_can_be_ignored_or_refused() {
    let server = S3Server::builder()
        .bucket("bucket")
        .min_part_size(0)
        .start()
        .await;
    server.put("bucket", "from", "1");
    server.put("bucket", "to", "2");
    let raw = Raw::new(&server);
    let copy = [("x-amz-copy-source", "bucket/from"), ("if-none-match", "*")];
    let refused = server.faults().refuse_conditions(Conditional::Copy);
    assert_eq!(raw.send("PUT", "/bucket/to", &copy, "").await, 501);
    refused.remove();
    assert_eq!(raw.send("PUT", "/bucket/to", &copy, "").await, 412);
    let ignored = server.faults().ignore_conditions(Conditional::Copy);
    assert_eq!(raw.send("PUT", "/bucket/to", &copy, "").await, 200);
    assert_eq!(server.get("bucket", "to").unwrap().content, "1");
    assert_eq!((refused.fired(), ignored.fired()), (1, 1));

    raw.send("POST", "/bucket/to?uploads", &[], "").await;
    let id = server.uploads("bucket")[0].id.clone();
    let path = format!("/bucket/to?partNumber=1&uploadId={id}");
    assert_eq!(raw.send("PUT", &path, &[], "part").await, 200);
    let body = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part>\
        </CompleteMultipartUpload>";
    let path = format!("/bucket/to?uploadId={id}");
    let create = [("if-none-match", "*")];
    assert_eq!(raw.send("POST", &path, &create, body).await, 412);
    assert_eq!(server.uploads("bucket").len(), 1, "it can be tried again");
    let ignored = server.faults().ignore_conditions(Conditional::Complete);
    assert_eq!(raw.send("POST", &path, &create, body).await, 200);
    assert_eq!(server.get("bucket", "to").unwrap().content, "part");
    assert_eq!(ignored.fired(), 1);
}

#[tokio::test]
async fn directives_of_copies_are_followed() {
    let (server, _) = server().await;
    server.put_with("bucket", "from", "1", &[("op", "old")]);
    let raw = Raw::new(&server);
    let source = ("x-amz-copy-source", "bucket/from");
    assert_eq!(raw.send("PUT", "/bucket/kept", &[source], "").await, 200);
    let new = [
        source,
        ("x-amz-meta-op", "new"),
        ("x-amz-metadata-directive", "REPLACE"),
    ];
    assert_eq!(raw.send("PUT", "/bucket/from", &[source], "").await, 400);
    assert_eq!(raw.send("PUT", "/bucket/from", &new, "").await, 200);
    let op = |key: &str| server.get("bucket", key).unwrap().metadata["op"].clone();
    assert_eq!((op("kept"), op("from")), ("old".into(), "new".into()));
}

#[test]
fn a_server_outlives_the_runtime_in_which_it_was_started() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let (server, _) = runtime().block_on(server());
    let client = operator(&server);
    runtime().block_on(async { client.write("a", "1").await.unwrap() });
    assert_eq!(server.keys("bucket"), ["a"]);
}
