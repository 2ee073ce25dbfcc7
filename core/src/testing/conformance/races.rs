//! Races: at once, hundreds of times, and whatever happens nothing is lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Barrier;
use tokio::task::{JoinHandle, JoinSet};

use super::kit::{Kit, Pen, file, options, path};
use super::{Editor, Harness};
use crate::model::ContentHash;
use crate::storage::*;

const ROUNDS: usize = 200;

/// Lets the other go first: clearly in one round of eight, by some microseconds in the others. So both orders are certain to
/// be tried, on a busy machine too, and what lies between them is walked through.
async fn stagger(round: usize, who: usize) {
    if round % 8 == who {
        tokio::time::sleep(Duration::from_millis(1)).await;
    } else if round % 2 == who {
        let until = Instant::now() + Duration::from_micros((round * 3 % 64) as u64);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
    }
}

/// Starts both at about the same moment and waits for them.
async fn together<A, B>(
    round: usize,
    one: impl Future<Output = A> + Send + 'static,
    two: impl Future<Output = B> + Send + 'static,
) -> (A, B)
where
    A: Send + 'static,
    B: Send + 'static,
{
    let gate = Arc::new(Barrier::new(2));
    let other = Arc::clone(&gate);
    let one: JoinHandle<A> = tokio::spawn(async move {
        gate.wait().await;
        stagger(round, 0).await;
        one.await
    });
    let two: JoinHandle<B> = tokio::spawn(async move {
        other.wait().await;
        stagger(round, 1).await;
        two.await
    });
    (one.await.unwrap(), two.await.unwrap())
}

fn changed<T>(result: &Result<T>) -> bool {
    let kinds = [ErrorKind::Changed, ErrorKind::NotFound];
    result
        .as_ref()
        .is_err_and(|error| kinds.contains(&error.kind()))
}

/// Of two that create one path exactly one succeeds, and its content is what is there.
pub async fn one_creator_wins(harness: &dyn Harness) {
    let Some(kit) = Kit::racing(harness) else {
        return;
    };
    let (mine, theirs) = (kit.pen().await, kit.second_pen().await);
    for round in 0..ROUNDS {
        let at = format!("f{round}");
        let create = |pen: &Pen, content: &'static str| {
            let (pen, at) = (pen.clone(), at.clone());
            async move { pen.put(&at, content, Expect::Absent).await }
        };
        let (one, two) = together(round, create(&mine, "mine"), create(&theirs, "theirs")).await;
        let winner = match (&one, &two) {
            (Ok(_), Err(_)) if changed(&two) => "mine",
            (Err(_), Ok(_)) if changed(&one) => "theirs",
            _ => panic!("round {round}: not exactly one creator won: {one:?}, {two:?}"),
        };
        assert_eq!(
            kit.text(&at).await.as_deref(),
            Some(winner),
            "round {round}"
        );
    }
}

/// Of two that make one folder exactly one succeeds.
pub async fn one_folder_maker_wins(harness: &dyn Harness) {
    let Some(kit) = Kit::racing(harness).filter(|kit| kit.caps.empty_folders) else {
        return;
    };
    let (mine, theirs) = (kit.pen().await, kit.second_pen().await);
    for round in 0..ROUNDS {
        let make = |pen: &Pen| {
            let (pen, at) = (pen.clone(), path(&format!("d{round}")));
            async move { pen.0.make_folder(&at, None).await }
        };
        let (one, two) = together(round, make(&mine), make(&theirs)).await;
        assert!(
            one.is_ok() != two.is_ok(),
            "round {round}: {one:?}, {two:?}"
        );
        assert!(
            changed(&one) || changed(&two),
            "round {round}: {one:?}, {two:?}"
        );
    }
}

/// Adds 1 to the counter until it has done so; gives the hash of what it wrote. Between reading and writing it waits at `gate`,
/// once: all who wait there know the same version, so that one which is not compared is overwritten for sure.
async fn increment(
    backend: &dyn StorageBackend,
    pen: &Pen,
    who: &str,
    mut gate: Option<&Barrier>,
) -> ContentHash {
    let at = path("counter");
    for _ in 0..10_000 {
        let meta = backend.stat(&at).await.unwrap();
        let Some(meta) = meta else {
            tokio::task::yield_now().await;
            continue;
        };
        let request = ReadRequest {
            path: at.clone(),
            meta: meta.clone(),
        };
        let Ok(read) = backend.read_small(vec![request]).await.remove(0) else {
            tokio::task::yield_now().await;
            continue;
        };
        let text = String::from_utf8(read.content.to_vec()).unwrap();
        let count: u64 = text.split(' ').next().unwrap().parse().unwrap();
        let next = format!("{} {who}", count + 1);
        match gate.take() {
            Some(gate) => {
                gate.wait().await;
            }
            None => tokio::task::yield_now().await,
        }
        let expect = Expect::Is(Expected::of(&meta, Some(read.hash)));
        match pen.write(file("counter", next.as_bytes()), expect).await {
            Ok(_) => return ContentHash::of(next.as_bytes()),
            result => assert!(changed(&result), "{result:?}"),
        }
        tokio::task::yield_now().await;
    }
    panic!("{who} could not replace what it had just read, 10,000 times")
}

