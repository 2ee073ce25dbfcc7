//! Conditions, large files, copies.

use super::*;

fn is(tag: Option<&str>) -> Condition {
    Condition::Is(tag.unwrap().into())
}

#[tokio::test]
async fn conditions_are_the_servers() {
    let (server, store) = server().await;
    let first = put(&store, "f", "1", &Condition::Absent).await.unwrap();
    assert_eq!(
        kind(put(&store, "f", "2", &Condition::Absent).await),
        ErrorKind::Changed
    );
    let second = put(&store, "f", "2", &is(first.tag.as_deref()))
        .await
        .unwrap();
    let stale = is(first.tag.as_deref());
    let fault = put(&store, "f", "3", &stale).await.unwrap_err();
    assert_eq!(
        (fault.error.kind(), fault.again, fault.unclear),
        (ErrorKind::Changed, Again::Never, false)
    );
    assert_eq!(
        kind(put(&store, "gone", "3", &stale).await),
        ErrorKind::Changed
    );
    assert_eq!(
        kind(store.remove(&path("f"), &stale).await),
        ErrorKind::Changed
    );
    assert_eq!(server.get("bucket", "pre/fix/f").unwrap().content, "2");
    store
        .remove(&path("f"), &is(second.tag.as_deref()))
        .await
        .unwrap();
    assert_eq!(
        kind(store.remove(&path("f"), &is(second.tag.as_deref())).await),
        ErrorKind::Changed
    );
    store.remove(&path("f"), &Condition::None).await.unwrap();
}

#[tokio::test]
async fn of_many_creations_one_wins() {
    let (_server, store) = server().await;
    let tries = (0..16).map(|number| {
        let store = &store;
        async move {
            put(store, "race", &number.to_string(), &Condition::Absent)
                .await
                .is_ok()
        }
    });
    let won = futures::future::join_all(tries).await;
    assert_eq!(won.into_iter().filter(|won| *won).count(), 1);
}

#[tokio::test]
async fn a_lost_reply_is_unclear_and_a_lost_request_too() {
    let (server, store) = server().await;
    let lost = server
        .faults()
        .lose_reply(Which::operation("PutObject"), When::Always);
    let fault = put(&store, "f", "1", &Condition::Absent).await.unwrap_err();
    assert!(
        fault.unclear && fault.again == Again::After(None),
        "{fault:?}"
    );
    assert_eq!(lost.fired(), 1, "nothing is sent twice");
    lost.remove();
    // What the engine then looks for.
    let found = store.stat(&path("f")).await.unwrap().unwrap();
    assert_eq!(found.operation.as_deref(), Some("op-1"));
    server
        .faults()
        .lose_request(Which::operation("PutObject"), When::Always);
    assert!(
        put(&store, "f", "2", &Condition::None)
            .await
            .unwrap_err()
            .unclear
    );
}

#[tokio::test]
async fn large_files_come_in_parts_under_the_condition_at_the_end() {
    let (server, store) = server().await;
    let content = noise(17 * 1024 * 1024 + 5);
    let found = upload(&store, "big", &content, &Condition::Absent)
        .await
        .unwrap();
    let object = server.get("bucket", "pre/fix/big").unwrap();
    assert!(object.content == content, "other content");
    assert_eq!(object.metadata["mtime"], "1700000000.123456789");
    let stat = store.stat(&path("big")).await.unwrap().unwrap();
    assert_eq!(
        (found.tag.as_deref(), found.size),
        (stat.tag.as_deref(), stat.size)
    );
    assert_eq!(stat.operation.as_deref(), Some("op-2"));
    assert_eq!(keys(&store, "", None).await[0].found.tag, stat.tag);
    assert_eq!(
        kind(upload(&store, "big", &content, &Condition::Absent).await),
        ErrorKind::Changed
    );
    let stale = Condition::Is("\"0123\"".into());
    assert_eq!(
        kind(upload(&store, "big", &content, &stale).await),
        ErrorKind::Changed
    );
    assert!(
        server.uploads("bucket").is_empty(),
        "what was given up is cleaned"
    );
    upload(&store, "big", &content, &is(stat.tag.as_deref()))
        .await
        .unwrap();
}

#[tokio::test]
async fn somebody_who_comes_during_an_upload_is_not_overwritten() {
    let (server, store) = server().await;
    let (bucket, content) = (server.store(), noise(11 * 1024 * 1024));
    let editor = Action::before(move |_| {
        bucket.put("bucket", "pre/fix/big", "the editor's");
    });
    let came = server.faults().add(
        Which::operation("CompleteMultipartUpload"),
        When::Nth(1),
        editor,
    );
    assert_eq!(
        kind(upload(&store, "big", &content, &Condition::Absent).await),
        ErrorKind::Changed
    );
    assert_eq!(came.fired(), 1);
    assert_eq!(
        server.get("bucket", "pre/fix/big").unwrap().content,
        "the editor's"
    );
}

#[tokio::test]
async fn nothing_is_seen_of_a_large_file_before_it_is_committed() {
    let (server, store) = server().await;
    let request = UploadRequest {
        path: &path("big"),
        size: 11 * 1024 * 1024,
        attributes: &attributes("op"),
        condition: &Condition::None,
        scratch: &path(".wl/s"),
    };
    let mut upload = store.upload(request).await.unwrap();
    upload.write(noise(11 * 1024 * 1024)).await.unwrap();
    upload.finish().await.unwrap();
    assert_eq!(server.keys("bucket"), [""; 0]);
    upload.commit().await.unwrap();
    assert_eq!(server.keys("bucket"), ["pre/fix/big"]);
}

