//! What a fanotify group sends, as bytes: pure. Nothing is taken for granted; what does not parse is told as such.

use rustix::fs::inotify::ReadFlags;

/// Of a rename both ends in one record; no name for this in inotify.
pub(super) const RENAME: u32 = 0x1000_0000;

/// Before the pieces of a record.
const HEAD: usize = 24;
/// Before the handle in a piece: its kind and length, then the file system.
const PIECE: usize = 4;
/// The version of the records, the same since Linux 2.6.37.
const VERSION: u8 = 3;

/// The kinds of pieces that name a folder.
const FOLDER_AND_NAME: u8 = 2;
const FOLDER: u8 = 3;
const OLD_FOLDER_AND_NAME: u8 = 10;
const NEW_FOLDER_AND_NAME: u8 = 12;

/// Several changes of one name may come as one record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// The same bits as of inotify, and [`RENAME`].
    pub(super) mask: u32,
    /// Where it happened; of a rename nowhere.
    pub(super) at: Option<Named<'a>>,
    pub(super) from: Option<Named<'a>>,
    pub(super) to: Option<Named<'a>>,
}

/// A name in a folder; `.` is the folder itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named<'a> {
    /// File system and handle, as they stand in the record.
    pub(super) folder: &'a [u8],
    pub(super) name: &'a [u8],
}

/// All of what was read at once. `None` where it is not what it should be, or something is not told where it happened.
pub(super) fn parse(mut bytes: &[u8]) -> Option<Vec<Record<'_>>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let length = u32_at(bytes, 0)? as usize;
        let record = bytes.get(..length)?;
        records.push(one(record)?);
        bytes = bytes.get(length..)?;
    }
    Some(records)
}

fn one(record: &[u8]) -> Option<Record<'_>> {
    let head = usize::from(u16_at(record, 6)?);
    if *record.get(4)? != VERSION || head < HEAD {
        return None;
    }
    let mask = u64::from_ne_bytes(record.get(8..16)?.try_into().ok()?);
    // The bits beyond are of nothing that was asked for.
    let mask = mask as u32;
    let mut found = Record {
        mask,
        ..Record::default()
    };
    let mut pieces = record.get(head..)?;
    while !pieces.is_empty() {
        let length = usize::from(u16_at(pieces, 2)?);
        let piece = pieces.get(..length).filter(|_| length >= PIECE)?;
        match piece[0] {
            FOLDER_AND_NAME | FOLDER => found.at = Some(named(piece)?),
            OLD_FOLDER_AND_NAME => found.from = Some(named(piece)?),
            NEW_FOLDER_AND_NAME => found.to = Some(named(piece)?),
            _ => {}
        }
        pieces = pieces.get(length..)?;
    }
    let placed = match mask {
        _ if mask & ReadFlags::QUEUE_OVERFLOW.bits() != 0 => true,
        _ if mask & RENAME != 0 => found.from.is_some() && found.to.is_some(),
        _ => found.at.is_some(),
    };
    placed.then_some(found)
}

fn named(piece: &[u8]) -> Option<Named<'_>> {
    let rest = piece.get(PIECE..)?;
    let handle = u32_at(rest, 8)? as usize;
    // A file system that fails to make a handle gives an empty one.
    let length = handle.checked_add(16).filter(|_| handle > 0)?;
    let folder = rest.get(..length)?;
    let name = rest.get(length..)?;
    let name = match piece[0] {
        FOLDER => b".",
        _ => name.get(..name.iter().position(|&byte| byte == 0)?)?,
    };
    (!name.is_empty()).then_some(Named { folder, name })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
pub(in crate::local::watch) mod tests {
    use super::*;

    /// A piece of this kind, of a folder whose handle is `handle`.
    fn piece(kind: u8, handle: &[u8], name: &[u8]) -> Vec<u8> {
        let mut piece = vec![kind, 0, 0, 0];
        piece.extend([7; 8]);
        piece.extend((handle.len() as u32).to_ne_bytes());
        piece.extend(1_i32.to_ne_bytes());
        piece.extend(handle);
        piece.extend(name);
        piece.push(0);
        piece.resize(piece.len().next_multiple_of(4), 0);
        let length = piece.len() as u16;
        piece[2..4].copy_from_slice(&length.to_ne_bytes());
        piece
    }

