//! What a killed session leaves behind, built by hand in every state it can be in.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};
use wl_core::model::ContentHash;
use wl_core::storage::{Expect, StorageBackend, StrandedVersion, TrashState};

use super::kit::{Lab, WEAK, options, p, put, run_name, stage, take};

const OLD: &[u8] = b"the agreed version";
const NEW: &[u8] = b"our new version";
const THEIRS: &[u8] = b"somebody's version";

/// A staging folder whose session is dead.
struct Dead<'a> {
    lab: &'a Lab,
    journal: Vec<String>,
}

impl<'a> Dead<'a> {
    fn new(lab: &'a Lab) -> Self {
        fs::create_dir_all(lab.at(".wl/stage/dead")).unwrap();
        Self {
            lab,
            journal: Vec::new(),
        }
    }

    fn intent(mut self, n: u64, op: &str, path: &str) -> Self {
        let mut line = json!({
            "n": n, "op": op, "path": path, "kind": "file",
            "hash": ContentHash::of(OLD), "token": "1-2-3.4-5.6",
        });
        if matches!(op, "replace" | "create") {
            line["new"] = json!({ "ino": 1, "hash": ContentHash::of(NEW) });
        }
        self.journal.push(line.to_string());
        self
    }

    fn torn(mut self, line: &str) -> Self {
        self.journal.push(line.to_owned());
        self
    }

    fn swap(self, n: u64, content: &[u8]) -> Self {
        self.lab.write(&format!(".wl/stage/dead/{n}.swap"), content);
        self
    }

    fn part(self, n: u64, content: &[u8]) -> Self {
        self.lab.write(&format!(".wl/stage/dead/{n}.part"), content);
        self
    }

    fn tree(self, path: &str, content: &[u8]) -> Self {
        self.lab.write(path, content);
        self
    }

    /// The next session begins.
    async fn next(self) -> Vec<StrandedVersion> {
        self.lab
            .write(".wl/stage/dead/journal", self.journal.join("\n").as_bytes());
        let session = self.lab.begin().await;
        let stranded = session.stranded().await;
        session.finish().await.unwrap();
        assert!(!self.lab.at(".wl/stage").exists(), "all is tidied up");
        let again = self.lab.begin().await;
        assert!(again.stranded().await.is_empty(), "told once");
        stranded
    }
}

async fn trash(lab: &Lab) -> Vec<(Option<String>, TrashState, Vec<u8>)> {
    let items = lab.trash().await.into_iter();
    items
        .map(|(item, content)| (item.path.map(String::from), item.state, content))
        .collect()
}

#[tokio::test]
async fn staged_content_is_given_up() {
    let lab = Lab::new();
    let told = Dead::new(&lab).part(0, NEW).part(7, b"half").next().await;
    assert!(told.is_empty() && trash(&lab).await.is_empty());
}

/// A power cut took the name that it was published under, and not what somebody wrote to it there.
#[tokio::test]
async fn staged_content_that_somebody_wrote_to_is_kept() {
    for op in ["create", "replace"] {
        let lab = Lab::new();
        let dead = Dead::new(&lab).intent(0, op, "f").intent(1, op, "g");
        let dead = dead.part(0, THEIRS).part(1, NEW);
        let told = dead.next().await;
        assert_eq!((told.len(), lab.read("f").unwrap()), (1, THEIRS.to_vec()));
        assert_eq!(told[0].kept, "put back at f");
        assert!(lab.read("g").is_none() && trash(&lab).await.is_empty());

        let dead = Dead::new(&lab).intent(4, op, "f").part(4, b"newer");
        let told = dead.tree("f", OLD).next().await;
        assert_eq!((told.len(), lab.read("f").unwrap()), (1, OLD.to_vec()));
        assert_eq!(told[0].kept, "in the trash as dead/4");
        let due = (Some("f".to_owned()), TrashState::Rescued, b"newer".to_vec());
        assert_eq!(trash(&lab).await, [due]);
    }
}

