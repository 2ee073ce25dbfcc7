//! In which order a server lists its flat keys: found out by trying, and given up at the first key that contradicts.

use std::cmp::Ordering;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::servers;

/// An order of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    /// By their bytes: `a`, `a-b`, `a/b`, as S3 promises it. This is the order of rows.
    Bytes,
    /// Folder by folder, `/` before everything else: `a`, `a/b`, `a-b`, as servers do it that keep files in folders.
    Folders,
    /// Nothing is known of it: a listing says nothing before its end, and starts nowhere but at its beginning.
    #[default]
    Unknown,
}

impl Order {
    /// How two keys follow one another; `None`: nobody knows.
    pub(super) fn compare(self, one: &str, other: &str) -> Option<Ordering> {
        let slash_first = |byte: u8| (byte != b'/', byte);
        match self {
            Order::Bytes => Some(one.cmp(other)),
            Order::Folders => {
                let (one, other) = (one.bytes(), other.bytes());
                Some(one.map(slash_first).cmp(other.map(slash_first)))
            }
            Order::Unknown => None,
        }
    }
}

/// What is known of a server's order.
#[derive(Debug)]
pub(super) struct KnownOrder {
    now: Mutex<Order>,
    /// Where it is remembered, and under which name.
    memory: Option<(PathBuf, Box<str>)>,
}

impl KnownOrder {
    pub(super) fn new(order: Order, memory: Option<(PathBuf, Box<str>)>) -> Self {
        let now = Mutex::new(order);
        Self { now, memory }
    }

    pub(super) fn get(&self) -> Order {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It was not as it was believed to be. No later run believes it either.
    pub(super) fn distrust(&self) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = Order::Unknown;
        if let Some((dir, server)) = &self.memory {
            // A run that does not know of it comes to the same.
            servers::distrust_order(dir, server).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_what_their_names_begin() {
        let keys = [
            "a", "a/", "a/b", "a/b/c", "a/b-c", "a\u{1}", "a!", "a-b", "a.b/c", "a.b-", "a0",
            "é/1", "é-",
        ];
        for pair in keys.windows(2) {
            let found = Order::Folders.compare(pair[0], pair[1]);
            assert_eq!(found, Some(Ordering::Less), "{pair:?}");
        }
        assert_eq!(Order::Folders.compare("a/b", "a/b"), Some(Ordering::Equal));
        assert_eq!(Order::Bytes.compare("a-b", "a/b"), Some(Ordering::Less));
        assert_eq!(Order::Unknown.compare("a", "b"), None);
    }
}
