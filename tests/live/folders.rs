//! Folders that are moved while something happens in them.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use wl_test_trees::Random;

use crate::acting::{alone, killed};
use crate::world::World;

fn fill(folder: &Path, files: u64) {
    for number in 0..files {
        let inside = folder.join(format!("d{}", number % 7));
        fs::create_dir_all(&inside).unwrap();
        fs::write(
            inside.join(format!("f{number}")),
            format!("{} {number}\n", folder.display()),
        )
        .unwrap();
    }
}

/// A moment that is another each time.
fn pace(random: &mut Random) {
    std::thread::sleep(Duration::from_micros(random.below(60_000)));
}

/// One thread renames the folder, the other writes into it under whatever name it has, through files that it keeps open too.
fn move_while_it_changes(root: &Path, _: &Path) {
    let names = ["one", "two"].map(|name| root.join(name));
    fill(&names[0], 60);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random::new(3);
            for turn in 0..25 {
                pace(&mut random);
                fs::rename(&names[turn % 2], &names[1 - turn % 2]).unwrap();
            }
        });
        scope.spawn(|| {
            let mut random = Random::new(4);
            let mut open: Vec<File> = Vec::new();
            for turn in 0..300 {
                std::thread::sleep(Duration::from_micros(random.below(5000)));
                let name = &names[random.below(2) as usize];
                let at = name.join(format!("d{}/f{}", random.below(7), random.below(80)));
                match random.below(4) {
                    0 => drop(fs::remove_file(at)),
                    1 => open.extend(File::options().append(true).open(at)),
                    // It fails where the folder has the other name just now.
                    _ => drop(fs::write(at, format!("turn {turn}\n"))),
                }
                for file in &mut open {
                    file.write_all(format!("line {turn}\n").as_bytes()).unwrap();
                }
                open.truncate(3);
            }
        });
    });
}

/// Out of the tree, changed there, and in again under another name.
fn out_and_in(root: &Path, outside: &Path) {
    let mut random = Random::new(5);
    let away = outside.join("away");
    fill(&root.join("in0"), 60);
    for turn in 0..8 {
        pace(&mut random);
        fs::rename(root.join(format!("in{turn}")), &away).unwrap();
        pace(&mut random);
        fs::write(away.join(format!("d0/away{turn}")), format!("away {turn}")).unwrap();
        let _ = fs::remove_file(away.join(format!("d1/f{turn}")));
        fs::rename(&away, root.join(format!("in{}", turn + 1))).unwrap();
    }
}

/// A new folder takes the place of one that is there: empty, emptied, or by an exchange.
fn over_another(root: &Path, outside: &Path) {
    let mut random = Random::new(6);
    let (place, new) = (root.join("place"), root.join("new"));
    fill(&place, 40);
    for turn in 0..9 {
        pace(&mut random);
        fill(&new, 20 + turn);
        match turn % 3 {
            0 => {
                fs::remove_dir_all(&place).unwrap();
                fs::create_dir(&place).unwrap();
                fs::rename(&new, &place).unwrap();
            }
            1 => {
                let old = outside.join(format!("old{turn}"));
                fs::rename(&place, old).unwrap();
                fs::rename(&new, &place).unwrap();
            }
            _ => {
                let (cwd, flags) = (rustix::fs::CWD, rustix::fs::RenameFlags::EXCHANGE);
                rustix::fs::renameat_with(cwd, &new, cwd, &place, flags).unwrap();
                pace(&mut random);
                fs::remove_dir_all(&new).unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn moved_while_it_changes() {
    alone(move_while_it_changes).await;
    killed(11, move_while_it_changes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moved_out_and_in() {
    alone(out_and_in).await;
    killed(12, out_and_in).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn renamed_over_another() {
    alone(over_another).await;
    killed(13, over_another).await;
}

/// One side renames a folder again and again, the other edits in it: nothing that either wrote is lost.
#[tokio::test(flavor = "multi_thread")]
async fn moved_on_one_side_while_the_other_edits_in_it() {
    for kills in [0, 3] {
        let mut world = World::new().await;
        fill(&world.roots[0].join("in0"), 60);
        world.quiet().await;
        let [a, b] = world.roots.clone();
        let work = move || {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut random = Random::new(7);
                    for turn in 0..20 {
                        pace(&mut random);
                        // The other side's edits may have brought it back meanwhile.
                        let _ = fs::rename(
                            a.join(format!("in{turn}")),
                            a.join(format!("in{}", turn + 1)),
                        );
                    }
                });
                let editor = scope.spawn(|| {
                    let (mut random, mut written) = (Random::new(8), Vec::new());
                    for turn in 0..200 {
                        std::thread::sleep(Duration::from_micros(random.below(8000)));
                        let text = format!("edit {turn}\n");
                        let name = format!("d{}/edit{turn}", turn % 7);
                        let folders = (0..21).map(|number| b.join(format!("in{number}")));
                        for folder in folders.filter(|folder| folder.exists()).take(1) {
                            if fs::write(folder.join(&name), &text).is_ok() {
                                written.push(text.clone());
                            }
                        }
                    }
                    written
                });
                editor.join().unwrap()
            })
        };
        let written = world.during(&mut Random::new(9), kills, work).await;
        assert!(written.len() > 20, "{}", written.len());
        let quiet = world.quiet().await;
        quiet.agree();
        assert!(
            kills > 0 || quiet.conflicts.is_empty(),
            "{:?}",
            quiet.conflicts
        );
        for text in &written {
            quiet.holds("in", text.as_bytes());
        }
    }
}
