//! What opendal tells of a file, in the engine's words: tags, times, and the notes beside the content.

use std::collections::HashMap;

use ::opendal::Metadata;
use wl_core::model::{Kind, Mode, Timestamp};
use wl_core::storage::Noted;

use super::services::{Service, Tags};
use crate::remote::store::{Attributes, Found};

/// rclone's names, so that both read what the other wrote.
const MTIME: &str = "mtime";
const MODE: &str = "mode";
const HASH: &str = "sha256";
/// Names the write.
const OPERATION: &str = "wl-op";

/// A regular file, in the file type bits of a mode.
const REGULAR: u32 = 0o100_000;

/// What `metadata` says.
pub(super) fn found(service: &Service, metadata: &Metadata) -> Found {
    let notes = Notes::of(metadata);
    Found {
        kind: if metadata.is_dir() {
            Kind::Folder
        } else {
            Kind::File
        },
        size: metadata.content_length(),
        tag: tag(service, metadata),
        modified: modified(metadata),
        mode: None,
        link: None,
        file_id: None,
        noted: notes.noted,
        operation: notes.operation,
    }
}

/// A folder of which nothing more is known.
pub(super) fn folder() -> Found {
    Found {
        kind: Kind::Folder,
        size: 0,
        tag: None,
        modified: None,
        mode: None,
        link: None,
        file_id: None,
        noted: Noted::default(),
        operation: None,
    }
}

/// What was just written: the reply to a write tells the tag and little else.
pub(super) fn written(
    service: &Service,
    metadata: &Metadata,
    size: u64,
    attributes: &Attributes,
) -> Found {
    let keeps = service.facts.notes;
    Found {
        kind: Kind::File,
        size,
        noted: Noted {
            mtime: attributes.mtime.filter(|_| keeps),
            mode: attributes.mode.filter(|_| keeps),
        },
        operation: keeps.then(|| attributes.operation.clone()),
        ..found(service, metadata)
    }
}

/// Whether `now` shows that it is not what was written, but another version that has come since.
pub(super) fn is_other(written: &Found, now: &Found) -> bool {
    fn differ<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
        matches!((one, other), (Some(one), Some(other)) if one != other)
    }
    now.kind != written.kind
        || now.size != written.size
        || differ(&written.tag, &now.tag)
        || differ(&written.operation, &now.operation)
}

/// What names this version; `None` if the service has no such thing.
pub(super) fn tag(service: &Service, metadata: &Metadata) -> Option<Box<str>> {
    match service.tags {
        Tags::Etag => normal(metadata.etag()?),
        Tags::Generation => metadata.version().map(Box::from),
        Tags::None => None,
    }
}

/// An entity tag as conditional headers want it: in quotes. Listings tell it without them here and there. A weak one proves nothing.
pub(super) fn normal(etag: &str) -> Option<Box<str>> {
    let etag = etag.trim();
    if etag.starts_with("W/") || etag.starts_with("w/") {
        return None;
    }
    let bare = etag.trim_matches('"');
    (!bare.is_empty()).then(|| format!("\"{bare}\"").into())
}

/// To the second: listings tell more than replies do, and both must tell the same.
fn modified(metadata: &Metadata) -> Option<Timestamp> {
    let at = metadata.last_modified()?.into_inner();
    let before = i64::from(at.subsec_nanosecond() < 0);
    Some(Timestamp {
        secs: at.as_second() - before,
        nanos: 0,
    })
}

/// `attributes` as notes beside the content.
pub(super) fn notes(service: &Service, attributes: &Attributes) -> HashMap<String, String> {
    let mut notes = HashMap::new();
    if let Some(at) = attributes.mtime {
        notes.insert(MTIME.to_owned(), time_text(at));
    }
    if let Some(mode) = attributes.mode {
        notes.insert(MODE.to_owned(), format!("{:o}", REGULAR | mode.bits()));
    }
    if let Some(hash) = attributes.hash {
        notes.insert(HASH.to_owned(), hash.to_string());
    }
    // Azure takes only names that could be those of variables.
    let operation = match service.scheme {
        "azblob" | "azdls" | "azfile" => OPERATION.replace('-', "_"),
        _ => OPERATION.to_owned(),
    };
    notes.insert(operation, attributes.operation.to_string());
    notes
}

/// Notes as they were read. Anybody may have written them: what makes no sense is left out.
#[derive(Debug, Default)]
struct Notes {
    noted: Noted,
    operation: Option<Box<str>>,
}

impl Notes {
    fn of(metadata: &Metadata) -> Self {
        let mut notes = Self::default();
        for (key, value) in metadata.user_metadata().into_iter().flatten() {
            notes.take(key, value);
        }
        notes
    }

