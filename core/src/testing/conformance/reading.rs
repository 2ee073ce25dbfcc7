//! Looking and reading: a version, whole, or an error.

use tokio_util::sync::CancellationToken;

use super::Harness;
use super::kit::{Kit, everything, file, path, refused};
use crate::model::{ContentHash, Hasher, Kind, Meta};
use crate::storage::{ErrorKind, Expect, Expected, ReadRequest, Row};

const MIB: usize = 1024 * 1024;

/// Content that no part of is like another.
fn bytes(length: usize, seed: u8) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn request(at: &str, meta: &Meta) -> ReadRequest {
    ReadRequest {
        path: path(at),
        meta: meta.clone(),
    }
}

/// Stat and listing say the same; stat says `None` where nothing is, also below a file.
pub async fn stat_tells_what_the_listing_tells(harness: &dyn Harness) {
    let kit = Kit::new(harness);
    kit.editor.write("d/f", b"12345").await;
    kit.editor.write("g", b"").await;
    if kit.caps.links {
        kit.editor.make_link("l", "d/f").await;
    }
    kit.harness.settle().await;
    for row in kit.rows(everything()).await.unwrap() {
        let Row::Present(entry) = row else {
            panic!("not expected: {row:?}")
        };
        let meta = kit.meta(entry.path.as_str()).await;
        assert_eq!(meta, entry.meta, "{:?}", entry.path);
    }
    let meta = kit.meta("d/f").await;
    assert_eq!((meta.kind, meta.size, meta.link), (Kind::File, 5, None));
    assert_eq!(kit.meta("d").await.kind, Kind::Folder);
    assert!(kit.stat("d/none").await.is_none() && kit.stat("none/x").await.is_none());
    assert!(kit.stat("g/below").await.is_none());
}

/// `file_token` is the token that `stat` gives, and `None` where nothing is.
pub async fn file_token_is_the_token_of_stat(harness: &dyn Harness) {
    let kit = Kit::new(harness);
    kit.editor.write("f", b"1").await;
    kit.harness.settle().await;
    let token = kit.backend.file_token(&path("f")).await.unwrap();
    assert_eq!(token, Some(kit.meta("f").await.token));
    assert_eq!(kit.backend.file_token(&path("none")).await.unwrap(), None);
}

/// Two contents of one size, written as fast as can be, never share a token that is called settled.
pub async fn a_token_changes_with_the_content(harness: &dyn Harness) {
    let kit = Kit::new(harness);
    kit.editor.write("f", b"00").await;
    let mut last = kit.meta("f").await;
    for round in 0..60 {
        let content = format!("{round:02}.");
        if round % 2 == 0 {
            kit.editor.write_in_place("f", content.as_bytes()).await;
        } else {
            kit.editor.write("f", content.as_bytes()).await;
        }
        let now = kit.meta("f").await;
        assert!(
            now.token != last.token || !last.settled,
            "round {round}: a settled token outlived its content: {last:?}"
        );
        last = now;
    }
    kit.harness.settle().await;
    let settled = kit.meta("f").await;
    assert!(
        settled.settled,
        "a token settles after a while: {settled:?}"
    );
    assert_eq!(settled.token, kit.meta("f").await.token);
}

/// A token that was seen before it had settled does not vouch for a content that came in the same tick, however long ago.
pub async fn a_token_from_before_it_settled_never_vouches(harness: &dyn Harness) {
    let Some(kit) = Kit::checking(harness) else {
        return;
    };
    let pen = kit.pen().await;
    for round in 0..20 {
        let name = format!("f{round}");
        kit.editor.write(&name, b"seen").await;
        let meta = kit.meta(&name).await;
        kit.editor.write_in_place(&name, b"edit").await;
        if round % 5 == 0 {
            kit.harness.settle().await;
        }
        for hash in [None, Some(ContentHash::of(b"seen"))] {
            let expect = Expect::Is(Expected::of(&meta, hash));
            let result = pen.put(&name, "ours", expect).await;
            refused(result, &[ErrorKind::Changed]);
            assert_eq!(kit.text(&name).await.as_deref(), Some("edit"));
        }
    }
    pen.finish().await;
}

