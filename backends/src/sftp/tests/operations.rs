//! Every operation, and what it refuses.

use super::*;

#[tokio::test]
async fn a_file_comes_back_with_its_time_and_mode() {
    let place = Place::new().await;
    let attributes = Attributes {
        mtime: Some(Timestamp {
            secs: 1_234_567_890,
            nanos: 0,
        }),
        mode: Some(Mode::new(0o640)),
        ..Attributes::default()
    };
    let content = noise(300_000);
    let made = put(&place.store, "a", &content, &attributes, &Condition::Absent).await;
    let made = made.expect("put");
    let seen = place.store.stat(&path("a")).await.expect("stat");
    let seen = seen.expect("something");
    for found in [&made, &seen, &place.rows("").await[1].found] {
        assert_eq!(found.kind, Kind::File);
        assert_eq!(found.size, 300_000);
        assert_eq!(found.modified, attributes.mtime);
        assert_eq!(found.mode, attributes.mode);
    }
    assert_eq!(
        read(&place.store, "a", 0..300_000).await.expect("read"),
        content
    );
    let part = read(&place.store, "a", 100..200_001).await.expect("read");
    assert_eq!(part, &content[100..200_001]);
    assert!(
        place
            .rows(&format!("{}/stage", wl_core::model::RESERVED))
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn nothing_that_is_there_is_overwritten_unasked() {
    let place = Place::new().await;
    place
        .put("a", b"one", Condition::Absent)
        .await
        .expect("new");
    let again = place.put("a", b"two", Condition::Absent).await;
    assert_eq!(kind(again), ErrorKind::Changed);
    std::os::unix::fs::symlink("nowhere", place.on_disk("dangling")).expect("link");
    let over_link = place.put("dangling", b"two", Condition::Absent).await;
    assert_eq!(kind(over_link), ErrorKind::Changed);
    assert!(!place.on_disk("nowhere").exists());
    std::fs::create_dir(place.on_disk("folder")).expect("folder");
    for condition in [Condition::Absent, Condition::None] {
        let over_folder = place.put("folder", b"two", condition).await;
        assert_eq!(kind(over_folder), ErrorKind::Changed);
    }
    place
        .put("a", b"three", Condition::None)
        .await
        .expect("over");
    assert_eq!(
        std::fs::read(place.on_disk("a")).expect("content"),
        b"three"
    );
}

#[tokio::test]
async fn what_came_since_the_look_is_not_overwritten() {
    let place = Place::new().await;
    let made = place.put("a", b"one", Condition::None).await;
    let seen = made.expect("put");
    let replace = async || {
        let put = Put {
            path: &path("a"),
            content: Bytes::from_static(b"ours"),
            attributes: &Attributes::default(),
            condition: &Condition::None,
            seen: Some(&seen),
            scratch: &scratch(),
        };
        place.store.put(put).await
    };
    std::fs::write(place.on_disk("theirs"), "theirs").expect("write");
    std::fs::rename(place.on_disk("theirs"), place.on_disk("a")).expect("move");
    assert_eq!(kind(replace().await), ErrorKind::Changed);
    let now = std::fs::read(place.on_disk("a")).expect("read");
    assert_eq!(now, b"theirs");
    std::fs::remove_file(place.on_disk("a")).expect("remove");
    assert_eq!(kind(replace().await), ErrorKind::Changed);
    let stage = format!("{}/stage", wl_core::model::RESERVED);
    assert!(place.rows(&stage).await.is_empty(), "nothing is left");
    // As it was when it was looked at.
    place.put("a", b"one", Condition::None).await.expect("put");
    let times = std::fs::File::open(place.on_disk("a")).expect("open");
    let seen_at = seen.modified.expect("a time").secs.cast_unsigned();
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seen_at);
    times.set_modified(time).expect("set the time");
    replace().await.expect("replaced");
    let now = std::fs::read(place.on_disk("a")).expect("read");
    assert_eq!(now, b"ours");
}

#[tokio::test]
async fn a_missing_folder_is_no_parent() {
    let place = Place::new().await;
    let no_parent = ErrorKind::NoParent;
    for condition in [Condition::Absent, Condition::None] {
        assert_eq!(kind(place.put("no/a", b"x", condition).await), no_parent);
    }
    let store = &place.store;
    assert_eq!(kind(store.put_link(&path("no/l"), "x").await), no_parent);
    assert_eq!(
        kind(store.make_folder(&path("no/f"), None).await),
        no_parent
    );
    place.put("a", b"x", Condition::None).await.expect("put");
    for from in ["a", "l"] {
        if from == "l" {
            store.put_link(&path("l"), "x").await.expect("link");
        }
        let moved = store
            .rename(&path(from), &Condition::None, &path("no/b"))
            .await;
        assert_eq!(kind(moved), no_parent);
    }
    let copied = store.copy(&path("a"), None, &path("no/b"), true).await;
    assert_eq!(kind(copied), no_parent);
    let missing = SyncPath::new("no").expect("path");
    assert_eq!(
        kind(store.list(List::Folder(&missing)).await.map(|_| ())),
        ErrorKind::NotFound
    );
    assert_eq!(kind(read(store, "no", 0..1).await), ErrorKind::NotFound);
    assert!(store.stat(&path("no/a")).await.expect("stat").is_none());
}

#[tokio::test]
async fn folders_are_made_and_removed() {
    let place = Place::new().await;
    let store = &place.store;
    let made = store.make_folder(&path("f"), Some(Mode::new(0o777))).await;
    let made = made.expect("made");
    assert_eq!(
        (made.kind, made.mode),
        (Kind::Folder, Some(Mode::new(0o777)))
    );
    let again = store.make_folder(&path("f"), None).await;
    assert_eq!(kind(again), ErrorKind::Changed);
    place
        .put("f/a", b"x", Condition::Absent)
        .await
        .expect("put");
    assert_eq!(
        kind(store.remove_folder(&path("f")).await),
        ErrorKind::NotEmpty
    );
    let not_a_file = store.remove(&path("f"), &Condition::None).await;
    assert_eq!(kind(not_a_file), ErrorKind::Changed);
    assert!(place.on_disk("f/a").exists());
    store
        .remove(&path("f/a"), &Condition::None)
        .await
        .expect("removed");
    let gone = store.remove(&path("f/a"), &Condition::None).await;
    assert_eq!(kind(gone), ErrorKind::NotFound);
    store.remove_folder(&path("f")).await.expect("removed");
    assert_eq!(
        kind(store.remove_folder(&path("f")).await),
        ErrorKind::NotFound
    );
}

#[tokio::test]
async fn links_are_told_not_followed() {
    let place = Place::new().await;
    let store = &place.store;
    place
        .put("secret", b"x", Condition::Absent)
        .await
        .expect("put");
    let made = store.put_link(&path("l"), "secret").await.expect("link");
    assert_eq!(
        (made.kind, made.link.as_deref()),
        (Kind::Link, Some("secret"))
    );
    let again = store.put_link(&path("l"), "other").await;
    assert_eq!(kind(again), ErrorKind::Changed);
    let target = std::fs::read_link(place.on_disk("l")).expect("target");
    assert_eq!(target, Path::new("secret"));
    assert_eq!(kind(read(store, "l", 0..1).await), ErrorKind::Changed);
    let mode = store.set_mode(&path("l"), Mode::new(0)).await;
    assert_eq!(kind(mode), ErrorKind::Unsupported);
    let moved = store.rename(&path("l"), &Condition::None, &path("m")).await;
    assert_eq!(moved.expect("moved").link.as_deref(), Some("secret"));
    assert!(store.stat(&path("l")).await.expect("stat").is_none());
    store
        .remove(&path("m"), &Condition::None)
        .await
        .expect("removed");
    assert!(place.on_disk("secret").exists());
    std::fs::create_dir(place.on_disk("folder")).expect("folder");
    store.put_link(&path("way"), "folder").await.expect("link");
    let through = store.list(List::Folder(&path("way"))).await.map(|_| ());
    assert_eq!(kind(through), ErrorKind::NotFound);
}

#[tokio::test]
async fn moving_and_copying_never_overwrite() {
    let place = Place::new().await;
    let store = &place.store;
    for (name, content) in [("a", b"one"), ("b", b"two")] {
        place
            .put(name, content, Condition::Absent)
            .await
            .expect("put");
    }
    std::os::unix::fs::symlink("nowhere", place.on_disk("l")).expect("link");
    for to in ["b", "l"] {
        let moved = store.rename(&path("a"), &Condition::None, &path(to)).await;
        assert_eq!(kind(moved), ErrorKind::Changed);
        let copied = store.copy(&path("a"), None, &path(to), true).await;
        assert_eq!(kind(copied), ErrorKind::Changed);
    }
    assert_eq!(std::fs::read(place.on_disk("b")).expect("content"), b"two");
    let before = store.stat(&path("a")).await.expect("stat").expect("a");
    store
        .copy(&path("a"), None, &path("b"), false)
        .await
        .expect("copy");
    let copy = store.stat(&path("b")).await.expect("stat").expect("b");
    assert_eq!((copy.modified, copy.mode), (before.modified, before.mode));
    // A writer who still has the file open does not reach the copy.
    use std::io::Write;
    let mut late = std::fs::OpenOptions::new()
        .append(true)
        .open(place.on_disk("a"))
        .expect("a");
    late.write_all(b" late").expect("written");
    assert_eq!(std::fs::read(place.on_disk("b")).expect("content"), b"one");
    store
        .rename(&path("a"), &Condition::None, &path("c"))
        .await
        .expect("moved");
    assert_eq!(
        std::fs::read(place.on_disk("c")).expect("content"),
        b"one late"
    );
    assert!(!place.on_disk("a").exists());
    let gone = store.rename(&path("a"), &Condition::None, &path("d")).await;
    assert_eq!(kind(gone), ErrorKind::NotFound);
    let stage = format!("{}/stage", wl_core::model::RESERVED);
    assert!(place.rows(&stage).await.is_empty());
}

#[tokio::test]
async fn names_are_kept_to_the_byte() {
    let place = Place::new().await;
    let names = [
        " both ends ",
        "-rf",
        "new\nline",
        "tab\t",
        "\"quoted\"",
        "'single'",
        "back\\slash",
        "*?[a]",
        "$HOME",
        "~",
        "%41",
        "ä",
        "a\u{308}",
        "\u{202e}right",
        "\u{7f}",
    ];
    for name in names {
        place
            .put(name, name.as_bytes(), Condition::Absent)
            .await
            .expect("put");
        assert_eq!(
            std::fs::read(place.on_disk(name)).expect("content"),
            name.as_bytes()
        );
        let length = name.len() as u64;
        assert_eq!(
            read(&place.store, name, 0..length).await.expect("read"),
            name.as_bytes()
        );
    }
    let mut rows: Vec<_> = place
        .rows("")
        .await
        .into_iter()
        .map(|row| row.name)
        .collect();
    rows.retain(|name| name != wl_core::model::RESERVED);
    let mut wanted = names.map(str::to_owned).to_vec();
    wanted.sort();
    assert_eq!(rows, wanted);
    for name in names {
        place
            .store
            .remove(&path(name), &Condition::None)
            .await
            .expect("removed");
    }
    let longest = "x".repeat(255);
    place
        .put(&longest, b"x", Condition::Absent)
        .await
        .expect("put");
    assert!(place.store.refuses(&path(&longest)).is_none());
    assert!(place.store.refuses(&path(&"x".repeat(256))).is_some());
}

#[tokio::test]
async fn what_cannot_be_synced_is_told_and_breaks_nothing() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new().await;
    let latin = std::ffi::OsStr::from_bytes(b"caf\xe9");
    std::fs::write(place.folder.path().join(latin), b"x").expect("file");
    std::fs::write(place.on_disk("plain"), b"x").expect("file");
    let socket = std::os::unix::net::UnixListener::bind(place.on_disk("socket"));
    let _socket = socket.expect("socket");
    std::os::unix::fs::symlink(latin, place.on_disk("link")).expect("link");
    let rows = place.rows("").await;
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row.name.as_str(), row.lossy, row.special))
        .collect();
    let wanted = [
        ("caf\u{fffd}", true, false),
        ("link", false, true),
        ("plain", false, false),
        ("socket", false, true),
    ];
    assert_eq!(told, wanted);
    for name in ["socket", "link"] {
        let special = place.store.stat(&path(name)).await;
        assert_eq!(kind(special), ErrorKind::Unrepresentable);
    }
    assert_eq!(
        kind(read(&place.store, "socket", 0..1).await),
        ErrorKind::Changed
    );
}

