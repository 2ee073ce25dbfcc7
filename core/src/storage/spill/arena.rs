//! Pairs in memory: one block of bytes and an offset of four bytes each.

use super::run::{decode_length, encode_length};

/// The offset of a pair in the block. Offsets grow as pairs are pushed, so they also tell the order of equal keys.
type Slot = u32;

/// Pairs in the order in which they came.
pub(super) struct Arena {
    limit: usize,
    bytes: Vec<u8>,
    slots: Vec<Slot>,
}

impl Arena {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: limit.min(Slot::MAX as usize),
            bytes: Vec::new(),
            slots: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether a pair may be added. One pair always may, however large it is.
    pub(super) fn has_room_for(&self, key: &[u8], value: &[u8]) -> bool {
        let used = self.bytes.len() + size_of_val(self.slots.as_slice());
        self.is_empty() || used + encoded_size(key, value) + size_of::<Slot>() <= self.limit
    }

    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) {
        let (slot_limit, limit) = (self.limit / size_of::<Slot>(), self.limit);
        grow(&mut self.bytes, encoded_size(key, value), limit);
        grow(&mut self.slots, 1, slot_limit);
        self.slots.push(self.bytes.len() as Slot);
        encode_length(key.len(), |byte| self.bytes.push(byte));
        encode_length(value.len(), |byte| self.bytes.push(byte));
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
    }

    /// The pairs in order.
    pub(super) fn sorted(&mut self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.sort();
        let bytes = &self.bytes;
        self.slots.iter().map(move |slot| pair(bytes, *slot))
    }

    pub(super) fn into_sorted(mut self) -> SortedArena {
        self.sort();
        SortedArena {
            bytes: self.bytes,
            slots: self.slots.into_iter(),
        }
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        let order = |a: &Slot, b: &Slot| pair(bytes, *a).0.cmp(pair(bytes, *b).0).then(a.cmp(b));
        self.slots.sort_unstable_by(order);
    }

    /// Bytes of memory in use.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.bytes.capacity() + self.slots.capacity() * size_of::<Slot>()
    }

    /// Forgets the pairs, keeps the memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.slots.clear();
    }
}

/// Pairs in memory, in order.
pub(super) struct SortedArena {
    bytes: Vec<u8>,
    slots: std::vec::IntoIter<Slot>,
}

impl SortedArena {
    pub(super) fn next(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        let (key, value) = pair(&self.bytes, self.slots.next()?);
        Some((key.to_vec(), value.to_vec()))
    }
}

/// Doubles as `Vec` does, but not beyond what the limit lets be used.
fn grow<T>(vec: &mut Vec<T>, more: usize, limit: usize) {
    let needed = vec.len() + more;
    if needed > vec.capacity() {
        let wanted = (vec.capacity() * 2).max(1024).min(limit).max(needed);
        vec.reserve_exact(wanted - vec.len());
    }
}

fn encoded_size(key: &[u8], value: &[u8]) -> usize {
    let mut size = key.len() + value.len();
    encode_length(key.len(), |_| size += 1);
    encode_length(value.len(), |_| size += 1);
    size
}

fn pair(bytes: &[u8], slot: Slot) -> (&[u8], &[u8]) {
    let mut rest = &bytes[slot as usize..];
    let mut length = || {
        decode_length(|| {
            let (first, behind) = rest.split_first()?;
            rest = behind;
            Some(*first)
        })
    };
    // Both lengths were written by `push`.
    let (key, value) = (length().unwrap_or(0), length().unwrap_or(0));
    let (key, rest) = rest.split_at(key);
    (key, &rest[..value])
}
