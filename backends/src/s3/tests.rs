//! Against a server in this process.

use bytes::Bytes;
use wl_core::storage::ErrorKind;
use wl_test_servers::faults::{Action, Refusal, When, Which};
use wl_test_servers::s3::S3Server;

use super::{Client, Copies, CopyRequest, Endpoint, Keys, MultipartUpload, Parts};
use crate::opendal::patient;
use crate::remote::store::{Again, Attributes, Condition, Upload};

mod copies;

const MIB: usize = 1 << 20;

async fn server() -> S3Server {
    S3Server::builder()
        .bucket("bucket")
        .bucket("another")
        .start()
        .await
}

fn client(server: &S3Server) -> Client {
    let endpoint = Endpoint {
        url: server.endpoint(),
        bucket: "bucket".into(),
        prefix: "p/".into(),
        virtual_host: false,
        region: server.region().into(),
    };
    let keys = Keys::Fixed {
        access: server.access_key().into(),
        secret: server.secret_key().into(),
        session: None,
    };
    Client::new(endpoint, keys, patient().unwrap())
}

fn content(size: usize) -> Bytes {
    (0..size).map(|at| (at / 7 + at / 4096) as u8).collect()
}

async fn begin(client: &Client, size: usize, condition: Condition) -> MultipartUpload {
    let metadata = [("mtime".to_owned(), "1.5".to_owned())];
    let attributes = Attributes::default();
    let upload = MultipartUpload::begin(
        client.clone(),
        "d/ü +%",
        size as u64,
        &attributes,
        &metadata,
        condition,
        Parts::new(2),
    );
    upload.await.unwrap()
}

async fn feed(upload: &mut MultipartUpload, content: &Bytes) {
    for piece in 0..content.len().div_ceil(MIB) {
        let end = content.len().min((piece + 1) * MIB);
        upload.write(content.slice(piece * MIB..end)).await.unwrap();
    }
}

#[tokio::test]
async fn a_large_file_arrives_whole_with_its_notes() {
    let (server, all) = (server().await, content(20 * MIB + 5));
    let client = client(&server);
    let mut upload = begin(&client, all.len(), Condition::Absent).await;
    feed(&mut upload, &all).await;
    upload.finish().await.unwrap();
    assert!(server.store().get("bucket", "p/d/ü +%").is_none());
    let found = upload.commit().await.unwrap();
    let object = server.store().get("bucket", "p/d/ü +%").unwrap();
    assert_eq!(object.content, all);
    assert_eq!(found.tag.as_deref(), Some(&*format!("\"{}\"", object.etag)));
    assert_eq!(object.metadata["mtime"], "1.5");
    assert!(server.store().uploads("bucket").is_empty());
}

#[tokio::test]
async fn a_condition_that_does_not_hold_changes_nothing() {
    let (server, all) = (server().await, content(9 * MIB));
    let client = client(&server);
    server.store().put("bucket", "p/d/ü +%", "theirs");
    for condition in [Condition::Absent, Condition::Is("\"stale\"".into())] {
        let mut upload = begin(&client, all.len(), condition).await;
        feed(&mut upload, &all).await;
        upload.finish().await.unwrap();
        let fault = upload.commit().await.unwrap_err();
        assert_eq!(fault.error.kind(), ErrorKind::Changed, "{fault:?}");
        assert!(!fault.unclear);
        upload.abort().await.unwrap();
    }
    assert_eq!(
        server.store().get("bucket", "p/d/ü +%").unwrap().content,
        "theirs"
    );
    assert!(server.store().uploads("bucket").is_empty());
}

#[tokio::test]
async fn an_upload_that_was_cut_off_is_carried_on() {
    let (server, all) = (server().await, content(72 * MIB));
    let client = client(&server);
    let mut upload = begin(&client, all.len(), Condition::Absent).await;
    feed(&mut upload, &all.slice(..40 * MIB)).await;
    upload.abort().await.unwrap();
    let there: usize = server.store().uploads("bucket")[0].parts.len();
    assert!(there >= 3, "{there} parts arrived");
    drop(upload);
    server.reset_counts();

    let mut upload = begin(&client, all.len(), Condition::Absent).await;
    feed(&mut upload, &all).await;
    upload.finish().await.unwrap();
    upload.commit().await.unwrap();
    // A part that was on its way when the upload was cut off may be counted on either side.
    let sent = server.record().count("UploadPart");
    assert!(sent < 9, "{sent} parts were sent, {there} were there");
    assert_eq!(
        server.store().get("bucket", "p/d/ü +%").unwrap().content,
        all
    );
    assert_eq!(server.store().keys("bucket"), ["p/d/ü +%"]);
    assert!(server.store().uploads("bucket").is_empty());
}

