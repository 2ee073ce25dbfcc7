//! Objects that one request cannot copy.

use super::*;

const LIMIT: u64 = 6 << 20;

async fn copier() -> (S3Server, Client, Bytes, String) {
    let server = S3Server::builder()
        .bucket("bucket")
        .max_copy(LIMIT as usize);
    let server = server.start().await;
    let all = content(13 * MIB + 3);
    let notes = [("mtime", "1.5"), ("op", "run-1")];
    let tag = server
        .store()
        .put_with("bucket", "p/from ü", all.clone(), &notes);
    let copies = Copies {
        most: LIMIT,
        part: 5 << 20,
    };
    let client = client(&server).copying(copies);
    (server, client, all, format!("\"{tag}\""))
}

fn nothing_came(server: &S3Server) {
    assert!(server.store().get("bucket", "p/to").is_none());
    assert!(
        server.store().uploads("bucket").is_empty(),
        "parts are left"
    );
}

#[tokio::test]
async fn a_large_object_is_copied_part_by_part_with_its_notes() {
    let (server, client, all, tag) = copier().await;
    for given in [Some(&*tag), None] {
        let copied = client.copy_within("from ü", given, "to", &Condition::Absent);
        let copied = copied.await.unwrap();
        let object = server.store().get("bucket", "p/to").unwrap();
        assert_eq!(object.content, all);
        assert_eq!(*copied, format!("\"{}\"", object.etag));
        assert_eq!(object.metadata["mtime"], "1.5");
        assert_eq!(object.metadata["op"], "run-1");
        assert!(server.store().uploads("bucket").is_empty());
        server.store().delete("bucket", "p/to");
    }
    assert_eq!(server.record().count("UploadPartCopy"), 6);
}

#[tokio::test]
async fn conditions_hold_for_copies_in_parts() {
    let (server, client, all, tag) = copier().await;
    let kind = |outcome: crate::remote::store::Outcome<Box<str>>| {
        let fault = outcome.unwrap_err();
        assert!(!fault.unclear, "{fault:?}");
        fault.error.kind()
    };
    let stale = client.copy_within("from ü", Some("\"stale\""), "to", &Condition::Absent);
    assert_eq!(kind(stale.await), ErrorKind::Changed);
    let gone = client.copy_within("gone", None, "to", &Condition::Absent);
    assert_eq!(kind(gone.await), ErrorKind::NotFound);
    nothing_came(&server);
    let theirs = server.store().put("bucket", "p/to", "theirs");
    for condition in [Condition::Absent, Condition::Is("\"stale\"".into())] {
        let refused = client.copy_within("from ü", Some(&tag), "to", &condition);
        assert_eq!(kind(refused.await), ErrorKind::Changed);
        assert_eq!(
            server.store().get("bucket", "p/to").unwrap().content,
            "theirs"
        );
        assert!(server.store().uploads("bucket").is_empty());
    }
    let condition = Condition::Is(format!("\"{theirs}\"").into());
    let replaced = client.copy_within("from ü", Some(&tag), "to", &condition);
    replaced.await.unwrap();
    assert_eq!(server.store().get("bucket", "p/to").unwrap().content, all);
}

/// Whichever part comes after an editor: no object is made of two versions.
#[tokio::test]
async fn a_source_that_changes_between_parts_is_not_copied() {
    for (operation, number) in [
        ("HeadObject", 1),
        ("CreateMultipartUpload", 1),
        ("UploadPartCopy", 1),
        ("UploadPartCopy", 2),
    ] {
        let (server, client, all, tag) = copier().await;
        let store = server.store();
        let mut theirs = all.to_vec();
        theirs.reverse();
        let theirs = Bytes::from(theirs);
        let editor = Action::after(move |_| {
            store.put("bucket", "p/from ü", theirs.clone());
        });
        let which = Which::operation(operation);
        let fault = server.faults().add(which, When::Nth(number), editor);
        let copied = client.copy_within("from ü", Some(&tag), "to", &Condition::Absent);
        match copied.await {
            // All parts were on their way before the editor came.
            Ok(_) => assert_eq!(server.store().get("bucket", "p/to").unwrap().content, all),
            Err(fault) => {
                assert_eq!(fault.error.kind(), ErrorKind::Changed, "{fault:?}");
                nothing_came(&server);
            }
        }
        assert_eq!(fault.fired(), 1, "{operation}");
    }
}

#[tokio::test]
async fn parts_of_a_copy_are_tried_again_and_lost_replies_are_told() {
    let (server, client, all, tag) = copier().await;
    let busy = Which::operation("UploadPartCopy");
    let busy = server
        .faults()
        .refuse(busy, When::Every(2), Refusal::slow_down());
    let copy = async || {
        client
            .copy_within("from ü", Some(&tag), "to", &Condition::Absent)
            .await
    };
    copy().await.unwrap();
    assert!(busy.fired() > 0);
    assert_eq!(server.store().get("bucket", "p/to").unwrap().content, all);
    server.store().delete("bucket", "p/to");
    let last = Which::operation("CompleteMultipartUpload");
    let lost = server.faults().lose_reply(last, When::Next(1));
    let fault = copy().await.unwrap_err();
    assert!(fault.unclear, "{fault:?}");
    assert_eq!(lost.fired(), 1);
    assert_eq!(server.store().get("bucket", "p/to").unwrap().content, all);
    server.store().delete("bucket", "p/to");
    // Nothing is seen before the last request: those before leave no doubt.
    let first = Which::operation("CreateMultipartUpload");
    server.faults().lose_reply(first, When::Next(1));
    let fault = copy().await.unwrap_err();
    assert!(!fault.unclear, "{fault:?}");
    assert!(server.store().get("bucket", "p/to").is_none());
}