/// The number of a displaced version may be that of the content that displaced it.
#[tokio::test]
async fn staged_content_that_somebody_wrote_to_takes_nobodys_place_in_the_trash() {
    let lab = Lab::limited(WEAK[1]);
    let dead = Dead::new(&lab).intent(3, "replace", "f").swap(3, OLD);
    let told = dead.part(3, THEIRS).tree("f", b"newer").next().await;
    assert_eq!((told.len(), lab.read("f").unwrap()), (1, b"newer".to_vec()));
    let kept = trash(&lab).await;
    let due = [
        (Some("f".to_owned()), TrashState::Replaced, OLD.to_vec()),
        (Some("f".to_owned()), TrashState::Rescued, THEIRS.to_vec()),
    ];
    assert_eq!(kept, due);
}

/// Where a rename is a second link and the first is taken away after, both may be there.
#[tokio::test]
async fn staged_content_that_is_at_its_path_is_given_up_whatever_is_in_it() {
    let lab = Lab::limited(WEAK[2]);
    let dead = Dead::new(&lab).intent(0, "create", "f").part(0, THEIRS);
    fs::hard_link(lab.at(".wl/stage/dead/0.part"), lab.at("f")).unwrap();
    assert!(dead.next().await.is_empty());
    assert_eq!(lab.read("f").unwrap(), THEIRS);
    assert!(trash(&lab).await.is_empty());
}

#[tokio::test]
async fn killed_before_the_exchange() {
    let lab = Lab::new();
    let dead = Dead::new(&lab)
        .intent(3, "replace", "f")
        .swap(3, NEW)
        .tree("f", OLD);
    assert!(dead.next().await.is_empty());
    assert_eq!(lab.read("f").unwrap(), OLD);
    assert!(trash(&lab).await.is_empty());
}

#[tokio::test]
async fn killed_after_the_exchange() {
    let lab = Lab::new();
    let dead = Dead::new(&lab)
        .intent(3, "replace", "f")
        .swap(3, OLD)
        .tree("f", NEW);
    assert!(dead.next().await.is_empty());
    assert_eq!(lab.read("f").unwrap(), NEW);
    let due = (Some("f".to_owned()), TrashState::Replaced, OLD.to_vec());
    assert_eq!(trash(&lab).await, [due]);
}

#[tokio::test]
async fn killed_with_a_racing_version_in_hand() {
    let lab = Lab::new();
    let dead = Dead::new(&lab)
        .intent(3, "replace", "d/f")
        .swap(3, THEIRS)
        .tree("d/f", NEW);
    let told = dead.next().await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].path, Some(p("d/f")));
    assert!(told[0].kept.starts_with("put back at"), "{}", told[0].kept);
    assert_eq!(lab.read("d/f").unwrap(), THEIRS);
    let due = (Some("d/f".to_owned()), TrashState::Replaced, NEW.to_vec());
    assert_eq!(trash(&lab).await, [due]);
}

#[tokio::test]
async fn killed_with_a_racing_version_in_hand_and_another_at_the_path() {
    for at_the_path in [Some(&b"yet another"[..]), Some(OLD), None] {
        let lab = Lab::new();
        let mut dead = Dead::new(&lab).intent(3, "replace", "f").swap(3, THEIRS);
        if let Some(content) = at_the_path {
            dead = dead.tree("f", content);
        }
        let told = dead.next().await;
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].kept, "in the trash as dead/3");
        assert_eq!(lab.read("f").as_deref(), at_the_path);
        let due = (Some("f".to_owned()), TrashState::Rescued, THEIRS.to_vec());
        assert_eq!(trash(&lab).await, [due]);
    }
}

#[tokio::test]
async fn killed_after_taking_a_version_away() {
    let lab = Lab::new();
    let dead = Dead::new(&lab).intent(4, "remove", "f").swap(4, OLD);
    assert!(dead.next().await.is_empty());
    assert!(lab.read("f").is_none());
    let due = (Some("f".to_owned()), TrashState::Removed, OLD.to_vec());
    assert_eq!(trash(&lab).await, [due]);
}

