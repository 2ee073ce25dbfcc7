//! Paths that only make sense together: a `.git` folder with all that is in it, and an SQLite database with what lies beside it.
//!
//! What belongs together is told by names alone. Whether it is a group indeed (a `.git` *folder*, a database *file* that is there) says
//! what is found at them.

use crate::model::{Side, SyncPath};
use crate::planted::{Bug, planted};
use crate::reconcile::Verdict;
use crate::storage::{Area, Scope};

/// The ends of the names of what SQLite keeps beside a database, in the order of listings.
const COMPANIONS: [&str; 3] = ["-journal", "-shm", "-wal"];

/// What fails for a group that is not at rest.
pub(crate) const GROUP: &str = "group";

/// With this begins a rollback journal that a transaction, or a crash in one, has left to be rolled back.
pub(crate) const HOT_JOURNAL: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

/// What kind of group it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// A folder named `.git` and all below it.
    Git,
    /// A database file `X` with `X-wal`, `X-journal` and `X-shm`.
    Sqlite,
}

/// Paths that are transferred together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What it is called by: the `.git` folder, or the database.
    pub path: SyncPath,
    /// What it is.
    pub kind: GroupKind,
}

impl Group {
    /// The group that `path` is part of, as far as its name tells: a path in a `.git` folder, or one of the files beside a database. That a
    /// file is itself a database only those beside it tell.
    pub fn by_name(path: &SyncPath) -> Option<Self> {
        if let Some(git) = git_folder(path) {
            return Some(Self::git(git));
        }
        database(path).map(Self::sqlite)
    }

    pub(crate) fn git(path: SyncPath) -> Self {
        let kind = GroupKind::Git;
        Self { path, kind }
    }

    pub(crate) fn sqlite(path: SyncPath) -> Self {
        let kind = GroupKind::Sqlite;
        Self { path, kind }
    }

    /// Where all of it is, as an area to look at.
    pub fn area(&self) -> Area {
        let mut area = Area::default();
        match self.kind {
            GroupKind::Git => area.add_subtree(self.path.clone()),
            GroupKind::Sqlite => {
                let paths = self.paths().into_iter();
                paths.for_each(|path| area.add_path(path));
            }
        }
        area
    }

    /// Where it is among the keys of entries: from the one on, up to the other.
    pub(crate) fn keys(&self) -> Vec<(String, String)> {
        let keys = |path: &SyncPath, from: &str, to: &str| {
            let path = path.as_str();
            (format!("{path}{from}"), format!("{path}{to}"))
        };
        match self.kind {
            GroupKind::Git => vec![keys(&self.path, "/", "0")],
            GroupKind::Sqlite => {
                let paths = self.paths();
                paths.iter().map(|path| keys(path, "", "\u{1}")).collect()
            }
        }
    }

    /// The paths at which it is, sorted.
    pub(crate) fn paths(&self) -> Vec<SyncPath> {
        let mut paths = vec![self.path.clone()];
        if self.kind == GroupKind::Sqlite {
            paths.extend(companions(&self.path));
        }
        paths
    }

    /// Where all of it is, as a scope to list.
    pub(crate) fn scope(&self) -> Scope {
        match self.kind {
            GroupKind::Git => Scope::Subtrees(self.paths()),
            GroupKind::Sqlite => Scope::Paths(self.paths()),
        }
    }

    /// Whether what is at `path` is of no use to anybody else: the index of a write-ahead log is made anew by whoever opens the database.
    pub(crate) fn is_scratch(&self, path: &SyncPath) -> bool {
        self.kind == GroupKind::Sqlite && path.as_str().ends_with("-shm") && *path != self.path
    }

    /// Whether `path` lies beside the database that the group is called by.
    pub(crate) fn is_beside(&self, path: &SyncPath) -> bool {
        self.kind == GroupKind::Sqlite && *path != self.path
    }

    /// What says that a transaction is under way.
    pub(crate) fn journal(&self) -> Option<SyncPath> {
        (self.kind == GroupKind::Sqlite)
            .then(|| companions(&self.path).next())
            .flatten()
    }