/// Workers that read, add 1 and replace what they read lose no increment, however many there are.
pub async fn no_increment_is_lost(harness: &dyn Harness) {
    let Some(kit) = Kit::racing(harness) else {
        return;
    };
    for (workers, times) in [(2, 40), (5, 10)] {
        kit.editor.write("counter", b"0 start").await;
        let mut running = JoinSet::new();
        let gate = Arc::new(Barrier::new(workers));
        for worker in 0..workers {
            let gate = Arc::clone(&gate);
            let (backend, pen) = if worker % 2 == 0 {
                (harness.backend(), kit.pen().await)
            } else {
                (harness.second(), kit.second_pen().await)
            };
            running.spawn(async move {
                let mut written = Vec::new();
                for time in 0..times {
                    let who = format!("{worker} {time}");
                    let gate = (time == 0).then_some(&*gate);
                    written.push(increment(&*backend, &pen, &who, gate).await);
                }
                pen.finish().await;
                (written, pen.0.stranded().await.len())
            });
        }
        let (mut written, mut stranded) = (Vec::new(), 0);
        // In the order of their ends: one that fails fails all, also while others wait for it.
        while let Some(ended) = running.join_next().await {
            let (hashes, found) = ended.unwrap();
            written.extend(hashes);
            stranded += found;
        }
        judge_counter(&kit, &written, stranded).await;
    }
}

async fn judge_counter(kit: &Kit<'_>, written: &[ContentHash], stranded: usize) {
    let total = written.len();
    let last = kit.text("counter").await.expect("the counter is there");
    let items = kit.backend.trash_list().await.unwrap();
    let odd = |item: &TrashItem| matches!(item.state, TrashState::Rescued | TrashState::Late);
    // A recoverable swap may be seen before it is taken back; then a version may end in the trash, but never nowhere.
    if kit.caps.cas == CasGrade::Atomic || (stranded == 0 && !items.iter().any(odd)) {
        assert!(
            last.starts_with(&format!("{total} ")),
            "{total} increments gave {last:?}"
        );
    }
    if !kit.caps.trash || items.iter().any(|item| item.hash.is_none()) {
        return;
    }
    for hash in written {
        let kept = items.iter().any(|item| item.hash == Some(*hash));
        let there = *hash == ContentHash::of(last.as_bytes());
        assert!(kept || there, "an acknowledged version is nowhere");
    }
}

/// A creation and a removal of one path: the creation either is refused or stays, the removal takes what it named.
pub async fn create_against_remove_loses_nothing(harness: &dyn Harness) {
    let Some(kit) = Kit::racing(harness) else {
        return;
    };
    let (mine, theirs) = (kit.pen().await, kit.second_pen().await);
    for round in 0..ROUNDS {
        let at = format!("f{round}");
        mine.create(&at, "base").await;
        let known = kit.known(&at).await;
        let (pen, name) = (mine.clone(), at.clone());
        let remove = async move { pen.remove(&name, known).await };
        let (pen, name) = (theirs.clone(), at.clone());
        let create = async move { pen.put(&name, "new", Expect::Absent).await };
        let (removed, created) = together(round, remove, create).await;
        removed.unwrap_or_else(|error| panic!("round {round}: {error:?}"));
        assert!(
            created.is_ok() || changed(&created),
            "round {round}: {created:?}"
        );
        let wanted = created.ok().map(|_| "new");
        assert_eq!(kit.text(&at).await.as_deref(), wanted, "round {round}");
    }
}

/// How an editor writes in round number `round`.
async fn edit(editor: &dyn Editor, round: usize, at: &str, content: &str) {
    if round.is_multiple_of(2) {
        editor.write(at, content.as_bytes()).await;
    } else {
        editor.write_in_place(at, content.as_bytes()).await;
    }
}

