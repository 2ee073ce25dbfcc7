//! Random histories on real folders: both sides are edited as programs do it, the real binary runs, the oracle says what must
//! be there.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use wl_daemon::model::Direction;
use wl_test_trees::Tree;
use wl_test_trees::oracle::expect;

use crate::pair::Pair;
use crate::trees;

/// Few names, so that histories meet; odd ones, so that order and handling are tried.
const NAMES: [&str; 12] = [
    "a",
    "A",
    "a-",
    "a b",
    "\u{e9}",
    "e\u{301}",
    "-n\n",
    "*?\"'\\$(x)",
    "\u{1b}[31m\u{7}",
    ".wlx",
    LONG,
    "z.txt",
];

/// 255 bytes, the most that a name can have.
pub const LONG: &str = "\
    long---------------------------------------------------------------------------------\
    -------------------------------------------------------------------------------------\
    ------------------------------------------------------------------------------------e";

#[derive(Clone, Debug)]
pub enum Edit {
    /// A new file takes the path's place, as editors save.
    Save(Vec<usize>, String),
    /// The file is written to in place: same inode, same size where the contents are as long.
    Overwrite(Vec<usize>, String),
    Append(Vec<usize>),
    Truncate(Vec<usize>),
    Link(Vec<usize>, String),
    Folder(Vec<usize>),
    Remove(Vec<usize>),
    Move(Vec<usize>, Vec<usize>),
    /// Two entries trade places.
    Swap(Vec<usize>, Vec<usize>),
    Copy(Vec<usize>, Vec<usize>),
}

#[derive(Clone, Debug)]
enum Step {
    Edit(bool, Edit),
    Sync,
    /// The baseline is lost.
    Forget,
}

const _: () = assert!(LONG.len() == 255);

fn path() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..NAMES.len(), 1..4)
}

pub fn edit() -> impl Strategy<Value = Edit> {
    let content = || prop_oneof![3 => "[ab]{3}", 1 => Just(String::new()), 1 => "[ab]{1,5}"];
    prop_oneof![
        4 => (path(), content()).prop_map(|(path, content)| Edit::Save(path, content)),
        3 => (path(), content()).prop_map(|(path, content)| Edit::Overwrite(path, content)),
        1 => path().prop_map(Edit::Append),
        1 => path().prop_map(Edit::Truncate),
        1 => (path(), "[ab]|\\.\\./\\.\\./x|\n").prop_map(|(path, target)| Edit::Link(path, target)),
        1 => path().prop_map(Edit::Folder),
        3 => path().prop_map(Edit::Remove),
        3 => (path(), path()).prop_map(|(from, to)| Edit::Move(from, to)),
        1 => (path(), path()).prop_map(|(one, two)| Edit::Swap(one, two)),
        1 => (path(), path()).prop_map(|(from, to)| Edit::Copy(from, to)),
    ]
}

fn history() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        16 => (any::<bool>(), edit()).prop_map(|(source, edit)| Step::Edit(source, edit)),
        3 => Just(Step::Sync),
        1 => Just(Step::Forget),
    ];
    prop::collection::vec(step, 4..32)
}

/// A change of a folder by the calls that programs use for it. Does nothing where it cannot be done.
pub fn apply(root: &Path, edit: &Edit) {
    let at = |path: &[usize]| path.iter().fold(root.to_owned(), |p, &n| p.join(NAMES[n]));
    // What fails, say on a folder, is no edit.
    let _ = match edit {
        Edit::Save(path, content) => save(&at(path), content),
        Edit::Overwrite(path, content) => overwrite(&at(path), content),
        Edit::Append(path) => append(&at(path)),
        Edit::Truncate(path) => open(&at(path)).and_then(|file| file.set_len(0)),
        Edit::Link(path, target) => {
            clear(root, &at(path));
            std::os::unix::fs::symlink(target, at(path))
        }
        Edit::Folder(path) => {
            clear(root, &at(path));
            fs::create_dir(at(path))
        }
        Edit::Remove(path) => remove(&at(path)),
        Edit::Move(from, to) => rename(root, &at(from), &at(to)),
        Edit::Swap(one, two) => rustix::fs::renameat_with(
            rustix::fs::CWD,
            at(one),
            rustix::fs::CWD,
            at(two),
            rustix::fs::RenameFlags::EXCHANGE,
        )
        .map_err(Into::into),
        Edit::Copy(from, to) if at(from).is_file() => fs::copy(at(from), at(to)).map(drop),
        Edit::Copy(..) => Ok(()),
    };
}

