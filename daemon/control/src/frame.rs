//! Messages on the wire: JSON, each followed by an empty line.

/// The most bytes that a request may have, the empty line not counted.
pub const MOST_BYTES: usize = 1024 * 1024;

/// Memory that is kept for the next message.
const ROOM: usize = 64 * 1024;

/// What came out of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The bytes of a message, not looked at yet.
    Message(Vec<u8>),
    /// A message that is longer than allowed began. The rest of it, up to its empty line, is passed over.
    TooLong,
}

/// Cuts a stream of bytes into messages, however the bytes arrive. Holds at most one message and what was pushed last.
#[derive(Debug)]
pub struct Frames {
    most: usize,
    bytes: Vec<u8>,
    /// How far `bytes` was searched for an empty line.
    searched: usize,
    skipping: bool,
}

impl Default for Frames {
    fn default() -> Self {
        Self::of_at_most(MOST_BYTES)
    }
}

impl Frames {
    /// Messages of at most this many bytes.
    pub fn of_at_most(most: usize) -> Self {
        Self {
            most,
            bytes: Vec::new(),
            searched: 0,
            skipping: false,
        }
    }

    /// Adds bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether something came that no empty line has ended yet.
    pub fn is_within_message(&self) -> bool {
        self.skipping || !self.bytes.trim_ascii().is_empty()
    }

    /// One long message is no reason to hold its memory for as long as the connection lasts.
    fn give_back(&mut self) {
        if self.bytes.capacity() > ROOM && self.bytes.len() < ROOM {
            self.bytes.shrink_to(ROOM);
        }
    }

    /// Where the first message ends, and where the next one begins. `\r\n` ends a line too.
    fn empty_line(&mut self) -> Option<(usize, usize)> {
        let mut at = self.searched;
        while let Some(found) = self.bytes[at..].iter().position(|byte| *byte == b'\n') {
            let end = at + found;
            let behind = &self.bytes[end + 1..];
            match behind {
                [b'\n', ..] => return Some((end, end + 2)),
                [b'\r', b'\n', ..] => return Some((end, end + 3)),
                [] | [b'\r'] => {
                    self.searched = end;
                    return None;
                }
                _ => at = end + 1,
            }
        }
        self.searched = self.bytes.len();
        None
    }

    fn too_long(&mut self) -> Option<Frame> {
        if self.skipping {
            // The last two bytes may begin an empty line.
            let keep = self.bytes.len().min(2);
            self.bytes.drain(..self.bytes.len() - keep);
            self.searched = 0;
            self.give_back();
            return None;
        }
        (self.bytes.len() > self.most + 2).then(|| {
            self.skipping = true;
            Frame::TooLong
        })
    }
}

impl Iterator for Frames {
    type Item = Frame;

    /// The next message that is complete, or known to be too long.
    fn next(&mut self) -> Option<Frame> {
        loop {
            let Some((end, behind)) = self.empty_line() else {
                return self.too_long();
            };
            let message: Vec<u8> = self.bytes.drain(..behind).take(end).collect();
            self.searched = 0;
            self.give_back();
            if std::mem::take(&mut self.skipping) || message.trim_ascii().is_empty() {
                continue;
            }
            return Some(if message.len() > self.most {
                Frame::TooLong
            } else {
                Frame::Message(message)
            });
        }
    }
}

/// A message as it goes on the wire.
pub fn framed(message: &str) -> String {
    format!("{message}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(frames: &mut Frames) -> Vec<Frame> {
        frames.collect()
    }

    fn message(text: &str) -> Frame {
        Frame::Message(text.as_bytes().to_vec())
    }

    #[test]
    fn messages_come_out_however_the_bytes_go_in() {
        let stream = b"{\"a\":1}\n\n\n\n{\n\"b\":\n2}\r\n\r\n[]\n\nhalf\n";
        let expected = [
            message("{\"a\":1}"),
            message("{\n\"b\":\n2}\r"),
            message("[]"),
        ];
        for size in 1..stream.len() {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for piece in stream.chunks(size) {
                frames.push(piece);
                found.extend(all(&mut frames));
            }
            assert_eq!(found, expected, "pieces of {size}");
            assert!(frames.is_within_message());
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_told_once_and_holds_no_memory() {
        for size in [1, 7, 4096, MOST_BYTES] {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            let mut left = if size == 1 {
                MOST_BYTES + 100
            } else {
                3 * MOST_BYTES
            };
            while left > 0 {
                let piece = left.min(size);
                frames.push(&vec![b'x'; piece]);
                found.extend(all(&mut frames));
                assert!(frames.bytes.len() <= MOST_BYTES + 2 + size);
                left -= piece;
            }
            assert_eq!(found, [Frame::TooLong]);
            frames.push(b"\n\n{}\n\n");
            assert_eq!(all(&mut frames), [message("{}")]);
            assert!(!frames.is_within_message());
            assert!(frames.bytes.capacity() <= ROOM.max(2 * size));
        }
    }

    #[test]
    fn the_memory_of_a_long_message_is_given_back() {
        let mut frames = Frames::default();
        for _ in 0..MOST_BYTES / 4096 {
            frames.push(&[b'x'; 4096]);
            assert!(frames.next().is_none());
        }
        frames.push(b"\n\n");
        assert!(matches!(frames.next(), Some(Frame::Message(_))));
        assert!(frames.bytes.capacity() <= ROOM);
    }

    #[test]
    fn the_longest_message_passes_and_one_byte_more_does_not() {
        let mut frames = Frames::default();
        frames.push(&vec![b'x'; MOST_BYTES]);
        frames.push(b"\n\n");
        assert!(matches!(&all(&mut frames)[..], [Frame::Message(it)] if it.len() == MOST_BYTES));
        frames.push(&vec![b'x'; MOST_BYTES + 1]);
        frames.push(b"\n\n{}\n\n");
        assert_eq!(all(&mut frames), [Frame::TooLong, message("{}")]);
    }
}
