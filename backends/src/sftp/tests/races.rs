//! Several writers, each with a connection of its own.

use super::*;

fn content(writer: usize, round: usize) -> Vec<u8> {
    format!("{writer} {round} ").repeat(10_000).into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_writers_who_create_one_wins() {
    let place = Place::new().await;
    let mut stores = Vec::new();
    for _ in 0..4 {
        stores.push(store_at(Box::new(server()), place.folder.path()).await);
    }
    for round in 0..200 {
        let name = format!("file {round}");
        let writers = stores.iter().enumerate().map(|(writer, store)| {
            let (store, name) = (store.clone(), name.clone());
            tokio::spawn(async move {
                let content = content(writer, round);
                let attributes = Attributes::default();
                put(&store, &name, &content, &attributes, &Condition::Absent).await
            })
        });
        let outcomes = futures::future::join_all(writers.collect::<Vec<_>>()).await;
        let mut winners = Vec::new();
        for (writer, outcome) in outcomes.into_iter().enumerate() {
            match outcome.expect("no panic") {
                Ok(_) => winners.push(writer),
                Err(fault) => assert_eq!(fault.error.kind(), ErrorKind::Changed),
            }
        }
        assert_eq!(winners.len(), 1, "round {round}");
        let kept = std::fs::read(place.on_disk(&name)).expect("content");
        assert!(kept == content(winners[0], round), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looks_while_a_file_is_replaced_sees_a_whole_one() {
    let place = Place::new().await;
    place
        .put("a", &content(0, 0), Condition::Absent)
        .await
        .expect("put");
    let store = store_at(Box::new(server()), place.folder.path()).await;
    let writing = tokio::spawn(async move {
        for round in 1..200 {
            let (content, attributes) = (content(0, round), Attributes::default());
            let put = put(&store, "a", &content, &attributes, &Condition::None).await;
            put.expect("put");
        }
    });
    let wanted: Vec<_> = (0..200).map(|round| content(0, round)).collect();
    let mut looks = 0;
    while !writing.is_finished() || looks == 0 {
        let seen = std::fs::read(place.on_disk("a")).expect("always there");
        assert!(wanted.contains(&seen));
        looks += 1;
        tokio::task::yield_now().await;
    }
    writing.await.expect("written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_move_to_one_name_one_wins_and_nothing_is_lost() {
    let place = Place::new().await;
    let mut stores = Vec::new();
    for _ in 0..2 {
        stores.push(store_at(Box::new(server()), place.folder.path()).await);
    }
    for round in 0..100 {
        let to = format!("to {round}");
        for writer in 0..2 {
            let from = place.on_disk(&format!("{writer} {round}"));
            std::fs::write(from, writer.to_string()).expect("file");
        }
        let movers = stores.iter().enumerate().map(|(writer, store)| {
            let (from, to) = (path(&format!("{writer} {round}")), path(&to));
            async move { store.rename(&from, &Condition::None, &to).await }
        });
        let outcomes = futures::future::join_all(movers).await;
        let won: Vec<_> = outcomes.iter().map(Result::is_ok).collect();
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "round {round}");
        for (writer, won) in won.into_iter().enumerate() {
            let at = if won {
                to.clone()
            } else {
                format!("{writer} {round}")
            };
            let kept = std::fs::read_to_string(place.on_disk(&at)).expect("content");
            assert_eq!(kept, writer.to_string());
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_said_to_be_full() {
    if !rustix::process::getuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let flags = rustix::mount::MountFlags::empty();
    let size = Some(c"size=1m");
    if rustix::mount::mount("tmpfs", folder.path(), "tmpfs", flags, size).is_err() {
        // A container that may not mount.
        return;
    }
    let store = store_at(Box::new(server()), folder.path()).await;
    let (content, attributes) = (noise(3_000_000), Attributes::default());
    let before = put(&store, "a", b"old", &attributes, &Condition::Absent).await;
    let full = put(&store, "a", &content, &attributes, &Condition::None).await;
    let kept = std::fs::read(folder.path().join("a"));
    let small = put(&store, "b", b"room again", &attributes, &Condition::Absent).await;
    drop(store);
    let detach = rustix::mount::UnmountFlags::DETACH;
    rustix::mount::unmount(folder.path(), detach).expect("unmounted");
    before.expect("put");
    assert_eq!(kind(full), ErrorKind::Full);
    assert_eq!(kept.expect("content"), b"old");
    small.expect("the leftover was removed");
}
