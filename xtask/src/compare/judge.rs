//! What is right in the end, and what is not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::effects::is_of_people;
use super::tools::{Ran, Tool};
use super::world::{ALWAYS, MARK, World, each_file};

/// What can go wrong, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A version that nobody gave up is nowhere.
    Lost,
    /// Content that nobody wrote is or was under a name of people.
    Torn,
    /// The tool said that all is in sync, and it was not.
    Lied,
    /// A version that nobody gave up is in the tool's trash only.
    Trashed,
    /// The sides differ where no conflict is listed.
    Unequal,
    /// It does not come to an end, or changes something each time.
    Restless,
    /// It went on only after a person had done something.
    Human,
    /// A removed or replaced version is there again.
    Returned,
}

impl Fault {
    pub const ALL: [Fault; 8] = [
        Fault::Lost,
        Fault::Torn,
        Fault::Lied,
        Fault::Trashed,
        Fault::Unequal,
        Fault::Restless,
        Fault::Human,
        Fault::Returned,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Fault::Lost => "lost",
            Fault::Torn => "torn",
            Fault::Lied => "said synced and was not",
            Fault::Trashed => "only in its trash",
            Fault::Unequal => "ended unequal",
            Fault::Restless => "did not come to rest",
            Fault::Human => "needed a person",
            Fault::Returned => "came back",
        }
    }
}

/// How a history ended.
#[derive(Debug, Default)]
pub struct Verdict {
    pub faults: BTreeMap<Fault, BTreeSet<String>>,
    pub conflicts: usize,
    pub kills: u32,
}

impl Verdict {
    pub fn add(&mut self, fault: Fault, what: impl Into<String>) {
        self.faults.entry(fault).or_default().insert(what.into());
    }

    pub fn count(&self, fault: Fault) -> usize {
        self.faults.get(&fault).map_or(0, BTreeSet::len)
    }
}

pub type Files = BTreeMap<String, Vec<u8>>;

/// What people see on a side.
pub fn visible(tool: Tool, root: &Path) -> Files {
    let mut files = Files::new();
    each_file(root, &mut |path, content| {
        if path != ALWAYS && !path.starts_with(MARK) && !tool.owns(path) {
            files.insert(path.to_owned(), content);
        }
    });
    files
}

/// Where the sides differ, but for what is at or under a listed conflict.
pub fn differ(sides: &[Files; 2], conflicts: &BTreeSet<String>) -> Vec<String> {
    let paths: BTreeSet<_> = sides.iter().flat_map(Files::keys).collect();
    let differ = paths
        .into_iter()
        .filter(|path| sides[0].get(*path) != sides[1].get(*path) && !is_under(path, conflicts));
    differ.cloned().collect()
}

/// A conflict may be at a path, above it, or (of a folder against a file) below it.
fn is_under(path: &str, conflicts: &BTreeSet<String>) -> bool {
    let path = Path::new(path);
    conflicts
        .iter()
        .any(|open| path.starts_with(open) || Path::new(open).starts_with(path))
}

/// Judges what is left when all is quiet. `forgot`: the tool's memory was spoiled, so that it may bring back what was removed.
pub fn judge(tool: Tool, world: &World, last: &Ran, forgot: bool, verdict: &mut Verdict) {
    world.close();
    let sides = world.roots.each_ref().map(|root| visible(tool, root));
    for path in differ(&sides, &last.conflicts) {
        let has = |side: usize| match sides[side].get(&path) {
            Some(content) => format!("{} bytes", content.len()),
            None => "nothing".to_owned(),
        };
        verdict.add(
            Fault::Unequal,
            format!("{path}: A has {}, B has {}", has(0), has(1)),
        );
    }
    let mut ledger = world.ledger.hold();
    let mut copies = BTreeSet::new();
    for (path, content) in sides.iter().flatten() {
        ledger.look(path, content);
        if tool.is_conflict_copy(path) {
            copies.insert(path);
        }
    }
    verdict.conflicts = last.conflicts.len() + copies.len();
    for torn in &ledger.torn {
        verdict.add(Fault::Torn, torn);
    }
    let mut kept = BTreeSet::new();
    for root in &world.roots {
        each_file(root, &mut |_, content| kept.extend(ledger.id(&content)));
    }
    let seen: BTreeSet<usize> = sides
        .iter()
        .flatten()
        .filter_map(|(_, content)| ledger.id(content))
        .collect();
    for (id, version) in ledger.needed() {
        match (seen.contains(&id), kept.contains(&id)) {
            (true, _) => {}
            (false, true) => verdict.add(Fault::Trashed, &version.place),
            (false, false) => verdict.add(Fault::Lost, &version.place),
        }
    }
    if forgot {
        return;
    }
    let gone = ledger.gone();
    for (path, content) in sides.iter().flatten() {
        let is_back = ledger.id(content).is_some_and(|id| gone.contains_key(&id));
        if is_back && is_of_people(Path::new(path)) && !is_under(path, &last.conflicts) {
            verdict.add(Fault::Returned, path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_found_but_for_conflicts() {
        let side = |files: &[(&str, &str)]| -> Files {
            let files = files.iter();
            files
                .map(|(path, content)| (path.to_string(), content.as_bytes().to_vec()))
                .collect()
        };
        let sides = [
            side(&[("a", "1"), ("b", "1"), ("d/x", "1"), ("e", "1")]),
            side(&[("a", "1"), ("b", "2"), ("d/x", "2"), ("e/f", "1")]),
        ];
        let open = |paths: &[&str]| paths.iter().map(|path| path.to_string()).collect();
        assert_eq!(differ(&sides, &open(&[])), ["b", "d/x", "e", "e/f"]);
        assert_eq!(differ(&sides, &open(&["d", "e"])), ["b"]);
    }
}