#[tokio::test]
async fn killed_after_taking_the_wrong_version_away() {
    let lab = Lab::new();
    let told = Dead::new(&lab)
        .intent(4, "remove", "f")
        .swap(4, THEIRS)
        .next()
        .await;
    assert_eq!((told.len(), lab.read("f").unwrap()), (1, THEIRS.to_vec()));
    let dead = Dead::new(&lab).intent(5, "remove", "f").swap(5, NEW);
    let told = dead.tree("f", b"newer").next().await;
    assert_eq!(told[0].kept, "in the trash as dead/5");
    assert_eq!(lab.read("f").unwrap(), b"newer");
    let due = (Some("f".to_owned()), TrashState::Rescued, NEW.to_vec());
    assert_eq!(trash(&lab).await, [due]);
}

#[tokio::test]
async fn killed_while_a_version_was_moved_aside() {
    for limit in WEAK {
        let lab = Lab::limited(limit);
        let dead = Dead::new(&lab)
            .intent(1, "replace", "f")
            .swap(1, OLD)
            .part(1, NEW);
        assert!(dead.next().await.is_empty());
        assert_eq!(lab.read("f").unwrap(), OLD);
        let dead = Dead::new(&lab).intent(2, "rename", "g").swap(2, OLD);
        assert!(dead.next().await.is_empty());
        assert_eq!(lab.read("g").unwrap(), OLD);
        assert!(trash(&lab).await.is_empty());
    }
}

#[tokio::test]
async fn a_swap_without_a_record_is_kept() {
    let lab = Lab::new();
    let told = Dead::new(&lab)
        .torn("{\"n\":9,\"op\":\"repl")
        .swap(9, THEIRS)
        .next()
        .await;
    assert_eq!((told.len(), &told[0].path), (1, &None));
    assert_eq!(
        trash(&lab).await,
        [(None, TrashState::Rescued, THEIRS.to_vec())]
    );
}

/// The journal may be gone already, and the second name of a version that is in the trash back from the dead.
#[tokio::test]
async fn a_swap_that_is_in_the_trash_by_another_link_is_not_told() {
    let lab = Lab::limited(WEAK[2]);
    let dead = Dead::new(&lab).swap(3, OLD).tree("f", NEW);
    fs::create_dir_all(lab.at(".wl/trash/dead")).unwrap();
    let kept = lab.at(".wl/trash/dead/3");
    fs::hard_link(lab.at(".wl/stage/dead/3.swap"), &kept).unwrap();
    let found = fs::metadata(&kept).unwrap();
    let line = json!({
        "n": 3, "path": "f", "kind": "file", "hash": ContentHash::of(OLD), "state": "replaced",
        "size": found.size(), "since": 4_000_000_000_u64,
        "ino": found.ino(), "secs": found.mtime(), "nanos": found.mtime_nsec(),
    });
    lab.write(".wl/trash/dead/index", line.to_string().as_bytes());
    assert!(dead.next().await.is_empty());
    let due = (Some("f".to_owned()), TrashState::Replaced, OLD.to_vec());
    assert_eq!(trash(&lab).await, [due]);
}

#[tokio::test]
async fn a_torn_line_hides_no_other() {
    let lab = Lab::new();
    let dead = Dead::new(&lab)
        .intent(1, "replace", "f")
        .torn("{\"n\":2,\"op\":\"remove\",\"pa\u{fffd}")
        .intent(3, "remove", "g")
        .torn("{");
    let told = dead.swap(1, OLD).swap(3, OLD).tree("f", NEW).next().await;
    assert!(told.is_empty());
    let states: Vec<_> = trash(&lab)
        .await
        .into_iter()
        .map(|(_, state, _)| state)
        .collect();
    assert_eq!(states, [TrashState::Replaced, TrashState::Removed]);
}