/// Panics if the editor's last version of a path is neither there nor in the trash.
async fn assert_kept(kit: &Kit<'_>, at: &str, version: &str) {
    if kit.text(at).await.as_deref() == Some(version) {
        return;
    }
    let trashed = kit.trashed(at).await;
    let kept = trashed
        .iter()
        .any(|(_, content)| content == version.as_bytes());
    assert!(
        kept,
        "{version:?} at {at:?} is neither there nor in the trash: {trashed:?}"
    );
}

/// An editor's version, written while its path is replaced, is there or in the trash; and it is not replaced unless it was named.
pub async fn replace_against_an_editor_loses_nothing(harness: &dyn Harness) {
    let Some(kit) = Kit::racing(harness) else {
        return;
    };
    let pen = kit.pen().await;
    for round in 0..ROUNDS {
        let at = format!("f{round}");
        kit.editor.write(&at, b"base").await;
        let expect = Expect::Is(kit.known(&at).await);
        let staged = pen.stage(file(&at, b"ours")).await.unwrap();
        let (ours, name) = (pen.clone(), at.clone());
        let replace = async move { ours.publish(&name, staged, expect).await };
        let (editor, name) = (harness.editor(), at.clone());
        let edit = async move { edit(&*editor, round, &name, &format!("edit {round}")).await };
        let (replaced, ()) = together(round, replace, edit).await;
        assert!(
            replaced.is_ok() || changed(&replaced),
            "round {round}: {replaced:?}"
        );
        if kit.caps.cas == CasGrade::Atomic {
            let wanted = format!("edit {round}");
            assert_eq!(
                kit.text(&at).await,
                Some(wanted),
                "round {round}: {replaced:?}"
            );
        }
    }
    pen.finish().await;
    for round in 0..ROUNDS {
        assert_kept(&kit, &format!("f{round}"), &format!("edit {round}")).await;
    }
}

/// An editor's version, written while its path is removed, is there or in the trash.
pub async fn remove_against_an_editor_loses_nothing(harness: &dyn Harness) {
    let Some(kit) = Kit::racing(harness) else {
        return;
    };
    let pen = Pen(kit.backend.begin(options()).await.unwrap());
    for round in 0..ROUNDS {
        let at = format!("f{round}");
        kit.editor.write(&at, b"base").await;
        let known = kit.known(&at).await;
        let (ours, name) = (pen.clone(), at.clone());
        let remove = async move { ours.remove(&name, known).await };
        let (editor, name) = (harness.editor(), at.clone());
        let edit = async move { edit(&*editor, round, &name, &format!("edit {round}")).await };
        let (removed, ()) = together(round, remove, edit).await;
        assert!(
            removed.is_ok() || changed(&removed),
            "round {round}: {removed:?}"
        );
    }
    pen.finish().await;
    for round in 0..ROUNDS {
        assert_kept(&kit, &format!("f{round}"), &format!("edit {round}")).await;
    }
}

/// A rename and a replacement of one version never both succeed, and who succeeds has done it.
pub async fn rename_against_replace_has_one_winner(harness: &dyn Harness) {
    let Some(kit) = Kit::racing(harness).filter(|kit| kit.caps.rename) else {
        return;
    };
    let (mine, theirs) = (kit.pen().await, kit.second_pen().await);
    for round in 0..ROUNDS {
        let (from, to) = (format!("f{round}"), format!("t{round}"));
        mine.create(&from, "base").await;
        let known = kit.known(&from).await;
        let (pen, expected, a, b) = (mine.clone(), known.clone(), from.clone(), to.clone());
        let rename = async move { pen.rename(&a, expected, &b).await };
        let (pen, at) = (theirs.clone(), from.clone());
        let replace = async move { pen.put(&at, "new", Expect::Is(known)).await };
        let (renamed, replaced) = together(round, rename, replace).await;
        let (old, new) = (kit.text(&from).await, kit.text(&to).await);
        let wanted = match (&renamed, &replaced) {
            (Ok(_), Err(_)) if changed(&replaced) => (None, Some("base")),
            (Err(_), Ok(_)) if changed(&renamed) => (Some("new"), None),
            (Err(_), Err(_)) if kit.caps.cas < CasGrade::Atomic => (Some("base"), None),
            _ => panic!("round {round}: {renamed:?}, {replaced:?}"),
        };
        assert_eq!((old.as_deref(), new.as_deref()), wanted, "round {round}");
    }
}
