//! Publishing against everything that can be at a path, on every grade of file system.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;

use wl_core::model::{ContentHash, Kind, Mode};
use wl_core::storage::{
    ErrorKind, Expect, Expected, Payload, RenameRequest, ReplaceRequest, StageRequest,
    StorageBackend, TrashState,
};

use super::kit::{Lab, WEAK, content, kind, options, p, put, run_name, stage, take};
use crate::local::kernel::Fd;
use crate::local::session::Session;

#[tokio::test]
async fn nothing_is_written_through_a_link() {
    for limit in WEAK {
        let lab = Lab::limited(limit);
        let outside = super::kit::folder();
        std::fs::write(outside.path().join("f"), b"outside").unwrap();
        lab.write("d/f", b"inside");
        let expected = lab.expected("d/f").await;
        let session = lab.begin().await;
        std::fs::rename(lab.at("d"), lab.at("moved")).unwrap();
        symlink(outside.path(), lab.at("d")).unwrap();
        let new = put(&*session, "d/new", b"x", Expect::Absent).await;
        assert_eq!(kind(new), ErrorKind::NoParent);
        let known = Expect::Is(expected.clone());
        assert_eq!(
            kind(put(&*session, "d/f", b"x", known).await),
            ErrorKind::NoParent
        );
        let removed = take(&*session, "d/f", expected.clone()).await;
        assert_eq!(kind(removed), ErrorKind::NotFound);
        let made = session.make_folder(&p("d/sub"), None).await;
        assert_eq!(kind(made), ErrorKind::NoParent);
        let mode = session
            .set_mode(&p("d/f"), &expected, Mode::new(0o777))
            .await;
        assert_eq!(kind(mode), ErrorKind::NotFound);
        lab.write("plain", b"inside");
        let rename = RenameRequest {
            from: p("plain"),
            expected: lab.expected("plain").await,
            to: p("d/g"),
        };
        let renamed = session.rename(vec![rename]).await.pop().unwrap();
        assert_eq!(kind(renamed), ErrorKind::NoParent);
        session.finish().await.unwrap();
        let names: Vec<_> = std::fs::read_dir(outside.path()).unwrap().collect();
        assert_eq!(names.len(), 1);
        assert_eq!(std::fs::read(outside.path().join("f")).unwrap(), b"outside");
        assert_eq!(lab.read("plain").unwrap(), b"inside");
    }
}

#[tokio::test]
async fn files_and_links_take_each_others_place() {
    for limit in WEAK {
        let lab = Lab::limited(limit);
        lab.write("f", b"file");
        let session = lab.begin().await;
        let link = StageRequest {
            payload: Payload::Link("over/there".into()),
            ..content("f", b"")
        };
        let staged = stage(&*session, link).await.unwrap();
        let request = ReplaceRequest {
            path: p("f"),
            staged,
            expect: Expect::Is(lab.expected("f").await),
            listed: false,
        };
        let published = session.replace(vec![request]).await.pop().unwrap().unwrap();
        assert_eq!(published.mode, None);
        let target = std::fs::read_link(lab.at("f")).unwrap();
        assert_eq!(target.to_str(), Some("over/there"));
        let known = Expected::of(&lab.meta("f").await, None);
        assert_eq!(known.link.as_deref(), Some("over/there"));
        put(&*session, "f", b"again", Expect::Is(known))
            .await
            .unwrap();
        assert_eq!(lab.read("f").unwrap(), b"again");
        let items = lab.backend.trash_list().await.unwrap();
        let kinds: Vec<_> = items.iter().map(|item| item.kind).collect();
        assert_eq!(kinds, [Some(Kind::File), Some(Kind::Link)]);
    }
}

#[tokio::test]
async fn a_folder_at_the_path_stays_as_it_is() {
    for limit in WEAK {
        let lab = Lab::limited(limit);
        lab.write("f", b"file");
        let expected = lab.expected("f").await;
        std::fs::remove_file(lab.at("f")).unwrap();
        lab.write("f/inner", b"kept");
        let session = lab.begin().await;
        let known = Expect::Is(expected.clone());
        assert_eq!(
            kind(put(&*session, "f", b"x", known).await),
            ErrorKind::Changed
        );
        assert_eq!(
            kind(put(&*session, "f", b"x", Expect::Absent).await),
            ErrorKind::Changed
        );
        assert_eq!(
            kind(take(&*session, "f", expected).await),
            ErrorKind::Changed
        );
        assert_eq!(lab.read("f/inner").unwrap(), b"kept");
        let folder = Expected::of(&lab.meta("f").await, None);
        assert_eq!(
            kind(take(&*session, "f", folder.clone()).await),
            ErrorKind::NotEmpty
        );
        std::fs::remove_file(lab.at("f/inner")).unwrap();
        take(&*session, "f", folder.clone()).await.unwrap();
        assert_eq!(
            kind(take(&*session, "f", folder).await),
            ErrorKind::NotFound
        );
        session.finish().await.unwrap();
    }
}