#[tokio::test]
async fn an_upload_with_other_notes_is_not_carried_on() {
    let (server, all) = (server().await, content(64 * MIB));
    let client = client(&server);
    let note = |mtime: &str| [("mtime".to_owned(), mtime.to_owned())];
    for mtime in ["1.5", "2.5"] {
        let (metadata, attributes) = (note(mtime), Attributes::default());
        let upload = MultipartUpload::begin(
            client.clone(),
            "f",
            all.len() as u64,
            &attributes,
            &metadata,
            Condition::Absent,
            Parts::new(2),
        );
        let mut upload = upload.await.unwrap();
        feed(&mut upload, &all).await;
        upload.finish().await.unwrap();
        match mtime {
            "1.5" => upload.abort().await.unwrap(),
            _ => drop(upload.commit().await.unwrap()),
        }
    }
    let object = server.store().get("bucket", "p/f").unwrap();
    assert_eq!(object.metadata["mtime"], "2.5");
    assert!(server.store().uploads("bucket").is_empty());
}

#[tokio::test]
async fn who_may_not_ask_for_parts_begins_anew() {
    let (server, all) = (server().await, content(64 * MIB));
    let client = client(&server);
    let which = Which::operation("ListParts");
    let refusal = Refusal::access_denied();
    server.faults().refuse(which, When::Always, refusal);
    for run in 0..2 {
        let mut upload = begin(&client, all.len(), Condition::Absent).await;
        feed(&mut upload, &all).await;
        upload.finish().await.unwrap();
        match run {
            0 => upload.abort().await.unwrap(),
            _ => drop(upload.commit().await.unwrap()),
        }
    }
    assert_eq!(
        server.store().get("bucket", "p/d/ü +%").unwrap().content,
        all
    );
}

/// Sends until the upload says that it was begun with another content.
async fn refused_as_another(upload: &mut MultipartUpload, content: &Bytes) {
    for at in (0..content.len()).step_by(MIB) {
        let piece = content.slice(at..content.len().min(at + MIB));
        if let Err(fault) = upload.write(piece).await {
            assert_eq!(fault.error.kind(), ErrorKind::Busy, "{fault:?}");
            return;
        }
    }
    panic!("all of it was taken");
}

#[tokio::test]
async fn two_runs_that_send_to_one_upload_do_not_mix() {
    let (server, ours) = (server().await, content(64 * MIB));
    let theirs = Bytes::from(vec![7; 64 * MIB]);
    let one = client(&server);
    let mut upload = begin(&one, ours.len(), Condition::Absent).await;
    feed(&mut upload, &ours).await;
    upload.finish().await.unwrap();
    // Another machine finds the note and would carry on what is not dead.
    let other = client(&server);
    let mut second = begin(&other, theirs.len(), Condition::Absent).await;
    refused_as_another(&mut second, &theirs).await;
    // Neither is put together; whoever comes next begins anew, and only one content is ever seen.
    upload.commit().await.unwrap_err();
    assert!(server.store().get("bucket", "p/d/ü +%").is_none());
    let mut third = begin(&other, theirs.len(), Condition::Absent).await;
    feed(&mut third, &theirs).await;
    third.finish().await.unwrap();
    third.commit().await.unwrap();
    assert_eq!(
        server.store().get("bucket", "p/d/ü +%").unwrap().content,
        theirs
    );
}

#[tokio::test]
async fn an_upload_that_was_begun_with_another_content_is_begun_anew() {
    let (server, all) = (server().await, content(72 * MIB));
    let client = client(&server);
    let mut upload = begin(&client, all.len(), Condition::Absent).await;
    feed(&mut upload, &Bytes::from(vec![7; 40 * MIB])).await;
    upload.abort().await.unwrap();
    drop(upload);
    let mut upload = begin(&client, all.len(), Condition::Absent).await;
    refused_as_another(&mut upload, &all).await;
    upload.abort().await.unwrap();
    drop(upload);
    let mut upload = begin(&client, all.len(), Condition::Absent).await;
    feed(&mut upload, &all).await;
    upload.finish().await.unwrap();
    upload.commit().await.unwrap();
    assert_eq!(
        server.store().get("bucket", "p/d/ü +%").unwrap().content,
        all
    );
}

