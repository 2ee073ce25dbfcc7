//! The rule table of the design as a naive recursive function over whole trees in memory.

use std::collections::BTreeSet;

use wl_core::model::Direction;

use crate::{Node, Tree};

/// What a run must come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// What the source holds then.
    pub source: Tree,
    /// What the target holds then.
    pub target: Tree,
    /// What both sides have agreed on then.
    pub base: Tree,
    /// Where it must find conflicts.
    pub conflicts: BTreeSet<String>,
}

/// What the trees must be after a run with this baseline.
pub fn expect(direction: Direction, base: &Tree, source: &Tree, target: &Tree) -> Expected {
    let mut expected = Expected::default();
    if direction == Direction::Mirror {
        return Expected {
            source: source.clone(),
            target: source.clone(),
            base: source.clone(),
            ..expected
        };
    }
    let mut judge = Judge {
        one_way: direction == Direction::OneWay,
        conflicts: BTreeSet::new(),
    };
    (expected.source, expected.target, expected.base) = judge.folder("", base, source, target);
    expected.conflicts = judge.conflicts;
    expected
}

struct Judge {
    one_way: bool,
    conflicts: BTreeSet<String>,
}

type Found<'a> = Option<&'a Node>;
/// Source, target and baseline afterwards.
type Outcome = (Option<Node>, Option<Node>, Option<Node>);

fn all(node: Found<'_>) -> Outcome {
    (node.cloned(), node.cloned(), node.cloned())
}

fn inside(node: Found<'_>) -> Tree {
    match node {
        Some(Node::Folder(tree)) => tree.clone(),
        _ => Tree::new(),
    }
}

fn is_folder(node: Found<'_>) -> bool {
    matches!(node, Some(Node::Folder(_)))
}

/// Whether a side did nothing at or below a path but remove: where the other side's type changed both want that gone.
fn only_removed(base: Found<'_>, now: Found<'_>) -> bool {
    match (base, now) {
        (Some(Node::Folder(base)), Some(Node::Folder(now))) => now
            .iter()
            .all(|(name, node)| only_removed(base.get(name), Some(node))),
        _ => base == now,
    }
}

impl Judge {
    fn folder(
        &mut self,
        at: &str,
        base: &Tree,
        source: &Tree,
        target: &Tree,
    ) -> (Tree, Tree, Tree) {
        let names: BTreeSet<_> = base
            .keys()
            .chain(source.keys())
            .chain(target.keys())
            .collect();
        let mut new = (Tree::new(), Tree::new(), Tree::new());
        for name in names {
            let path = if at.is_empty() {
                name.clone()
            } else {
                format!("{at}/{name}")
            };
            let (s, t, b) = self.entry(&path, base.get(name), source.get(name), target.get(name));
            new.0.extend(s.map(|node| (name.clone(), node)));
            new.1.extend(t.map(|node| (name.clone(), node)));
            new.2.extend(b.map(|node| (name.clone(), node)));
        }
        new
    }

    fn entry(
        &mut self,
        at: &str,
        base: Found<'_>,
        source: Found<'_>,
        target: Found<'_>,
    ) -> Outcome {
        match (is_folder(source), is_folder(target)) {
            (true, true) => {
                let (s, t, b) = self.folder(at, &inside(base), &inside(source), &inside(target));
                (
                    Some(Node::Folder(s)),
                    Some(Node::Folder(t)),
                    Some(Node::Folder(b)),
                )
            }
            (true, false) if target.is_none() => self.lone_folder(at, base, source, target),
            (false, true) if source.is_none() => self.lone_folder(at, base, source, target),
            (false, false) => self.leaf(at, base, source, target),
            _ => self.types(at, base, source, target),
        }
    }

    /// A folder on one side, nothing on the other.
    fn lone_folder(
        &mut self,
        at: &str,
        base: Found<'_>,
        source: Found<'_>,
        target: Found<'_>,
    ) -> Outcome {
        let on_source = source.is_some();
        if !is_folder(base) {
            // Made, or turned into a folder, on that side alone; a removal on the other gives way.
            return match (on_source, self.one_way) {
                (true, _) => all(source),
                (false, true) => (None, target.cloned(), base.cloned()),
                (false, false) => all(target),
            };
        }
        let (s, t, b) = self.folder(at, &inside(base), &inside(source), &inside(target));
        let keep = |tree: Tree| (!tree.is_empty()).then_some(Node::Folder(tree));
        let b = Some(Node::Folder(b));
        match (on_source, self.one_way) {
            // The target's removal is left alone; what is edited on the source is made there.
            (true, true) => (source.cloned(), keep(t), b),
            // The source's removal is carried out, but for what the target changed.
            (false, true) => (None, keep(t.clone()), keep(t).and(b)),
            _ => (keep(s), keep(t.clone()), keep(t).and(b)),
        }
    }

    fn leaf(&mut self, at: &str, base: Found<'_>, source: Found<'_>, target: Found<'_>) -> Outcome {
        let unchanged = (source.cloned(), target.cloned(), base.cloned());
        if source == target {
            return all(source);
        }
        match (source != base, target != base) {
            (true, false) => all(source),
            (false, true) if self.one_way => unchanged,
            (false, true) => all(target),
            _ if source.is_none() && self.one_way => unchanged,
            _ if source.is_none() => all(target),
            _ if target.is_none() => all(source),
            _ => {
                self.conflicts.insert(at.to_owned());
                unchanged
            }
        }
    }

    /// A folder on one side, a file or link on the other.
    fn types(
        &mut self,
        at: &str,
        base: Found<'_>,
        source: Found<'_>,
        target: Found<'_>,
    ) -> Outcome {
        let unchanged = (source.cloned(), target.cloned(), base.cloned());
        match (
            base.is_some(),
            only_removed(base, source),
            only_removed(base, target),
        ) {
            (true, true, _) if self.one_way => unchanged,
            (true, true, _) => all(target),
            (true, _, true) => all(source),
            _ => {
                self.conflicts.insert(at.to_owned());
                unchanged
            }
        }
    }
}