/// The hash is that of the content as it is, and what it goes with is what `stat` says.
pub async fn hash_is_that_of_the_content(harness: &dyn Harness) {
    let kit = Kit::new(harness);
    let large = bytes(2 * MIB + 7, 1);
    for content in [b"abc".as_slice(), b"", b"abd", &large] {
        kit.editor.write("f", content).await;
        kit.harness.settle().await;
        let hashed = kit
            .backend
            .hash(&path("f"), &CancellationToken::new())
            .await;
        let hashed = hashed.unwrap();
        assert_eq!(hashed.hash, ContentHash::of(content));
        assert_eq!(hashed.meta.token, kit.meta("f").await.token);
        assert_eq!(hashed.meta.size, content.len() as u64);
        let told = kit.meta("f").await.hash;
        assert!(
            told.is_none_or(|told| told == hashed.hash),
            "stat's own hash"
        );
    }
    let hash = async |at| kit.backend.hash(&path(at), &CancellationToken::new()).await;
    refused(hash("none").await, &[ErrorKind::NotFound]);
    kit.editor.write("d/x", b"").await;
    assert!(hash("d").await.is_err(), "a folder has no hash");
}

/// Hashing stops when told.
pub async fn hash_stops_when_told(harness: &dyn Harness) {
    let kit = Kit::new(harness);
    kit.editor.write("f", &bytes(3 * MIB, 2)).await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    let result = kit.backend.hash(&path("f"), &cancel).await;
    refused(result, &[ErrorKind::Cancelled]);
}

async fn drain(kit: &Kit<'_>, request: ReadRequest) -> crate::storage::Result<Vec<u8>> {
    let mut reader = kit.backend.read(request).await?;
    let mut content = Vec::new();
    while let Some(piece) = reader.next().await? {
        assert!(
            (1..=MIB).contains(&piece.len()),
            "a piece of {} bytes",
            piece.len()
        );
        content.extend_from_slice(&piece);
    }
    Ok(content)
}

/// What is there is read only if it is the version that is meant.
pub async fn another_version_is_not_read(harness: &dyn Harness) {
    let kit = Kit::new(harness);
    kit.editor.write("f", b"old").await;
    kit.harness.settle().await;
    let old = kit.meta("f").await;
    assert_eq!(drain(&kit, request("f", &old)).await.unwrap(), b"old");
    kit.editor.write("f", b"new").await;
    refused(drain(&kit, request("f", &old)).await, &[ErrorKind::Busy]);
    let mut small = kit.backend.read_small(vec![request("f", &old)]).await;
    refused(small.remove(0), &[ErrorKind::Busy]);
    kit.editor.remove("f").await;
    let gone = [ErrorKind::NotFound, ErrorKind::Busy];
    refused(drain(&kit, request("f", &old)).await, &gone);
    kit.editor.write("f/x", b"old").await;
    assert!(
        drain(&kit, request("f", &old)).await.is_err(),
        "a folder is read"
    );
}

/// A file that changes between its first piece and its end is never given as whole, in place or not, same size or not.
pub async fn a_version_that_changes_while_it_is_read_is_busy(harness: &dyn Harness) {
    let kit = Kit::new(harness);
    let (old, new) = (bytes(3 * MIB, 3), bytes(3 * MIB, 4));
    for round in 0..4 {
        kit.editor.write("f", &old).await;
        kit.harness.settle().await;
        let meta = kit.meta("f").await;
        let mut reader = kit.backend.read(request("f", &meta)).await.unwrap();
        reader.next().await.unwrap().unwrap();
        match round {
            0 => kit.editor.write_in_place("f", &new).await,
            1 => kit.editor.write("f", &new).await,
            2 => kit.editor.write_in_place("f", &old[..MIB]).await,
            _ => kit.editor.remove("f").await,
        }
        let kind = loop {
            match reader.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("round {round}: a version that changed is given as whole"),
                Err(error) => break error.kind(),
            }
        };
        assert!(
            [ErrorKind::Busy, ErrorKind::NotFound].contains(&kind),
            "{kind:?}"
        );
    }
}