    /// Whether a file at `path` says that somebody is at work.
    pub(crate) fn is_lock(&self, path: &SyncPath) -> bool {
        const NAMES: [&str; 5] = [
            "index.lock",
            "HEAD.lock",
            "config.lock",
            "packed-refs.lock",
            "shallow.lock",
        ];
        self.kind == GroupKind::Git
            && path.name().ends_with(".lock")
            && (NAMES.contains(&path.name()) || of_git(&self.path, path) == OfGit::Refs)
    }

    /// Whether what is at `path` may be there only because somebody is at work.
    pub(crate) fn is_of_work(&self, path: &SyncPath) -> bool {
        self.is_lock(path) || self.journal().as_ref() == Some(path)
    }

    /// When in the order of steps what is decided at `path` is made visible. `whole`: the database itself is written, too.
    pub(crate) fn step(&self, path: &SyncPath, verdict: Verdict, whole: bool) -> u8 {
        let removal = matches!(verdict, Verdict::Remove { .. });
        if planted(Bug::GroupInAnyOrder) {
            return 0;
        }
        match self.kind {
            GroupKind::Git => git_step(&self.path, path, removal),
            // A log or journal must never meet a database that it was not written for: it goes first and comes last.
            GroupKind::Sqlite => match (self.is_beside(path), removal) {
                (true, true) => 0,
                (true, false) if whole => 2,
                _ => 1,
            },
        }
    }

    /// What it is, for people.
    pub(crate) fn what(&self) -> &'static str {
        match self.kind {
            GroupKind::Git => "a git repository",
            GroupKind::Sqlite => "an SQLite database with what lies beside it",
        }
    }
}

/// The topmost folder named `.git` that `path` is or lies in.
pub(crate) fn git_folder(path: &SyncPath) -> Option<SyncPath> {
    let mut above = path.ancestors().chain([path.clone()]);
    above.find(|folder| folder.name() == ".git")
}

/// The database that a file at `path` would lie beside.
pub(crate) fn database(path: &SyncPath) -> Option<SyncPath> {
    let of = |end| path.as_str().strip_suffix(end);
    let database = COMPANIONS.into_iter().find_map(of)?;
    SyncPath::new(database)
        .ok()
        .filter(|database| !database.is_root())
}

/// What SQLite may keep beside `path`, in the order of listings.
pub(crate) fn companions(path: &SyncPath) -> impl Iterator<Item = SyncPath> {
    let beside = move |end| SyncPath::new(format!("{}{end}", path.as_str())).ok();
    COMPANIONS.into_iter().filter_map(beside)
}

/// Between these keys, as text, are those of all companions of `path`: from the first on and before the second.
pub(crate) fn companion_keys(path: &SyncPath) -> (String, String) {
    let path = path.as_str();
    (format!("{path}-"), format!("{path}."))
}

/// The side that wins if somebody wants the end of a group's conflict.
pub(crate) fn winner(keep: crate::sync::Keep) -> Option<Side> {
    match keep {
        crate::sync::Keep::Source => Some(Side::Source),
        crate::sync::Keep::Target => Some(Side::Target),
        _ => None,
    }
}

/// Where in a repository something lies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OfGit {
    Objects,
    Refs,
    Other,
}

/// Repositories of submodules lie in the one that they are part of, so the first telling name counts.
fn of_git(group: &SyncPath, path: &SyncPath) -> OfGit {
    let inside = &path.as_str()[group.as_str().len()..];
    for part in inside.split('/') {
        match part {
            "objects" => return OfGit::Objects,
            "refs" => return OfGit::Refs,
            "logs" => return OfGit::Other,
            _ => {}
        }
    }
    OfGit::Other
}

/// What is pointed at comes before what points at it, and goes after it.
fn git_step(group: &SyncPath, path: &SyncPath, removal: bool) -> u8 {
    let name = path.name();
    match (of_git(group, path), removal) {
        (OfGit::Objects, true) => 9,
        (_, true) => 8,
        // A pack is seen by its index, and a graph or a pack of packs is made of those.
        (OfGit::Objects, _) if name.starts_with("multi-pack-index") => 2,
        (OfGit::Objects, _) if is_in_info(path) => 2,
        (OfGit::Objects, _) if name.ends_with(".idx") => 1,
        (OfGit::Objects, _) => 0,
        (OfGit::Other, _) if name == "packed-refs" => 4,
        (OfGit::Refs, _) => 5,
        (OfGit::Other, _) if name == "index" => 6,
        (OfGit::Other, _) if name == "HEAD" => 7,
        (OfGit::Other, _) => 3,
    }
}