    fn take(&mut self, key: &str, value: &str) {
        // Some servers give names back in another case.
        match key.to_ascii_lowercase().replace('_', "-").as_str() {
            MTIME => self.noted.mtime = time(value),
            MODE => self.noted.mode = mode(value),
            OPERATION => self.operation = Some(value.into()),
            _ => {}
        }
    }
}

/// Decimal seconds since 1970, as rclone writes them: `1700000000.123456789`, and `-1.5` for one and a half before.
fn time_text(at: Timestamp) -> String {
    if at.secs < 0 && at.nanos > 0 {
        let (secs, nanos) = (at.secs.saturating_add(1), 1_000_000_000 - at.nanos);
        return format!("-{}.{nanos:09}", secs.unsigned_abs());
    }
    format!("{}.{:09}", at.secs, at.nanos)
}

fn time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let numbers = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !numbers(whole) || !numbers(fraction) {
        return None;
    }
    let secs: i64 = whole.parse().ok()?;
    let nanos: u32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Some(match (negative, nanos) {
        (false, _) => Timestamp { secs, nanos },
        (true, 0) => Timestamp { secs: -secs, nanos },
        (true, _) => Timestamp {
            secs: -secs - 1,
            nanos: 1_000_000_000 - nanos,
        },
    })
}

fn mode(text: &str) -> Option<Mode> {
    u32::from_str_radix(text.trim(), 8).ok().map(Mode::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64, nanos: u32) -> Timestamp {
        Timestamp { secs, nanos }
    }

    #[test]
    fn times_are_written_as_rclone_writes_them() {
        assert_eq!(
            time_text(at(1_700_000_000, 123_456_789)),
            "1700000000.123456789"
        );
        assert_eq!(time_text(at(0, 5)), "0.000000005");
        assert_eq!(time_text(at(-2, 500_000_000)), "-1.500000000");
        assert_eq!(time_text(at(-1, 500_000_000)), "-0.500000000");
        assert_eq!(time_text(at(-7, 0)), "-7.000000000");
    }

    #[test]
    fn times_survive_the_way_there_and_back() {
        for secs in [0, 1, -1, -2, 1_700_000_000, -62_135_596_800] {
            for nanos in [0, 1, 999_999_999, 500_000_000] {
                assert_eq!(time(&time_text(at(secs, nanos))), Some(at(secs, nanos)));
            }
        }
    }

    #[test]
    fn foreign_times_are_read_or_left_out() {
        assert_eq!(time("1700000000"), Some(at(1_700_000_000, 0)));
        assert_eq!(time("1700000000.5"), Some(at(1_700_000_000, 500_000_000)));
        assert_eq!(time("1.1234567891234"), Some(at(1, 123_456_789)));
        let foreign = [
            "",
            "-",
            ".5",
            "1e9",
            "2024-01-01T00:00:00Z",
            "1.x",
            "99999999999999999999",
            "--1",
        ];
        for text in foreign {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn a_version_that_came_since_is_not_taken_for_ours() {
        let written = Found {
            kind: Kind::File,
            size: 5,
            operation: Some("ours-1".into()),
            ..folder()
        };
        let now = Found {
            tag: Some("\"x\"".into()),
            ..written.clone()
        };
        assert!(!is_other(&written, &now));
        let unnamed = Found {
            operation: None,
            ..now.clone()
        };
        assert!(!is_other(&written, &unnamed));
        let theirs = Found {
            operation: Some("theirs-1".into()),
            ..now.clone()
        };
        assert!(is_other(&written, &theirs));
        let longer = Found {
            size: 6,
            ..now.clone()
        };
        assert!(is_other(&written, &longer));
        let tagged = Found {
            tag: Some("\"y\"".into()),
            ..written
        };
        assert!(is_other(&tagged, &now));
    }

    #[test]
    fn modes_keep_their_low_bits_only() {
        assert_eq!(mode("100644"), Some(Mode::new(0o644)));
        assert_eq!(mode("644"), Some(Mode::new(0o644)));
        assert_eq!(mode("104755"), Some(Mode::new(0o755)));
        for text in ["", "rw-r--r--", "0o644", "8"] {
            assert_eq!(mode(text), None, "{text}");
        }
    }

    #[test]
    fn tags_are_quoted_and_weak_ones_are_none() {
        assert_eq!(normal("\"abc\"").as_deref(), Some("\"abc\""));
        assert_eq!(normal("abc-2").as_deref(), Some("\"abc-2\""));
        assert_eq!(normal(" \"abc\" ").as_deref(), Some("\"abc\""));
        assert_eq!(normal("W/\"abc\""), None);
        assert_eq!(normal("\"\""), None);
    }
}
