//! What was found out about servers, remembered between runs.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::order::Order;
use super::probe::Proven;
use super::store::Conditions;

const FILE: &str = "servers.json";
const CLOCKS: &str = "clocks.json";
/// What was found out so long ago is found out again.
const FOR_SECONDS: i64 = 30 * 24 * 3600;
/// How long a clock is known, in seconds.
const CLOCK_FOR: i64 = 24 * 3600;

/// What is remembered of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    create: bool,
    replace: bool,
    remove: bool,
    /// Copies under conditions.
    #[serde(default)]
    copy: bool,
    /// Copies from other storages. What does not tell of these was written before they were tried: they are found out now.
    copy_in: bool,
    /// The conditions hold for large files.
    large: bool,
    /// Compares content with its SHA-256, and keeps that.
    verifies: bool,
    /// In which order it lists its keys.
    order: Order,
    /// When it was found out, in seconds since 1970.
    probed: i64,
}

/// What is remembered of a server's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Clock {
    /// How far ahead of ours it is at the least, in nanoseconds.
    ahead: i64,
    /// When that was seen, in seconds since 1970.
    seen: i64,
}

type Servers = BTreeMap<String, serde_json::Value>;

/// A file that is not there or not readable has nothing in it: then the server is tried out once more.
fn read(dir: &Path, file: &str) -> Servers {
    let text = std::fs::read(dir.join(file)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// What is remembered of `server`.
pub(super) fn recall(dir: &Path, server: &str, now: i64) -> Option<Proven> {
    let record: Record = serde_json::from_value(read(dir, FILE).remove(server)?).ok()?;
    let age = now.checked_sub(record.probed)?;
    (0..FOR_SECONDS).contains(&age).then_some(Proven {
        conditions: Conditions {
            create: record.create,
            replace: record.replace,
            remove: record.remove,
        },
        copy: record.copy,
        copy_in: record.copy_in,
        large: record.large,
        verifies: record.verifies,
        order: record.order,
    })
}

/// When that was found out, in seconds since 1970.
pub(super) fn probed(dir: &Path, server: &str) -> Option<i64> {
    let record: Record = serde_json::from_value(read(dir, FILE).remove(server)?).ok()?;
    Some(record.probed)
}

/// Remembers what was found out. Of two processes that write at once one may have to find out again.
pub(super) fn remember(dir: &Path, server: &str, proven: Proven, now: i64) -> io::Result<()> {
    let Conditions {
        create,
        replace,
        remove,
    } = proven.conditions;
    let record = Record {
        create,
        replace,
        remove,
        copy: proven.copy,
        copy_in: proven.copy_in,
        large: proven.large,
        verifies: proven.verifies,
        order: proven.order,
        probed: now,
    };
    write(dir, FILE, server, serde_json::to_value(record)?)
}

/// Nothing is known any more of the order in which `server` lists.
pub(super) fn distrust_order(dir: &Path, server: &str) -> io::Result<()> {
    let Some(serde_json::Value::Object(mut record)) = read(dir, FILE).remove(server) else {
        return Ok(());
    };
    record.insert("order".to_owned(), serde_json::to_value(Order::Unknown)?);
    write(dir, FILE, server, record.into())
}

/// How far ahead the clock of `server` was when that was found out, in nanoseconds.
pub(super) fn recall_clock(dir: &Path, server: &str, now: i64) -> Option<i64> {
    let clock = read(dir, CLOCKS).remove(server)?;
    let clock: Clock = serde_json::from_value(clock).ok()?;
    let age = now.checked_sub(clock.seen)?;
    (0..CLOCK_FOR).contains(&age).then_some(clock.ahead)
}

/// Remembers how far ahead the clock of `server` is.
pub(super) fn remember_clock(dir: &Path, server: &str, ahead: i64, now: i64) -> io::Result<()> {
    let clock = Clock { ahead, seen: now };
    write(dir, CLOCKS, server, serde_json::to_value(clock)?)
}

fn write(dir: &Path, file: &str, server: &str, known: serde_json::Value) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let mut servers = read(dir, file);
    servers.insert(server.to_owned(), known);
    // Such a file is readable for its owner only.
    let mut new = tempfile::NamedTempFile::new_in(dir)?;
    serde_json::to_writer_pretty(&mut new, &servers)?;
    new.flush()?;
    new.as_file().sync_all()?;
    new.persist(dir.join(file)).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROVEN: Proven = Proven {
        conditions: Conditions {
            create: true,
            replace: false,
            remove: true,
        },
        copy: true,
        copy_in: false,
        large: true,
        verifies: true,
        order: Order::Folders,
    };

    #[test]
    fn an_order_that_was_wrong_is_not_believed_again() {
        let dir = tempfile::tempdir().unwrap();
        distrust_order(dir.path(), "a").unwrap();
        assert_eq!(recall(dir.path(), "a", 0), None);
        remember(dir.path(), "a", PROVEN, 0).unwrap();
        remember(dir.path(), "b", PROVEN, 0).unwrap();
        distrust_order(dir.path(), "a").unwrap();
        let order = Order::Unknown;
        assert_eq!(recall(dir.path(), "a", 0), Some(Proven { order, ..PROVEN }));
        assert_eq!(recall(dir.path(), "b", 0), Some(PROVEN));
    }

    #[test]
    fn what_was_found_out_is_remembered_for_a_month() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(recall(dir.path(), "a", 0), None);
        remember(dir.path(), "a", PROVEN, 1000).unwrap();
        remember(dir.path(), "b", Proven::default(), 1000).unwrap();
        assert_eq!(recall(dir.path(), "a", 1000), Some(PROVEN));
        assert_eq!(recall(dir.path(), "b", 2000), Some(Proven::default()));
        assert_eq!(recall(dir.path(), "c", 1000), None);
        assert_eq!(probed(dir.path(), "a"), Some(1000));
        assert_eq!(probed(dir.path(), "c"), None);
        assert_eq!(recall(dir.path(), "a", 1000 + FOR_SECONDS), None);
        assert_eq!(recall(dir.path(), "a", 999), None, "from the future");
    }

    #[test]
    fn garbage_is_nothing_and_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        for garbage in ["", "{", "[]", r#"{"a": 3, "b": {"cas": 1}}"#] {
            std::fs::write(dir.path().join(FILE), garbage).unwrap();
            assert_eq!(recall(dir.path(), "a", 0), None);
            remember(dir.path(), "b", PROVEN, 0).unwrap();
            assert_eq!(recall(dir.path(), "b", 0), Some(PROVEN));
        }
        use std::os::unix::fs::PermissionsExt;
        let meta = std::fs::metadata(dir.path().join(FILE)).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    }
}
