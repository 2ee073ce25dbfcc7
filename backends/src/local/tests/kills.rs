//! A process that is killed again and again while it replaces, removes and creates. Every version it ever published is
//! still there afterwards.

use std::collections::HashSet;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use wl_core::storage::{Expect, ReplaceRequest, StorageBackend, TrashState};

use super::kit::{Lab, WEAK, content, options, p, stage, take};

const FOLDER: &str = "WL_TEST_KILLED_IN";
const GRADE: &str = "WL_TEST_KILLED_GRADE";
const FILES: usize = 6;

/// The process that is killed; as a test of its own it does nothing.
#[tokio::test]
async fn the_process_that_is_killed() {
    let (Ok(folder), Ok(grade)) = (std::env::var(FOLDER), std::env::var(GRADE)) else {
        return;
    };
    let limit = WEAK[grade.parse::<usize>().unwrap()];
    let lab = Lab::at_folder(folder.as_ref(), limit);
    let run = format!("killed-{}", std::process::id());
    let session = lab.backend.begin(options(&run)).await.unwrap();
    loop {
        let mut requests = Vec::new();
        for file in 0..FILES {
            let name = format!("f{file}");
            let number: u64 = match lab.read(&name) {
                Some(now) => String::from_utf8(now).unwrap().parse().unwrap(),
                None => 0,
            };
            let expect = match number {
                0 => Expect::Absent,
                _ => Expect::Is(lab.expected(&name).await),
            };
            let next = format!("{}", number + 1);
            let staged = stage(&*session, content(&name, next.as_bytes()))
                .await
                .unwrap();
            requests.push(ReplaceRequest {
                path: p(&name),
                staged,
                expect,
            });
        }
        for result in session.replace(requests).await {
            result.unwrap();
        }
        lab.write("extra", b"kept for ever");
        take(&*session, "extra", lab.expected("extra").await)
            .await
            .unwrap();
    }
}

fn spawn(lab: &Lab, grade: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "local::tests::kills::the_process_that_is_killed"])
        .env(FOLDER, lab.dir.path())
        .env(GRADE, grade.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_kill_at_any_moment_loses_nothing() {
    for (grade, limit) in WEAK.into_iter().enumerate() {
        let lab = Lab::limited(limit);
        for round in 0..20_u64 {
            let mut child = spawn(&lab, grade);
            // Not to wait for anything: to be killed at another moment each time.
            std::thread::sleep(Duration::from_micros(4_000 + round * 2_311 % 27_000));
            child.kill().unwrap();
            let status = child.wait().unwrap();
            assert_eq!(
                status.code(),
                None,
                "it ended by itself: something failed in it"
            );
        }
        let session = lab.begin().await;
        let stranded = session.stranded().await;
        assert!(stranded.is_empty(), "nobody else was here: {stranded:?}");
        session.finish().await.unwrap();
        assert!(!lab.at(".wl/stage").exists());
        let trash = lab.trash().await;
        let agreed = [TrashState::Replaced, TrashState::Removed];
        assert!(trash.iter().all(|(item, _)| agreed.contains(&item.state)));
        let mut published = 0;
        for file in 0..FILES {
            let name = format!("f{file}");
            let now = String::from_utf8(lab.read(&name).unwrap()).unwrap();
            let kept: HashSet<_> = trash
                .iter()
                .filter(|(item, _)| item.path == Some(p(&name)))
                .map(|(_, content)| String::from_utf8(content.clone()).unwrap())
                .collect();
            let last: u64 = now.parse().unwrap();
            for number in 1..last {
                assert!(
                    kept.contains(&number.to_string()),
                    "{name}: {number} of {last}"
                );
            }
            published += last;
        }
        assert!(published > 0);
        println!("{published} versions, {} in the trash", trash.len());
    }
}