#[tokio::test]
async fn a_part_that_fails_for_a_moment_is_sent_again() {
    let (server, store) = server().await;
    let content = noise(22 * 1024 * 1024);
    let slow = server.faults().refuse(
        Which::operation("UploadPart"),
        When::Nth(2),
        Refusal::slow_down(),
    );
    upload(&store, "big", &content, &Condition::None)
        .await
        .unwrap();
    assert_eq!(slow.fired(), 1);
    assert!(
        server.get("bucket", "pre/fix/big").unwrap().content == content,
        "other content"
    );
}

#[tokio::test]
async fn a_commit_can_be_tried_again() {
    let (server, store) = server().await;
    let content = noise(11 * 1024 * 1024);
    let request = UploadRequest {
        path: &path("big"),
        size: content.len() as u64,
        attributes: &attributes("op"),
        condition: &Condition::Absent,
        scratch: &path(".wl/s"),
    };
    let mut upload = store.upload(request).await.unwrap();
    upload.write(content.clone()).await.unwrap();
    upload.finish().await.unwrap();
    let planned = server.faults().refuse(
        Which::operation("CompleteMultipartUpload"),
        When::Nth(1),
        Refusal::slow_down(),
    );
    let fault = upload.commit().await.err().unwrap();
    assert!(matches!(fault.again, Again::After(_)));
    upload.commit().await.unwrap();
    assert_eq!(planned.fired(), 1);
    assert!(
        server.get("bucket", "pre/fix/big").unwrap().content == content,
        "other content"
    );
}

#[tokio::test]
async fn copies_take_the_notes_and_are_of_the_version_that_is_meant() {
    let (server, store) = server().await;
    let first = put(&store, "f", "1", &Condition::None).await.unwrap();
    let tag = first.tag.as_deref();
    let copied = store
        .copy(&path("f"), tag, &path("to/g"), true)
        .await
        .unwrap();
    let found = store.stat(&path("to/g")).await.unwrap().unwrap();
    assert_eq!((copied.tag, copied.size), (found.tag, 1));
    assert_eq!(found.noted.mtime, Some(MTIME));
    assert_eq!(
        kind(store.copy(&path("f"), tag, &path("to/g"), true).await),
        ErrorKind::Changed
    );
    store
        .copy(&path("f"), tag, &path("to/g"), false)
        .await
        .unwrap();
    assert_eq!(
        kind(
            store
                .copy(&path("f"), Some("\"old\""), &path("h"), true)
                .await
        ),
        ErrorKind::Changed
    );
    assert_eq!(
        kind(store.copy(&path("gone"), None, &path("h"), true).await),
        ErrorKind::NotFound
    );
    assert!(server.get("bucket", "pre/fix/h").is_none());
}

#[tokio::test]
async fn a_source_that_changes_between_look_and_copy_is_not_copied() {
    let (server, store) = server().await;
    let first = put(&store, "f", "1", &Condition::None).await.unwrap();
    let bucket = server.store();
    let editor = Action::after(move |_| {
        bucket.put("bucket", "pre/fix/f", "the editor's");
    });
    // Our look is the first, opendal's the second.
    let came = server
        .faults()
        .add(Which::operation("HeadObject"), When::Nth(1), editor);
    let outcome = store
        .copy(&path("f"), first.tag.as_deref(), &path("g"), true)
        .await;
    assert_eq!(kind(outcome), ErrorKind::Changed);
    assert_eq!(came.fired(), 1);
    assert!(server.get("bucket", "pre/fix/g").is_none());
}

/// What is there stays, whatever its name; only what no listing shows goes.
#[tokio::test]
async fn only_a_folder_that_has_emptied_is_cleared_away() {
    let plain = S3Server::builder().bucket("bucket");
    for (keeps, server) in [
        (false, plain.clone()),
        (true, plain.keeps_emptied_folders()),
    ] {
        let server = server.start().await;
        let params = params(&server, "s3://bucket/pre/fix", server.secret_key());
        let store = direct_store_of(&params).unwrap();
        for (key, content) in [
            ("marker/", ""),
            ("odd/", "content"),
            ("full/x", "1"),
            ("file", "1"),
        ] {
            server.put("bucket", &format!("pre/fix/{key}"), content);
        }
        server.put("bucket", "pre/fix/emptied/r/x", "1");
        server.delete("bucket", "pre/fix/emptied/r/x");
        let before = server.keys("bucket");
        for name in ["marker", "odd", "full", "file", "nothing", "full/x"] {
            assert!(!store.clear_emptied(&path(name)).await.unwrap(), "{name}");
        }
        let create = put(&store, "emptied", "2", &Condition::Absent).await;
        assert_eq!(create.is_err(), keeps, "{create:?}");
        assert_eq!(store.clear_emptied(&path("emptied")).await.unwrap(), keeps);
        assert!(!store.clear_emptied(&path("emptied")).await.unwrap());
        if keeps {
            put(&store, "emptied", "2", &Condition::Absent)
                .await
                .unwrap();
        }
        assert!(server.delete("bucket", "pre/fix/emptied"));
        assert_eq!(server.keys("bucket"), before);
    }
}