fn is_in_info(path: &SyncPath) -> bool {
    path.as_str().contains("/objects/info/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> SyncPath {
        SyncPath::new(text).unwrap()
    }

    /// As keys are stored: a name that is shown otherwise than it is must not be looked for as it is shown.
    #[test]
    fn companions_lie_between_their_keys() {
        for database in ["x", "a/x.db", "a/line\nfeed"].map(path) {
            let (from, to) = companion_keys(&database);
            for beside in companions(&database) {
                let key = crate::model::Key::file(beside).to_text();
                assert!(from <= key && key < to, "{key:?}");
            }
        }
    }

    #[test]
    fn groups_are_known_by_their_names() {
        for (at, group) in [
            ("a", None),
            ("a/b.git", None),
            ("a/.github/x", None),
            (".gitignore", None),
            (".git", Some(".git")),
            (".git/HEAD", Some(".git")),
            ("a/.git/objects/ab/cd", Some("a/.git")),
            ("a/.git/modules/b/.git/x", Some("a/.git")),
            ("a/.git/cache.db-wal", Some("a/.git")),
            ("a/x.db-wal", Some("a/x.db")),
            ("x-journal", Some("x")),
            ("x-shm", Some("x")),
            ("x-wal-wal", Some("x-wal")),
            ("x-WAL", None),
            ("-wal", None),
            ("a/-wal", None),
            ("x.wal", None),
        ] {
            let found = Group::by_name(&path(at)).map(|group| group.path);
            assert_eq!(found, group.map(path), "{at}");
        }
    }

    #[test]
    fn locks_are_known_by_their_names_and_places() {
        let git = Group::git(path("a/.git"));
        for (at, lock) in [
            ("a/.git/index.lock", true),
            ("a/.git/HEAD.lock", true),
            ("a/.git/modules/b/index.lock", true),
            ("a/.git/refs/heads/x/y.lock", true),
            ("a/.git/logs/refs/heads/y.lock", false),
            ("a/.git/hooks/my.lock", false),
            ("a/.git/index", false),
        ] {
            assert_eq!(git.is_lock(&path(at)), lock, "{at}");
        }
        assert!(!Group::sqlite(path("a")).is_lock(&path("a-index.lock")));
    }

    #[test]
    fn what_is_pointed_at_comes_before_what_points_at_it() {
        let git = Group::git(path("r/.git"));
        let modes = Default::default();
        let to = Side::Target;
        let update = |at: &str| git.step(&path(at), Verdict::Update { to, modes }, false);
        let remove = |at: &str| git.step(&path(at), Verdict::Remove { on: to }, false);
        let order = [
            update("r/.git/objects/ab/cdef"),
            update("r/.git/objects/pack/pack-1.idx"),
            update("r/.git/objects/info/commit-graph"),
            update("r/.git/ORIG_HEAD"),
            update("r/.git/packed-refs"),
            update("r/.git/refs/heads/objects"),
            update("r/.git/index"),
            update("r/.git/HEAD"),
            remove("r/.git/refs/heads/gone"),
            remove("r/.git/objects/ab/cdef"),
        ];
        assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
        assert_eq!(update("r/.git/objects/pack/pack-1.pack"), order[0]);
        assert_eq!(update("r/.git/modules/m/HEAD"), order[7]);
        assert_eq!(update("r/.git/modules/m/objects/ab/cd"), order[0]);
        assert_eq!(update("r/.git/logs/HEAD"), order[7]);
    }

    #[test]
    fn a_log_goes_before_its_database_is_written_and_comes_after() {
        let group = Group::sqlite(path("x"));
        let to = Side::Target;
        let modes = Default::default();
        let update = |at: &str, whole| group.step(&path(at), Verdict::Update { to, modes }, whole);
        let gone = group.step(&path("x-wal"), Verdict::Remove { on: to }, true);
        assert!(gone < update("x", true));
        assert!(update("x", true) < update("x-wal", true));
    }
}