/// A version with the expected size and time but another content and a token that says nothing.
#[tokio::test]
async fn equal_size_and_time_are_no_proof() {
    for limit in WEAK {
        let lab = Lab::limited(limit);
        lab.write("f", b"secret-2");
        let expected = Expected {
            token: None,
            hash: Some(ContentHash::of(b"secret-1")),
            ..lab.expected("f").await
        };
        let session = lab.begin().await;
        let known = Expect::Is(expected.clone());
        assert_eq!(
            kind(put(&*session, "f", b"new", known).await),
            ErrorKind::Changed
        );
        assert_eq!(
            kind(take(&*session, "f", expected.clone()).await),
            ErrorKind::Changed
        );
        let nothing = Expected {
            hash: None,
            ..expected
        };
        assert_eq!(
            kind(take(&*session, "f", nothing).await),
            ErrorKind::Changed
        );
        assert_eq!(lab.read("f").unwrap(), b"secret-2");
        assert!(session.stranded().await.is_empty());
        session.finish().await.unwrap();
        assert!(lab.trash().await.is_empty());
    }
}

/// A token that matches although the content does not (as after a write within one tick): found out in our hands, put back.
#[tokio::test]
async fn a_small_version_is_read_again_even_if_its_token_matches() {
    for limit in WEAK {
        let lab = Lab::limited(limit);
        lab.write("f", b"really this");
        let expected = Expected {
            token: Some(lab.meta("f").await.token),
            hash: Some(ContentHash::of(b"believed to be that")),
            kind: Kind::File,
            link: None,
        };
        let session = lab.begin().await;
        let known = Expect::Is(expected.clone());
        assert_eq!(
            kind(put(&*session, "f", b"new", known).await),
            ErrorKind::Changed
        );
        assert_eq!(
            kind(take(&*session, "f", lab_token(&lab, &expected).await).await),
            ErrorKind::Changed
        );
        let rename = RenameRequest {
            from: p("f"),
            expected: lab_token(&lab, &expected).await,
            to: p("g"),
        };
        let renamed = session.rename(vec![rename]).await.pop().unwrap();
        assert_eq!(kind(renamed), ErrorKind::Changed);
        assert_eq!(lab.read("f").unwrap(), b"really this");
        assert!(lab.read("g").is_none());
        session.finish().await.unwrap();
        // Ours was at the path for a moment: a program may have opened it there.
        assert!(
            lab.trash()
                .await
                .iter()
                .all(|(_, content)| content == b"new")
        );
        assert!(!lab.at(".wl/stage").exists());
    }
}

/// Of a large version with a good token the attributes decide; each of them counts.
#[tokio::test]
async fn a_large_version_that_was_touched_is_not_the_expected_one() {
    use std::os::unix::fs::FileExt;
    let lab = Lab::new();
    let age = |path: &str| {
        let file = std::fs::File::options()
            .write(true)
            .open(lab.at(path))
            .unwrap();
        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        file.set_modified(long_ago).unwrap();
        file
    };
    let session = Session::begin(Arc::clone(&lab.backend.spot), options(&run_name())).unwrap();
    let folder = Fd::open_root(lab.dir.path()).unwrap();
    let at = (&folder, "f");
    let touches: [&dyn Fn(); 3] = [
        &|| age("f").write_at(b"x", 5).map(drop).unwrap(),
        &|| age("f").set_len(1).unwrap(),
        &|| {
            lab.write("g", &vec![1; 2 << 20]);
            age("g");
            std::fs::rename(lab.at("g"), lab.at("f")).unwrap();
        },
    ];
    for touch in touches {
        lab.write("f", &vec![1; 2 << 20]);
        age("f");
        let expected = lab.expected("f").await;
        assert!(expected.token.is_some());
        let seen = session.precheck(at, &expected).ok().unwrap();
        assert!(session.verify(at, &seen, &expected).is_some());
        touch();
        assert!(session.verify(at, &seen, &expected).is_none());
        std::fs::remove_file(lab.at("f")).unwrap();
    }
}

async fn lab_token(lab: &Lab, expected: &Expected) -> Expected {
    Expected {
        token: Some(lab.meta("f").await.token),
        ..expected.clone()
    }
}

