//! What was ever written, and what of it its own writers gave up.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A version: a content that is like no other.
#[derive(Debug)]
pub struct Version {
    /// Where it was written, for people.
    pub place: String,
    /// How often people put it somewhere, and how often they took it away again.
    pub made: u32,
    pub given_up: u32,
    /// It was moved or copied: it may be in several places for good reasons.
    pub travelled: bool,
}

/// All versions, and what was seen that is none.
#[derive(Debug, Default)]
pub struct Ledger {
    ids: HashMap<Vec<u8>, usize>,
    versions: Vec<Version>,
    /// Paths under which something was seen that nobody wrote.
    pub torn: BTreeSet<String>,
}

/// The ledger, shared with whoever watches. What is written in place is written while it is held: nobody reads a half.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Mutex<Ledger>>);

impl Shared {
    pub fn hold(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// A version is about to be written.
    pub fn write(&mut self, content: &[u8], place: String) -> usize {
        let id = self.versions.len();
        let id = *self.ids.entry(content.to_vec()).or_insert(id);
        match self.versions.get_mut(id) {
            Some(version) => {
                version.made += 1;
                version.travelled = true;
            }
            None => self.versions.push(Version {
                place,
                made: 1,
                given_up: 0,
                travelled: false,
            }),
        }
        id
    }

    pub fn id(&self, content: &[u8]) -> Option<usize> {
        self.ids.get(content).copied()
    }

    /// Its writer did not manage, or whoever saw it replaced or removed it.
    pub fn give_up(&mut self, content: &[u8]) {
        if let Some(version) = self.find(content) {
            version.given_up += 1;
        }
    }

    pub fn travelled(&mut self, content: &[u8]) {
        if let Some(version) = self.find(content) {
            version.travelled = true;
        }
    }

    fn find(&mut self, content: &[u8]) -> Option<&mut Version> {
        let id = self.id(content)?;
        self.versions.get_mut(id)
    }

    /// Looks at what is under a name of people: a version, or torn.
    pub fn look(&mut self, path: &str, content: &[u8]) {
        if self.id(content).is_none() {
            let head = String::from_utf8_lossy(&content[..content.len().min(24)]).into_owned();
            self.torn
                .insert(format!("{path}: {} bytes, {head:?}", content.len()));
        }
    }

    /// Versions that somebody counts on: each removal takes one occurrence at most.
    pub fn needed(&self) -> BTreeMap<usize, &Version> {
        let all = self.versions.iter().enumerate();
        all.filter(|(_, version)| version.given_up < version.made)
            .collect()
    }

    /// Versions that were written once, never moved, and given up.
    pub fn gone(&self) -> BTreeMap<usize, &Version> {
        let all = self.versions.iter().enumerate();
        all.filter(|(_, version)| !version.travelled && version.given_up > 0)
            .collect()
    }
}

/// Content of so many bytes that no other number has.
pub fn content(number: usize, size: usize) -> Vec<u8> {
    let line = format!("v{number:06}\n");
    let bytes = line.bytes().cycle();
    bytes.take(size.max(16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_needed_until_all_its_occurrences_are_given_up() {
        let mut ledger = Ledger::default();
        let (one, two) = (content(1, 20), content(2, 20));
        ledger.write(&one, "a".into());
        ledger.write(&two, "b".into());
        ledger.write(&two, "c".into());
        ledger.give_up(&one);
        ledger.give_up(&two);
        assert_eq!(ledger.needed().into_keys().collect::<Vec<_>>(), [1]);
        assert_eq!(ledger.gone().into_keys().collect::<Vec<_>>(), [0]);
        ledger.give_up(&two);
        assert!(ledger.needed().is_empty());
    }

    #[test]
    fn the_half_of_a_version_is_torn() {
        let mut ledger = Ledger::default();
        let version = content(7, 100);
        ledger.write(&version, "a".into());
        ledger.look("a", &version);
        assert!(ledger.torn.is_empty());
        ledger.look("a", &version[..50]);
        ledger.look("a", b"");
        assert_eq!(ledger.torn.len(), 2);
    }
}
