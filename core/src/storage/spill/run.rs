//! A sorted run in a file: each pair as two lengths (LEB128), key and value.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};

/// Calls `put` with each byte of a length.
pub(super) fn encode_length(length: usize, mut put: impl FnMut(u8)) {
    let mut rest = length as u64;
    while rest >= 0x80 {
        put(rest as u8 | 0x80);
        rest >>= 7;
    }
    put(rest as u8);
}

/// Reads a length; `None` if the bytes end or are no length.
pub(super) fn decode_length(mut take: impl FnMut() -> Option<u8>) -> Option<usize> {
    let mut length = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take()?;
        length |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return usize::try_from(length).ok();
        }
    }
    None
}

/// A finished run.
pub(super) struct Run {
    file: File,
    bytes: u64,
}

#[cfg(test)]
impl Run {
    /// Cuts the file as a damaged disk might.
    pub(super) fn truncate(&self, bytes: u64) {
        self.file.set_len(bytes).unwrap();
    }
}

pub(super) struct RunWriter {
    file: BufWriter<File>,
    bytes: u64,
}

impl RunWriter {
    pub(super) fn new(file: File) -> Self {
        Self {
            file: BufWriter::with_capacity(64 * 1024, file),
            bytes: 0,
        }
    }

    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let (mut lengths, mut used) = ([0; 20], 0);
        for part in [key, value] {
            encode_length(part.len(), |byte| {
                lengths[used] = byte;
                used += 1;
            });
        }
        for part in [&lengths[..used], key, value] {
            self.file.write_all(part)?;
            self.bytes += part.len() as u64;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> io::Result<Run> {
        let mut file = self.file.into_inner().map_err(|error| error.into_error())?;
        file.rewind()?;
        Ok(Run {
            file,
            bytes: self.bytes,
        })
    }
}

pub(super) struct RunReader {
    file: BufReader<File>,
    left: u64,
}

impl RunReader {
    pub(super) fn new(run: Run, buffer: usize) -> Self {
        Self {
            file: BufReader::with_capacity(buffer, run.file),
            left: run.bytes,
        }
    }

    /// The next pair; `None` at the end. A file that is shorter than what was written is an error.
    pub(super) fn next(&mut self) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
        if self.left == 0 {
            return Ok(None);
        }
        let (key, value) = (self.length()?, self.length()?);
        Ok(Some((self.part(key)?, self.part(value)?)))
    }

    fn length(&mut self) -> io::Result<usize> {
        let mut failure = None;
        let length = decode_length(|| {
            let mut byte = [0];
            match self.file.read_exact(&mut byte) {
                Ok(()) => {
                    self.left = self.left.checked_sub(1)?;
                    Some(byte[0])
                }
                Err(error) => {
                    failure = Some(error);
                    None
                }
            }
        });
        length.ok_or_else(|| failure.unwrap_or_else(damaged))
    }

    fn part(&mut self, length: usize) -> io::Result<Vec<u8>> {
        self.left = self.left.checked_sub(length as u64).ok_or_else(damaged)?;
        let mut part = vec![0; length];
        self.file.read_exact(&mut part)?;
        Ok(part)
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a temporary file is damaged")
}