#[tokio::test]
async fn a_lost_reply_to_the_last_request_is_no_failure() {
    let (server, all) = (server().await, content(9 * MIB));
    let client = client(&server);
    let mut upload = begin(&client, all.len(), Condition::Absent).await;
    feed(&mut upload, &all).await;
    upload.finish().await.unwrap();
    let which = Which::operation("CompleteMultipartUpload");
    let fault = server.faults().lose_reply(which, When::Next(1));
    let lost = upload.commit().await.unwrap_err();
    assert!(lost.unclear, "{lost:?}");
    assert_eq!(fault.fired(), 1);
    let found = upload.commit().await.unwrap();
    let object = server.store().get("bucket", "p/d/ü +%").unwrap();
    assert_eq!(found.tag.as_deref(), Some(&*format!("\"{}\"", object.etag)));
}

#[tokio::test]
async fn a_part_is_tried_again() {
    let (server, all) = (server().await, content(20 * MIB));
    let client = client(&server);
    let which = Which::operation("UploadPart");
    let fault = server
        .faults()
        .refuse(which, When::Every(2), Refusal::slow_down());
    let mut upload = begin(&client, all.len(), Condition::Absent).await;
    feed(&mut upload, &all).await;
    upload.finish().await.unwrap();
    upload.commit().await.unwrap();
    assert!(fault.fired() > 0);
    assert_eq!(
        server.store().get("bucket", "p/d/ü +%").unwrap().content,
        all
    );
}

#[tokio::test]
async fn copies_come_from_another_bucket_under_both_conditions() {
    let server = server().await;
    let client = client(&server);
    let tag = format!("\"{}\"", server.store().put("another", "x/a b", "content"));
    let copy = |tag: &str, condition| {
        let (client, tag) = (client.clone(), tag.to_owned());
        async move {
            let request = CopyRequest {
                bucket: "another",
                key: "x/a b",
                tag: Some(&tag),
                size: 7,
                to: "copy",
                condition: &condition,
            };
            client.copy_from(request).await
        }
    };
    let stale = copy("\"stale\"", Condition::Absent).await.unwrap_err();
    assert_eq!(stale.error.kind(), ErrorKind::Changed);
    assert!(server.store().get("bucket", "p/copy").is_none());
    copy(&tag, Condition::Absent).await.unwrap();
    assert_eq!(
        server.store().get("bucket", "p/copy").unwrap().content,
        "content"
    );
    let taken = copy(&tag, Condition::Absent).await.unwrap_err();
    assert_eq!(taken.error.kind(), ErrorKind::Changed);
}

#[tokio::test]
async fn errors_say_what_the_server_said_and_no_secret() {
    let server = server().await;
    let endpoint = client(&server).endpoint().clone();
    let keys = Keys::Fixed {
        access: server.access_key().into(),
        secret: "hush-hush".into(),
        session: None,
    };
    let wrong = Client::new(endpoint, keys, patient().unwrap());
    let fault = wrong.note("x").await.unwrap_err();
    assert_eq!(fault.error.kind(), ErrorKind::Credentials);
    let text = format!("{:?} {} {wrong:?}", fault, fault.error);
    assert!(!text.contains("hush"), "{text}");
    assert!(!text.contains(server.access_key()), "{text}");
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable_and_was_asked_nothing() {
    let server = server().await;
    let client = client(&server);
    drop(server);
    let fault = client.note("x").await.unwrap_err();
    assert_eq!(fault.error.kind(), ErrorKind::Unavailable, "{fault:?}");
    assert_eq!(fault.again, Again::After(None));
    assert!(!fault.unclear);
}

/// Who gets no answer to what the server has of an upload does not begin another.
#[tokio::test]
async fn an_upload_is_not_begun_anew_while_the_server_is_away() {
    let server = server().await;
    let client = client(&server);
    let upload = begin(&client, 64 * MIB, Condition::None).await;
    drop(upload);
    let asked = Which::operation("ListParts");
    let lost = server.faults().lose_request(asked, When::Always);
    let attributes = Attributes::default();
    let metadata = [("mtime".to_owned(), "1.5".to_owned())];
    let again = MultipartUpload::begin(
        client.clone(),
        "d/ü +%",
        64 * MIB as u64,
        &attributes,
        &metadata,
        Condition::None,
        Parts::new(2),
    );
    let fault = again.await.unwrap_err();
    assert!(lost.fired() > 0);
    assert_ne!(fault.again, Again::Never, "{fault:?}");
    assert_eq!(server.store().uploads("bucket").len(), 1);
}