#[tokio::test]
async fn permissions_are_set() {
    let place = Place::new().await;
    place.put("a", b"x", Condition::Absent).await.expect("put");
    let set = place.store.set_mode(&path("a"), Mode::new(0o400)).await;
    assert_eq!(set.expect("set").mode, Some(Mode::new(0o400)));
    let missing = place.store.set_mode(&path("b"), Mode::new(0)).await;
    assert_eq!(kind(missing), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_large_file_goes_up_in_pieces_and_shows_only_when_it_is_whole() {
    let place = Place::new().await;
    let content = noise(20_000_000);
    let (target, scratch) = (path("large"), scratch());
    let attributes = Attributes::default();
    let request = |condition| UploadRequest {
        path: &target,
        size: 20_000_000,
        attributes: &attributes,
        condition,
        scratch: &scratch,
    };
    let mut upload = place
        .store
        .upload(request(&Condition::Absent))
        .await
        .expect("begun");
    for piece in content.chunks(3_000_001) {
        upload
            .write(Bytes::copy_from_slice(piece))
            .await
            .expect("written");
    }
    assert_eq!(
        kind(upload.commit().await),
        ErrorKind::Other,
        "it is not finished"
    );
    upload.finish().await.expect("finished");
    assert!(!place.on_disk("large").exists());
    assert_eq!(upload.commit().await.expect("committed").size, 20_000_000);
    let back = read(&place.store, "large", 0..20_000_000)
        .await
        .expect("read");
    assert!(back == content);
    let mut second = place
        .store
        .upload(request(&Condition::Absent))
        .await
        .expect("begun");
    second
        .write(Bytes::from_static(b"other"))
        .await
        .expect("written");
    second.finish().await.expect("finished");
    assert_eq!(kind(second.commit().await), ErrorKind::Changed);
    second.abort().await.expect("given up");
    let stage = place
        .rows(&format!("{}/stage", wl_core::model::RESERVED))
        .await;
    assert!(stage.is_empty());
}

#[tokio::test]
async fn who_writes_while_we_read_is_noticed() {
    let place = Place::new().await;
    let content = noise(8_000_000);
    place
        .put("a", &content, Condition::Absent)
        .await
        .expect("put");
    let reading = place.store.read(&path("a"), 0..8_000_000, None).await;
    let mut pieces = reading.expect("reading").pieces;
    pieces.next().await.expect("a piece").expect("read");
    std::fs::write(place.on_disk("a"), b"short").expect("written");
    let mut last = Ok(Bytes::new());
    while let Some(piece) = pieces.next().await {
        last = piece;
    }
    assert_eq!(kind(last), ErrorKind::Busy);
}

#[tokio::test]
async fn a_folder_of_100_000_comes_in_small_pages() {
    let place = Place::new().await;
    std::fs::create_dir(place.on_disk("f")).expect("folder");
    for number in 0..100_000 {
        std::fs::File::create(place.on_disk(&format!("f/{number}"))).expect("file");
    }
    let folder = path("f");
    let mut pages = place.store.list(List::Folder(&folder)).await.expect("list");
    let (mut rows, mut longest) = (0, 0);
    while let Some(page) = pages.next().await.expect("a page") {
        rows += page.len();
        longest = longest.max(page.len());
    }
    assert_eq!(rows, 100_000);
    assert!(longest <= 1000, "a page of {longest}");
}

#[tokio::test]
async fn a_root_that_is_missing_can_be_made() {
    let place = Place::new().await;
    let store = store_at(Box::new(server()), &place.on_disk("new")).await;
    let root = SyncPath::root();
    assert!(store.stat(&root).await.expect("stat").is_none());
    store.make_folder(&root, None).await.expect("made");
    let found = store.stat(&root).await.expect("stat");
    assert_eq!(found.expect("something").kind, Kind::Folder);
}

#[tokio::test]
async fn identity_is_the_real_place() {
    let place = Place::new().await;
    let real = place.folder.path().canonicalize().expect("real");
    let real = real.to_str().expect("UTF-8");
    assert_eq!(place.store.identity(), format!("sftp|test|{real}"));
    assert_eq!(place.store.location(), format!("sftp://test{real}"));
    std::os::unix::fs::symlink(real, place.on_disk("again")).expect("link");
    let other = store_at(Box::new(server()), &place.on_disk("again")).await;
    assert_eq!(other.identity(), place.store.identity());
}

/// A server that has none of OpenSSH's extensions.
async fn plain(place: &Place) -> SftpStore {
    let mut program = server();
    let denied = "hardlink,posix-rename,fsync,copy-data,statvfs,limits";
    program.arguments = vec!["-P".into(), denied.into()];
    store_at(Box::new(program), place.folder.path()).await
}

#[tokio::test]
async fn a_server_without_extensions_overwrites_nothing_either() {
    let place = Place::new().await;
    let store = plain(&place).await;
    assert!(store.facts().probe && !store.facts().copies);
    let attributes = Attributes::default();
    let content = noise(100_000);
    let (absent, none) = (Condition::Absent, Condition::None);
    put(&store, "a", b"one", &attributes, &absent)
        .await
        .expect("new");
    let again = put(&store, "a", b"two", &attributes, &absent).await;
    assert_eq!(kind(again), ErrorKind::Changed);
    put(&store, "b", b"two", &attributes, &none)
        .await
        .expect("new");
    let moved = store.rename(&path("a"), &none, &path("b")).await;
    assert_eq!(kind(moved), ErrorKind::Changed);
    assert_eq!(std::fs::read(place.on_disk("b")).expect("content"), b"two");
    put(&store, "a", &content, &attributes, &none)
        .await
        .expect("over");
    assert!(read(&store, "a", 0..100_000).await.expect("read") == content);
    store
        .rename(&path("a"), &none, &path("c"))
        .await
        .expect("moved");
    store.put_link(&path("l"), "c").await.expect("link");
    store
        .rename(&path("l"), &none, &path("m"))
        .await
        .expect("moved");
    let stage = format!("{}/stage", wl_core::model::RESERVED);
    assert!(place.rows(&stage).await.is_empty());
    let names: Vec<_> = place
        .rows("")
        .await
        .into_iter()
        .map(|row| row.name)
        .collect();
    assert_eq!(names[1..], ["b", "c", "m"]);
}

#[tokio::test]
async fn without_copy_data_a_copy_is_a_second_name() {
    let place = Place::new().await;
    let mut program = server();
    program.arguments = vec!["-P".into(), "copy-data".into()];
    let store = store_at(Box::new(program), place.folder.path()).await;
    place
        .put("a", b"one", Condition::Absent)
        .await
        .expect("put");
    store
        .copy(&path("a"), None, &path("b"), true)
        .await
        .expect("copied");
    let occupied = store.copy(&path("a"), None, &path("b"), true).await;
    assert_eq!(kind(occupied), ErrorKind::Changed);
    place.put("a", b"two", Condition::None).await.expect("over");
    assert_eq!(std::fs::read(place.on_disk("b")).expect("content"), b"one");
}

#[tokio::test]
async fn a_server_that_only_reads_denies() {
    let place = Place::new().await;
    let mut program = server();
    program.arguments = vec!["-R".into()];
    let store = store_at(Box::new(program), place.folder.path()).await;
    let attributes = Attributes::default();
    let denied = put(&store, "a", b"x", &attributes, &Condition::Absent).await;
    assert_eq!(kind(denied), ErrorKind::Denied);
    assert_eq!(
        kind(store.make_folder(&path("f"), None).await),
        ErrorKind::Denied
    );
}

#[tokio::test]
async fn what_is_given_up_half_way_leaves_nothing_open() {
    let place = Place::new().await;
    place
        .put("a", &noise(1_000_000), Condition::Absent)
        .await
        .expect("put");
    let limited = format!("ulimit -n 64; exec {SERVER}");
    let program = Program {
        program: "sh".into(),
        arguments: vec!["-c".into(), limited.into()],
    };
    let store = store_at(Box::new(program), place.folder.path()).await;
    // More than the server has handles for.
    for round in 0..3000 {
        let (a, root) = (path("a"), SyncPath::root());
        let given_up_after = std::time::Duration::from_micros(round % 300);
        let reading = store.read(&a, 0..1_000_000, None);
        let _ = tokio::time::timeout(given_up_after, reading).await;
        let listing = store.list(List::Folder(&root));
        let _ = tokio::time::timeout(given_up_after, listing).await;
    }
    read(&store, "a", 0..1_000_000).await.expect("read");
}