/// Makes room at a path, with the folders above it; files in the way go.
fn clear(root: &Path, path: &Path) {
    let inside: PathBuf = path.strip_prefix(root).unwrap().into();
    let mut above = root.to_owned();
    for name in inside.parent().unwrap() {
        above.push(name);
        if !above.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            let _ = fs::remove_file(&above);
            fs::create_dir(&above).unwrap();
        }
    }
    let _ = remove(path);
}

fn remove(path: &Path) -> std::io::Result<()> {
    if path.symlink_metadata()?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

fn rename(root: &Path, from: &Path, to: &Path) -> std::io::Result<()> {
    from.symlink_metadata()?;
    if !from.starts_with(to) && !to.starts_with(from) {
        clear(root, to);
    }
    fs::rename(from, to)
}

fn save(path: &Path, content: &str) -> std::io::Result<()> {
    let parent = path.parent().unwrap();
    fs::create_dir_all(parent)?;
    let new = parent.join(".save");
    fs::write(&new, content)?;
    fs::rename(&new, path).or_else(|_| fs::remove_file(&new))
}

fn open(path: &Path) -> std::io::Result<File> {
    // Only files: a link is not followed out of the folder.
    if !path.symlink_metadata()?.is_file() {
        return Err(std::io::ErrorKind::NotFound.into());
    }
    File::options().write(true).open(path)
}

fn overwrite(path: &Path, content: &str) -> std::io::Result<()> {
    let mut file = open(path)?;
    file.write_all(content.as_bytes())?;
    file.set_len(content.len() as u64)
}

fn append(path: &Path) -> std::io::Result<()> {
    open(path)?;
    File::options().append(true).open(path)?.write_all(b"b")
}

fn play(direction: Direction, history: Vec<Step>) {
    let pair = Pair::new();
    let mut base = Tree::new();
    for step in history.into_iter().chain([Step::Sync, Step::Sync]) {
        match step {
            Step::Edit(source, edit) => apply(if source { &pair.a } else { &pair.b }, &edit),
            Step::Forget => {
                pair.forget();
                base = Tree::new();
            }
            Step::Sync => base = sync(&pair, direction, &base),
        }
    }
}

fn sync(pair: &Pair, direction: Direction, base: &Tree) -> Tree {
    let (source, target) = pair.trees();
    let expected = expect(direction, base, &source, &target);
    let way = match direction {
        Direction::TwoWay => "",
        Direction::OneWay => "--unidirectional",
        Direction::Mirror => "--mirror",
    };
    let ran = pair.sync(&format!(
        "{way} --allow-empty --max-delete 100% --durability none"
    ));
    let case = || format!("base {base:?}\nsource {source:?}\ntarget {target:?}\n{ran:?}");
    let now = pair.trees();
    assert_eq!(now.0, expected.source, "source of\n{}", case());
    assert_eq!(now.1, expected.target, "target of\n{}", case());
    let conflicts: BTreeSet<_> = ran.conflicts().into_iter().collect();
    assert_eq!(conflicts, expected.conflicts, "conflicts of\n{}", case());
    assert_eq!(ran.problems(), Vec::<String>::new(), "{}", case());
    let code = if conflicts.is_empty() { 0 } else { 3 };
    assert_eq!(ran.code, code, "{}", case());
    assert!(trees::is_tidy(&pair.a) && trees::is_tidy(&pair.b));
    expected.base
}

fn run(direction: Direction, cases: u32) {
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 300,
        ..ProptestConfig::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let result = runner.run(&history(), |history| {
        play(direction, history);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn two_way() {
    run(Direction::TwoWay, 110);
}

#[test]
fn one_way() {
    run(Direction::OneWay, 45);
}

#[test]
fn mirror() {
    run(Direction::Mirror, 45);
}

#[test]
#[ignore = "long: WL_SOAK_MINUTES says how long"]
fn soak_real_histories() {
    let end = crate::kill::soak_end();
    while std::time::Instant::now() < end {
        run(Direction::TwoWay, 100);
        run(Direction::OneWay, 20);
        run(Direction::Mirror, 20);
    }
}