    fn record(mask: u64, pieces: &[Vec<u8>]) -> Vec<u8> {
        let pieces = pieces.concat();
        let mut record = ((HEAD + pieces.len()) as u32).to_ne_bytes().to_vec();
        record.extend([VERSION, 0]);
        record.extend((HEAD as u16).to_ne_bytes());
        record.extend(mask.to_ne_bytes());
        record.extend((-1_i32).to_ne_bytes());
        record.extend(0_i32.to_ne_bytes());
        record.extend(pieces);
        record
    }

    /// What the system sends when its queue is full.
    pub(in crate::local::watch) fn overflow() -> Vec<u8> {
        record(0x4000, &[])
    }

    fn several() -> Vec<u8> {
        let mut all = record(0x100, &[piece(2, b"abcd", b"f")]);
        let ends = [piece(10, b"abcd", b"old"), piece(12, b"efghijkl", b"n\xff")];
        all.extend(record(0x5000_0000, &ends));
        all.extend(record(0x4000_0004, &[piece(2, b"abcd", b".")]));
        all.extend(overflow());
        all
    }

    #[test]
    fn a_record_tells_folder_and_name_and_a_rename_both() {
        let all = several();
        let records = parse(&all).unwrap();
        assert_eq!(records.len(), 4);
        let at = records[0].at.unwrap();
        assert_eq!((at.name, &at.folder[16..]), (&b"f"[..], &b"abcd"[..]));
        let (from, to) = (records[1].from.unwrap(), records[1].to.unwrap());
        assert_eq!(from.folder, at.folder);
        assert_eq!((from.name, to.name), (&b"old"[..], &b"n\xff"[..]));
        assert_eq!(&to.folder[16..], b"efghijkl");
        assert_eq!(records[1].mask, 0x5000_0000);
        assert_eq!(records[2].at.unwrap().name, b".");
        assert_eq!(records[3].mask, 0x4000);
    }

    #[test]
    fn what_is_not_of_interest_is_passed_over() {
        let process = vec![4, 0, 8, 0, 1, 2, 3, 4];
        let bytes = record(0x100, &[process, piece(2, b"abcd", b"f")]);
        assert_eq!(parse(&bytes).unwrap()[0].at.unwrap().name, b"f");
    }

    #[test]
    fn a_record_that_is_cut_short_does_not_parse() {
        let all = several();
        let mut whole = 0;
        for end in 0..all.len() {
            if let Some(records) = parse(&all[..end]) {
                assert_eq!(records.len(), whole, "cut at {end}");
                whole += 1;
            }
        }
        assert_eq!(whole, 4, "only between two records");
    }

    #[test]
    fn a_record_without_its_place_does_not_parse() {
        let named = |kind| piece(kind, b"abcd", b"f");
        for bytes in [
            record(0x100, &[]),
            record(0x100, &[named(10)]),
            record(0x1000_0000, &[named(10)]),
            record(0x1000_0000, &[named(12), named(2)]),
            record(0x100, &[piece(2, b"", b"f")]),
            record(0x100, &[piece(2, b"abcd", b"")]),
        ] {
            assert_eq!(parse(&bytes), None, "{bytes:?}");
        }
    }

    /// Whatever comes, it is parsed or not: no fault, and no end that is never reached.
    #[test]
    fn garbage_does_no_harm() {
        let all = several();
        for at in 0..all.len() {
            for value in [0, 1, 3, 4, 24, 0x7f, 0x80, 0xff] {
                let mut bytes = all.clone();
                bytes[at] = value;
                let _ = parse(&bytes);
                bytes.truncate(all.len() - at / 2);
                let _ = parse(&bytes);
            }
        }
        let mut roll = 88_172_645_463_325_252_u64;
        for length in 0..2000 {
            let mut bytes = Vec::new();
            for _ in 0..length % 200 {
                roll ^= roll << 13;
                roll ^= roll >> 7;
                roll ^= roll << 17;
                bytes.push((roll % 30) as u8);
            }
            let _ = parse(&bytes);
        }
        assert_eq!(parse(&[0; 64]), None);
        assert_eq!(parse(&[0xff; 64]), None);
    }
}