#[tokio::test]
async fn modes_and_times_are_as_asked() {
    let lab = Lab::new();
    let session = lab.begin().await;
    let published = put(&*session, "f", b"1", Expect::Absent).await.unwrap();
    let meta = lab.meta("f").await;
    assert_eq!(published.token, meta.token);
    assert!(published.settled && meta.settled);
    assert_eq!(meta.mode, Some(Mode::new(0o640)));
    assert_eq!(
        meta.mtime.map(|t| (t.secs, t.nanos)),
        Some((1_000_000_000, 7))
    );
    let expected = lab.expected("f").await;
    let set = session
        .set_mode(&p("f"), &expected, Mode::new(0o200))
        .await
        .unwrap();
    assert_eq!(set.token, lab.meta("f").await.token);
    let made = session
        .make_folder(&p("d"), Some(Mode::new(0o077)))
        .await
        .unwrap();
    assert_eq!(made.mode, Some(Mode::new(0o777)));
    let folder = Expected::of(&lab.meta("d").await, None);
    session
        .set_mode(&p("d"), &folder, Mode::new(0o555))
        .await
        .unwrap();
    let bits = std::fs::metadata(lab.at("d")).unwrap().permissions().mode();
    assert_eq!(bits & 0o7777, 0o555);
    std::os::unix::fs::symlink("f", lab.at("l")).unwrap();
    let changed = session.set_mode(&p("l"), &expected, Mode::new(0o777)).await;
    assert_eq!(kind(changed), ErrorKind::Changed);
    assert_eq!(lab.meta("f").await.mode, Some(Mode::new(0o200)));
}

#[tokio::test]
async fn one_batch_does_what_can_be_done() {
    let lab = Lab::new();
    for n in 0..50 {
        lab.write(&format!("d{}/f{n}", n % 20), b"old");
    }
    let session = lab.begin().await;
    let mut requests = Vec::new();
    for n in 0..50 {
        let path = format!("d{}/f{n}", n % 20);
        let staged = stage(&*session, content(&path, b"new")).await.unwrap();
        let expected = lab.expected(&path).await;
        if n % 5 == 0 {
            lab.write(&path, b"edited");
        }
        requests.push(ReplaceRequest {
            path: p(&path),
            staged,
            expect: Expect::Is(expected),
            listed: false,
        });
    }
    let results = session.replace(requests).await;
    for (n, result) in results.iter().enumerate() {
        let path = format!("d{}/f{n}", n % 20);
        assert_eq!(result.is_err(), n % 5 == 0, "{n}: {result:?}");
        let now = lab.read(&path).unwrap();
        assert_eq!(now, if n % 5 == 0 { &b"edited"[..] } else { b"new" });
    }
    assert_eq!(session.finish().await.unwrap().versions, 40);
    let trash = lab.trash().await;
    assert!(trash.iter().all(|(item, content)| content == b"old"
        && item.state == TrashState::Replaced
        && item.hash == Some(ContentHash::of(b"old"))));
    assert_eq!(trash.len(), 40);
}

#[tokio::test]
async fn the_reserved_name_and_the_root_are_refused_everywhere() {
    let lab = Lab::new();
    let session = lab.begin().await;
    let nothing = Expected {
        kind: Kind::Folder,
        token: None,
        hash: None,
        link: None,
    };
    for path in [".wl", ".wl/trash/x", ""] {
        let staged = stage(&*session, content(path, b"")).await;
        assert_eq!(kind(staged), ErrorKind::Unrepresentable);
        assert_eq!(
            kind(take(&*session, path, nothing.clone()).await),
            ErrorKind::Unrepresentable
        );
        let made = session.make_folder(&p(path), None).await;
        assert_eq!(kind(made), ErrorKind::Unrepresentable);
        let mode = session.set_mode(&p(path), &nothing, Mode::new(0)).await;
        assert_eq!(kind(mode), ErrorKind::Unrepresentable);
        assert_eq!(
            kind(lab.backend.stat(&p(path)).await),
            ErrorKind::Unrepresentable
        );
    }
    let staged = stage(&*session, content("a", b"")).await.unwrap();
    let request = ReplaceRequest {
        path: p(".wl/a"),
        staged,
        expect: Expect::Absent,
        listed: false,
    };
    let replaced = session.replace(vec![request]).await.pop().unwrap();
    assert_eq!(kind(replaced), ErrorKind::Unrepresentable);
    let long = "n".repeat(256);
    let refused = put(&*session, &long, b"", Expect::Absent).await;
    assert_eq!(kind(refused), ErrorKind::Unrepresentable);
}
