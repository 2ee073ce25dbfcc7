//! What a store must do, one thing at a time.

use super::server::Fault as Planned;
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_made_once_and_replaced_by_its_tag() {
    let kit = Kit::new().await;
    let first = kit
        .put("a b%20#?.txt", "one", Condition::Absent)
        .await
        .unwrap();
    assert_eq!(first.size, 3);
    let again = kit.put("a b%20#?.txt", "two", Condition::Absent).await;
    assert_eq!(kind(&again), Some(ErrorKind::Changed));
    let old = tag(&kit.store, "a b%20#?.txt").await;
    let stale = kit
        .put("a b%20#?.txt", "no", Condition::Is("stale".into()))
        .await;
    assert_eq!(kind(&stale), Some(ErrorKind::Changed));
    kit.put("a b%20#?.txt", "second", Condition::Is(old.clone()))
        .await
        .unwrap();
    let stale = kit
        .put("a b%20#?.txt", "third", Condition::Is(old.clone()))
        .await;
    assert_eq!(kind(&stale), Some(ErrorKind::Changed));
    assert_eq!(kit.content("a b%20#?.txt").await, "second");
    let gone = kit.put("nothing", "x", Condition::Is(old.clone())).await;
    assert_eq!(kind(&gone), Some(ErrorKind::Changed));
    let stale = kit
        .store
        .remove(&path("a b%20#?.txt"), &Condition::Is(old))
        .await;
    assert_eq!(kind(&stale), Some(ErrorKind::Changed));
    let now = tag(&kit.store, "a b%20#?.txt").await;
    kit.assert_unlocked("a b%20#?.txt").await;
    kit.store
        .remove(&path("a b%20#?.txt"), &Condition::Is(now.clone()))
        .await
        .unwrap();
    let again = kit
        .store
        .remove(&path("a b%20#?.txt"), &Condition::Is(now))
        .await;
    assert_eq!(kind(&again), Some(ErrorKind::NotFound));
    assert_eq!(names(&kit.store, "").await.unwrap(), Vec::<String>::new());
    kit.assert_unlocked("nothing").await;
    assert_eq!(names(&kit.store, "").await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_tell_every_name_and_the_same_tag_as_everything_else() {
    let kit = Kit::new().await;
    let all = [
        " x ",
        "%41",
        "100%",
        "a#b",
        "a&b<c>",
        "a+b",
        "a?b",
        "a\\b",
        "ä",
        "ü€😀",
        "...",
        "~",
        "'q'",
        "a;b=c,d",
    ];
    for name in all {
        kit.put(name, name, Condition::None).await.unwrap();
        assert_eq!(kit.content(name).await, name);
    }
    kit.store
        .make_folder(&path("folder #1%"), None)
        .await
        .unwrap();
    kit.put("folder #1%/in it", "x", Condition::None)
        .await
        .unwrap();
    let mut wanted: Vec<_> = all.iter().map(|name| (*name).to_owned()).collect();
    wanted.push("folder #1%".to_owned());
    wanted.sort();
    assert_eq!(names(&kit.store, "").await.unwrap(), wanted);
    assert_eq!(names(&kit.store, "folder #1%").await.unwrap(), ["in it"]);
    assert_eq!(
        kind(&names(&kit.store, "missing").await),
        Some(ErrorKind::NotFound)
    );
    let one = tag(&kit.store, "ä").await;
    let mut pages = kit
        .store
        .list(List::Folder(&SyncPath::root()))
        .await
        .unwrap();
    let page = pages.next().await.unwrap().unwrap();
    let row = page.iter().find(|row| row.name == "ä").unwrap();
    assert_eq!(
        (row.found.tag.as_ref(), row.found.size, row.lossy),
        (Some(&one), 2, false)
    );
    let reading = kit.store.read(&path("ä"), 0..2, Some(&one)).await.unwrap();
    assert_eq!(reading.found.unwrap().tag, Some(one));
    let other = kit
        .store
        .read(&path("ä"), 0..2, Some("other"))
        .await
        .map(|_| ());
    assert_eq!(kind(&other), Some(ErrorKind::Busy));
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_what_was_asked_for() {
    let kit = Kit::new().await;
    kit.put("f", "0123456789", Condition::None).await.unwrap();
    for range in [0..10, 0..1, 3..7, 9..10, 0..0] {
        let reading = kit
            .store
            .read(&path("f"), range.clone(), None)
            .await
            .unwrap();
        let pieces: Vec<_> = reading.pieces.map(|piece| piece.unwrap()).collect().await;
        let wanted = &"0123456789"[range.start as usize..range.end as usize];
        assert_eq!(pieces.concat(), wanted.as_bytes());
        assert_eq!(reading.found.unwrap().size, 10);
    }
    let missing = kit.store.read(&path("g"), 0..1, None).await.map(|_| ());
    assert_eq!(kind(&missing), Some(ErrorKind::NotFound));
    let short = kit.store.read(&path("f"), 8..20, None).await.map(|_| ());
    assert_eq!(kind(&short), Some(ErrorKind::Busy));
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_are_made_once_and_removed_when_empty() {
    let kit = Kit::new().await;
    kit.store.make_folder(&path("d"), None).await.unwrap();
    assert_eq!(
        kind(&kit.store.make_folder(&path("d"), None).await),
        Some(ErrorKind::Changed)
    );
    assert_eq!(
        kind(&kit.store.make_folder(&path("x/y"), None).await),
        Some(ErrorKind::NoParent)
    );
    kit.put("f", "file", Condition::None).await.unwrap();
    assert_eq!(
        kind(&kit.store.make_folder(&path("f"), None).await),
        Some(ErrorKind::Changed)
    );
    assert_eq!(
        kind(&kit.put("x/y", "x", Condition::Absent).await),
        Some(ErrorKind::NoParent)
    );
    assert_eq!(
        kind(&kit.put("x/y", "x", Condition::None).await),
        Some(ErrorKind::NoParent)
    );
    for condition in [
        Condition::None,
        Condition::Absent,
        Condition::Is("x".into()),
    ] {
        assert_eq!(
            kind(&kit.put("d", "x", condition.clone()).await),
            Some(ErrorKind::Changed)
        );
        assert_eq!(
            kind(&kit.store.remove(&path("d"), &condition).await),
            Some(ErrorKind::Changed)
        );
    }
    kit.put("d/in", "x", Condition::Absent).await.unwrap();
    assert_eq!(
        kind(&kit.store.remove_folder(&path("d")).await),
        Some(ErrorKind::NotEmpty)
    );
    assert_eq!(kit.content("d/in").await, "x");
    kit.store
        .remove(&path("d/in"), &Condition::None)
        .await
        .unwrap();
    kit.store.remove_folder(&path("d")).await.unwrap();
    assert_eq!(
        kind(&kit.store.remove_folder(&path("d")).await),
        Some(ErrorKind::NotFound)
    );
    assert_eq!(
        kind(&kit.store.remove_folder(&path("f")).await),
        Some(ErrorKind::Changed)
    );
    assert_eq!(kit.content("f").await, "file");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_files_come_by_way_of_a_scratch_name() {
    let kit = Kit::new().await;
    let big = Bytes::from(vec![7u8; (3 << 20) + 1]);
    let attributes = Attributes::default();
    for (condition, round) in [(Condition::Absent, 0), (Condition::None, 1)] {
        let request = UploadRequest {
            path: &path("big"),
            size: big.len() as u64,
            attributes: &attributes,
            condition: &condition,
            scratch: &path("deep/scratch/one"),
        };
        let mut upload = kit.store.upload(request).await.unwrap();
        for piece in big.chunks(1_000_000) {
            upload.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        upload.finish().await.unwrap();
        let before = kit.store.stat(&path("big")).await.unwrap();
        assert_eq!(before.is_some(), round == 1);
        assert_eq!(upload.commit().await.unwrap().size, big.len() as u64);
    }
    assert_eq!(
        names(&kit.store, "deep/scratch").await.unwrap(),
        Vec::<String>::new()
    );
    let old = tag(&kit.store, "big").await;
    put(&kit.store, "big", big.clone(), Condition::Is(old.clone()))
        .await
        .unwrap();
    let stale = put(
        &kit.store,
        "big",
        big.slice(1..),
        Condition::Is("stale".into()),
    )
    .await;
    assert_eq!(kind(&stale), Some(ErrorKind::Changed));
    let there = put(&kit.store, "big", big.slice(1..), Condition::Absent).await;
    assert_eq!(kind(&there), Some(ErrorKind::Changed));
    assert_eq!(
        names(&kit.store, ".wl/stage/t").await.unwrap(),
        Vec::<String>::new()
    );
    kit.assert_unlocked("big").await;
    assert_eq!(content(&kit.store, "big").await.unwrap().len(), big.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_given_up_leaves_nothing() {
    let kit = Kit::new().await;
    let request = UploadRequest {
        path: &path("big"),
        size: 10,
        attributes: &Attributes::default(),
        condition: &Condition::Absent,
        scratch: &path("s/one"),
    };
    let mut upload = kit.store.upload(request).await.unwrap();
    upload.write(Bytes::from_static(b"12345")).await.unwrap();
    assert_eq!(kind(&upload.finish().await), Some(ErrorKind::Busy));
    upload.abort().await.unwrap();
    assert_eq!(names(&kit.store, "").await.unwrap(), ["s"]);
    assert_eq!(names(&kit.store, "s").await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_keep_to_their_conditions() {
    let kit = Kit::new().await;
    kit.put("a", "aa", Condition::None).await.unwrap();
    kit.put("b", "bbb", Condition::None).await.unwrap();
    let (a, b) = (path("a"), path("b"));
    let old = tag(&kit.store, "a").await;
    assert_eq!(
        kind(&kit.store.copy(&a, Some("no"), &path("c"), true).await),
        Some(ErrorKind::Changed)
    );
    assert_eq!(
        kind(&kit.store.copy(&a, None, &b, true).await),
        Some(ErrorKind::Changed)
    );
    assert_eq!(
        kind(&kit.store.copy(&path("x"), None, &b, false).await),
        Some(ErrorKind::NotFound)
    );
    assert_eq!(
        kind(&kit.store.copy(&a, None, &path("x/y"), true).await),
        Some(ErrorKind::NoParent)
    );
    kit.store
        .copy(&a, Some(&old), &path("c"), true)
        .await
        .unwrap();
    kit.store.copy(&a, Some(&old), &b, false).await.unwrap();
    assert_eq!(
        (kit.content("b").await, kit.content("c").await),
        ("aa".into(), "aa".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn renames_keep_to_their_conditions() {
    let kit = Kit::new().await;
    for at in ["a", "b"] {
        kit.put(at, "aa", Condition::None).await.unwrap();
    }
    let (a, b) = (path("a"), path("b"));
    let old = tag(&kit.store, "a").await;
    for condition in [Condition::None, Condition::Is(old.clone())] {
        assert_eq!(
            kind(&kit.store.rename(&a, &condition, &b).await),
            Some(ErrorKind::Changed)
        );
        assert_eq!(
            kind(&kit.store.rename(&a, &condition, &path("x/y")).await),
            Some(ErrorKind::NoParent)
        );
        assert_eq!(
            kind(&kit.store.rename(&path("x"), &condition, &path("y")).await),
            Some(ErrorKind::NotFound)
        );
    }
    let stale = kit
        .store
        .rename(&a, &Condition::Is("stale".into()), &path("d"))
        .await;
    assert_eq!(kind(&stale), Some(ErrorKind::Changed));
    kit.store
        .rename(&a, &Condition::Is(old), &path("d"))
        .await
        .unwrap();
    kit.store
        .rename(&path("d"), &Condition::None, &path("e"))
        .await
        .unwrap();
    assert_eq!(names(&kit.store, "").await.unwrap(), ["b", "e"]);
    assert_eq!(kit.content("e").await, "aa");
    for at in ["a", "b", "d", "e"] {
        kit.assert_unlocked(at).await;
    }
    assert_eq!(names(&kit.store, "").await.unwrap(), ["b", "e"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_working_locks_no_condition_is_kept_and_nothing_is_written() {
    for locking in [Locking::None, Locking::Fake] {
        let kit = Kit::with(locking).await;
        let refused = kit.put("a", "x", Condition::Absent).await;
        assert_eq!(kind(&refused), Some(ErrorKind::Unsupported));
        kit.put("b", "x", Condition::None).await.unwrap();
        let old = tag(&kit.store, "b").await;
        let refused = kit.put("b", "y", Condition::Is(old.clone())).await;
        assert_eq!(kind(&refused), Some(ErrorKind::Unsupported));
        let refused = kit.store.remove(&path("b"), &Condition::Is(old)).await;
        assert_eq!(kind(&refused), Some(ErrorKind::Unsupported));
        assert_eq!(kit.content("b").await, "x");
        kit.store.make_folder(&path("d"), None).await.unwrap();
        kit.store.remove_folder(&path("d")).await.unwrap();
        assert_eq!(names(&kit.store, "").await.unwrap(), ["b"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_is_missing_is_empty() {
    let kit = Kit::new().await;
    let store = store(&format!("{}/not there", kit.store.location()));
    assert_eq!(names(&store, "").await.unwrap(), Vec::<String>::new());
    assert!(store.stat(&SyncPath::root()).await.unwrap().is_none());
    assert_eq!(kind(&names(&store, "x").await), Some(ErrorKind::NotFound));
    store.make_folder(&SyncPath::root(), None).await.unwrap();
    assert!(store.stat(&SyncPath::root()).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_entries_come_in_pages() {
    let kit = Kit::new().await;
    for n in 0..1200 {
        kit.put(&format!("f{n:04}"), "", Condition::None)
            .await
            .unwrap();
    }
    let mut pages = kit
        .store
        .list(List::Folder(&SyncPath::root()))
        .await
        .unwrap();
    let mut sizes = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        sizes.push(page.len());
    }
    assert_eq!(sizes, [500, 500, 200]);
}

/// What `mod_dav_fs` says of itself.
const APACHE: Planned = Planned::Answer(200, "dav", "1,2, <http://apache.org/dav/propset/fs/1>");

/// Its locks look real to one client after the other; they are lost and come back when several ask at once.
#[tokio::test(flavor = "multi_thread")]
async fn no_lock_of_mod_dav_fs_is_asked_for() {
    let kit = Kit::new().await;
    kit.server.fault("OPTIONS", APACHE);
    let refused = kit.put("a", "x", Condition::Absent).await;
    assert_eq!(kind(&refused), Some(ErrorKind::Unsupported));
    assert!(kit.server.spent());
    kit.put("a", "x", Condition::None).await.unwrap();
    let old = Condition::Is(tag(&kit.store, "a").await);
    let refused = kit.put("a", "y", old.clone()).await;
    assert_eq!(kind(&refused), Some(ErrorKind::Unsupported));
    let refused = kit.store.rename(&path("a"), &old, &path("b")).await;
    assert_eq!(kind(&refused), Some(ErrorKind::Unsupported));
    kit.store.make_folder(&path("d"), None).await.unwrap();
    kit.store.remove_folder(&path("d")).await.unwrap();
    kit.store
        .remove(&path("a"), &Condition::None)
        .await
        .unwrap();
    let seen = kit.server.seen();
    assert!(
        !seen.iter().any(|line| line.starts_with("LOCK")),
        "{seen:?}"
    );
}

/// Apache answers 400 to every question and every change below a file, and about a file under a folder's address.
#[tokio::test(flavor = "multi_thread")]
async fn below_a_file_nothing_is_and_nothing_can_be_made() {
    let kit = Kit::new().await;
    kit.put("f", "x", Condition::None).await.unwrap();
    let bad = || Planned::Answer(400, "server", "Apache");
    kit.server.fault("PROPFIND", bad());
    assert!(kit.store.stat(&path("f/below")).await.unwrap().is_none());
    for _ in 0..2 {
        kit.server.fault("PROPFIND", bad());
    }
    assert!(kit.store.stat(&path("f/a/b")).await.unwrap().is_none());
    assert!(kit.server.spent());
    kit.server.fault("PROPFIND", bad());
    kit.server.fault("PUT", bad());
    let put = kit.put("f/below", "y", Condition::None).await;
    assert_eq!(kind(&put), Some(ErrorKind::NoParent));
    kit.server.fault("PROPFIND", bad());
    kit.server.fault("LOCK", bad());
    let put = kit.put("f/below", "y", Condition::Absent).await;
    assert_eq!(kind(&put), Some(ErrorKind::NoParent));
    kit.server.fault("PROPFIND", bad());
    kit.server.fault("MKCOL", bad());
    let made = kit.store.make_folder(&path("f/below"), None).await;
    assert_eq!(kind(&made), Some(ErrorKind::NoParent));
    assert!(kit.server.spent());
    // A 400 for any other reason is trouble, and not an absence.
    kit.server.fault("PROPFIND", bad());
    assert_eq!(
        kind(&kit.store.stat(&path("f")).await),
        Some(ErrorKind::Other)
    );
}

/// rclone answers 500 where the folder is missing, and 201 to an MKCOL of what is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_folder_and_one_that_is_there_are_told_apart_by_a_look() {
    let kit = Kit::new().await;
    let broken = || Planned::Answer(500, "server", "rclone");
    kit.server.fault("PUT", broken());
    let put = kit.put("none/a", "x", Condition::None).await;
    assert_eq!(kind(&put), Some(ErrorKind::NoParent));
    kit.server.fault("LOCK", broken());
    let put = kit.put("none/a", "x", Condition::Absent).await;
    assert_eq!(kind(&put), Some(ErrorKind::NoParent));
    kit.server.fault("MKCOL", broken());
    let made = kit.store.make_folder(&path("none/d"), None).await;
    assert_eq!(kind(&made), Some(ErrorKind::NoParent));
    kit.put("a", "x", Condition::None).await.unwrap();
    kit.server.fault("MOVE", broken());
    let (from, to) = (path("a"), path("none/a"));
    let moved = kit.store.rename(&from, &Condition::None, &to).await;
    assert_eq!(kind(&moved), Some(ErrorKind::NoParent));
    kit.server.fault("PUT", broken());
    let put = kit.put("a", "y", Condition::None).await.unwrap_err();
    assert!(
        put.unclear,
        "with its folder there it may have been written"
    );
    kit.store.make_folder(&path("d"), None).await.unwrap();
    kit.server
        .fault("MKCOL", Planned::Answer(201, "server", "rclone"));
    let again = kit.store.make_folder(&path("d"), None).await;
    assert_eq!(kind(&again), Some(ErrorKind::Changed));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_is_made_and_what_is_above_it_is_not() {
    let kit = Kit::new().await;
    let above = kit.store.location();
    let missing = store(&format!("{above}/new%20root"));
    missing.make_root().await.unwrap();
    missing.make_root().await.unwrap();
    assert_eq!(names(&kit.store, "").await.unwrap(), ["new root"]);
    let far = store(&format!("{above}/first/second/root"));
    let error = far.make_root().await.unwrap_err().error;
    let told = format!("the folder {above}/first/ is not there");
    assert!(error.reason().contains(&told), "{error:?}");
    assert!(
        error.reason().contains("make it on the server"),
        "{error:?}"
    );
    assert_eq!(names(&kit.store, "").await.unwrap(), ["new root"]);
}