#[tokio::test]
async fn trash_without_an_index_line_gets_it_from_the_journal() {
    let lab = Lab::new();
    lab.write(".wl/trash/dead/1", OLD);
    lab.write(".wl/trash/dead/2", THEIRS);
    lab.write(".wl/trash/dead/3", THEIRS);
    let dead = Dead::new(&lab)
        .intent(1, "replace", "f")
        .intent(2, "remove", "g");
    dead.next().await;
    let mut found = trash(&lab).await;
    found.sort_by_key(|item| item.0.clone());
    let due = [
        (None, TrashState::Rescued, THEIRS.to_vec()),
        (Some("f".to_owned()), TrashState::Replaced, OLD.to_vec()),
        (Some("g".to_owned()), TrashState::Rescued, THEIRS.to_vec()),
    ];
    assert_eq!(found, due);
}

#[tokio::test]
async fn a_version_that_was_noted_but_not_moved_is_listed_once() {
    let lab = Lab::new();
    let note: Value = json!({
        "n": 1, "path": "f", "kind": "file", "hash": null, "state": "replaced",
        "size": 1, "since": 5, "ino": 1, "secs": 1, "nanos": 1,
    });
    lab.write(".wl/trash/dead/index", format!("{note}\n{note}").as_bytes());
    let dead = Dead::new(&lab)
        .intent(1, "replace", "f")
        .swap(1, OLD)
        .tree("f", NEW);
    dead.next().await;
    let due = (Some("f".to_owned()), TrashState::Replaced, OLD.to_vec());
    assert_eq!(trash(&lab).await, [due]);
}

#[tokio::test]
async fn a_link_on_the_way_out_of_the_root_gets_nothing_put_back() {
    let lab = Lab::new();
    let outside = super::kit::folder();
    std::os::unix::fs::symlink(outside.path(), lab.at("d")).unwrap();
    Dead::new(&lab)
        .intent(4, "remove", "d/f")
        .swap(4, THEIRS)
        .next()
        .await;
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(trash(&lab).await.len(), 1);
    let dead = Dead::new(&lab)
        .intent(6, "remove", ".wl/lock2")
        .swap(6, THEIRS);
    dead.next().await;
    assert!(!lab.at(".wl/lock2").exists());
}

#[tokio::test]
async fn a_living_sessions_folder_is_left_alone() {
    let lab = Lab::new();
    let living = lab.begin().await;
    let staged = stage(&*living, super::kit::content("f", NEW))
        .await
        .unwrap();
    let other = lab.second().begin(options(&run_name())).await.unwrap();
    other.finish().await.unwrap();
    let request = wl_core::storage::ReplaceRequest {
        path: p("f"),
        staged,
        expect: Expect::Absent,
        listed: false,
    };
    living.replace(vec![request]).await.pop().unwrap().unwrap();
    assert_eq!(lab.read("f").unwrap(), NEW);
}

/// A session that is dropped in the middle, as by a crash of its task, leaves what the next can tidy up.
#[tokio::test]
async fn a_dropped_session_is_tidied_up() {
    let lab = Lab::new();
    lab.write("f", OLD);
    lab.write("g", OLD);
    let inode = fs::metadata(lab.at("f")).unwrap().ino();
    let session = lab.begin().await;
    put(&*session, "f", NEW, Expect::Is(lab.expected("f").await))
        .await
        .unwrap();
    take(&*session, "g", lab.expected("g").await).await.unwrap();
    stage(&*session, super::kit::content("h", NEW))
        .await
        .unwrap();
    drop(session);
    let next = lab.begin().await;
    assert!(next.stranded().await.is_empty());
    assert!(!lab.at(".wl/stage").exists());
    let trash = lab.trash().await;
    assert_eq!(trash.len(), 2);
    let path = format!(".wl/trash/{}", trash[0].0.id);
    assert_eq!(fs::metadata(lab.at(&path)).unwrap().ino(), inode);
}