/// Small reads answer in the order of the requests, and one's failure is its own.
pub async fn small_reads_answer_in_order(harness: &dyn Harness) {
    let kit = Kit::new(harness);
    for name in ["a", "b", "c", "d", "e"] {
        kit.editor.write(name, name.as_bytes()).await;
    }
    kit.harness.settle().await;
    let mut requests = Vec::new();
    for name in ["e", "b", "a", "d", "c"] {
        requests.push(request(name, &kit.meta(name).await));
    }
    kit.editor.remove("b").await;
    kit.editor.write("d", b"D").await;
    let results = kit.backend.read_small(requests).await;
    let shown = results.into_iter().map(|result| match result {
        Ok(read) => {
            assert_eq!(read.hash, ContentHash::of(&read.content));
            String::from_utf8_lossy(&read.content).into_owned()
        }
        Err(error) => format!("{:?}", error.kind()),
    });
    let shown: Vec<_> = shown.collect();
    assert!(
        ["NotFound", "Busy"].contains(&shown[1].as_str()),
        "{shown:?}"
    );
    assert_eq!(
        (&*shown[0], &*shown[2], &*shown[3], &*shown[4]),
        ("e", "a", "Busy", "c")
    );
    assert!(kit.backend.read_small(Vec::new()).await.is_empty());
}

/// A file of no bytes is written, listed, hashed and read like any other.
pub async fn an_empty_file_is_a_file(harness: &dyn Harness) {
    let Some(kit) = Kit::writing(harness) else {
        return;
    };
    let pen = kit.pen().await;
    pen.create("empty", "").await;
    let writer = pen
        .0
        .stage_large(file("streamed", b""), 0, &Expect::Absent)
        .await
        .unwrap();
    let staged = writer.finish(ContentHash::of(b"")).await.unwrap();
    pen.publish("streamed", staged, Expect::Absent)
        .await
        .unwrap();
    for name in ["empty", "streamed"] {
        let meta = kit.meta(name).await;
        assert_eq!((meta.kind, meta.size), (Kind::File, 0));
        assert_eq!(drain(&kit, request(name, &meta)).await.unwrap(), b"");
        assert_eq!(kit.hash(name).await, ContentHash::of(b""));
    }
    assert_eq!(kit.keys(everything()).await, ["empty", "streamed"]);
    let known = kit.known("empty").await;
    pen.put("empty", "full", Expect::Is(known)).await.unwrap();
    let known = kit.known("empty").await;
    pen.put("empty", "", Expect::Is(known)).await.unwrap();
    assert_eq!(kit.text("empty").await.as_deref(), Some(""));
    pen.finish().await;
}

/// Content larger than any buffer goes in and out in pieces, unchanged.
pub async fn large_content_streams(harness: &dyn Harness) {
    let Some(kit) = Kit::writing(harness) else {
        return;
    };
    let content = bytes(5 * MIB + 13, 5);
    let mut hasher = Hasher::new();
    let pen = kit.pen().await;
    let size = content.len() as u64;
    let mut writer = pen
        .0
        .stage_large(file("big", b""), size, &Expect::Absent)
        .await
        .unwrap();
    for piece in content.chunks(700_001) {
        hasher.update(piece);
        writer
            .write(bytes::Bytes::copy_from_slice(piece))
            .await
            .unwrap();
    }
    assert!(
        kit.stat("big").await.is_none(),
        "seen before it is published"
    );
    let hash = hasher.finish();
    let staged = writer.finish(hash).await.unwrap();
    assert_eq!(
        (staged.hash, staged.size, staged.kind),
        (hash, size, Kind::File)
    );
    pen.0.flush().await.unwrap();
    pen.publish("big", staged, Expect::Absent).await.unwrap();
    pen.finish().await;
    kit.harness.settle().await;
    let meta = kit.meta("big").await;
    assert_eq!(meta.size, size);
    assert!(
        drain(&kit, request("big", &meta)).await.unwrap() == content,
        "other content"
    );
    assert_eq!(kit.hash("big").await, hash);
}
