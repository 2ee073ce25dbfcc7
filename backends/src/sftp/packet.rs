//! The packets of SFTP version 3, and the OpenSSH extensions that are used.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// No packet may be longer; a length beyond it is no SFTP.
pub(super) const LONGEST: usize = 1024 * 1024;

pub(super) const HELLO: u8 = 1;
pub(super) const VERSION: u8 = 2;
pub(super) const OPEN: u8 = 3;
pub(super) const CLOSE: u8 = 4;
pub(super) const READ: u8 = 5;
pub(super) const WRITE: u8 = 6;
pub(super) const LSTAT: u8 = 7;
pub(super) const FSTAT: u8 = 8;
pub(super) const SETSTAT: u8 = 9;
pub(super) const FSETSTAT: u8 = 10;
pub(super) const OPENDIR: u8 = 11;
pub(super) const READDIR: u8 = 12;
pub(super) const REMOVE: u8 = 13;
pub(super) const MKDIR: u8 = 14;
pub(super) const RMDIR: u8 = 15;
pub(super) const REALPATH: u8 = 16;
pub(super) const RENAME: u8 = 18;
pub(super) const READLINK: u8 = 19;
pub(super) const SYMLINK: u8 = 20;
pub(super) const STATUS: u8 = 101;
pub(super) const HANDLE: u8 = 102;
pub(super) const DATA: u8 = 103;
pub(super) const NAME: u8 = 104;
pub(super) const ATTRS: u8 = 105;
pub(super) const EXTENDED: u8 = 200;
pub(super) const EXTENDED_REPLY: u8 = 201;

/// Flags of [`OPEN`].
pub(super) const TO_READ: u32 = 0x01;
pub(super) const TO_WRITE_NEW: u32 = 0x02 | 0x08 | 0x20;

/// Codes of [`STATUS`].
pub(super) const OK: u32 = 0;
pub(super) const EOF: u32 = 1;
pub(super) const NO_SUCH_FILE: u32 = 2;
pub(super) const DENIED: u32 = 3;
pub(super) const FAILURE: u32 = 4;
pub(super) const UNSUPPORTED: u32 = 8;

const HAS_SIZE: u32 = 0x01;
const HAS_OWNER: u32 = 0x02;
const HAS_MODE: u32 = 0x04;
const HAS_TIMES: u32 = 0x08;
const HAS_MORE: u32 = 0x8000_0000;

/// Attributes as the protocol has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Attrs {
    pub(super) size: Option<u64>,
    /// Type and permission bits.
    pub(super) mode: Option<u32>,
    /// Seconds since 1970.
    pub(super) mtime: Option<u32>,
}

impl Attrs {
    /// The type bits.
    pub(super) fn kind(self) -> Option<u32> {
        self.mode.map(|mode| mode & 0o170_000)
    }
}

/// A name in a folder, or the answer to `READLINK` and `REALPATH`.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) name: Bytes,
    pub(super) attrs: Attrs,
}

/// What a server answers.
#[derive(Debug)]
pub(super) enum Body {
    Status { code: u32, message: String },
    Handle(Bytes),
    Data(Bytes),
    Names(Vec<Name>),
    Attrs(Attrs),
    Extended(Bytes),
}

/// A packet that is being written.
#[derive(Debug)]
pub(super) struct Packet(BytesMut);

impl Packet {
    /// A packet of this type; the length is filled in at the end.
    pub(super) fn new(kind: u8, id: u32) -> Self {
        let mut bytes = BytesMut::with_capacity(128);
        bytes.put_u32(0);
        bytes.put_u8(kind);
        bytes.put_u32(id);
        Self(bytes)
    }

    pub(super) fn u32(mut self, value: u32) -> Self {
        self.0.put_u32(value);
        self
    }

    pub(super) fn u64(mut self, value: u64) -> Self {
        self.0.put_u64(value);
        self
    }

    /// Bytes with their length before them. Nothing here comes near the 4 GiB that fit.
    pub(super) fn string(mut self, value: &[u8]) -> Self {
        self.0
            .put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
        self.0.put_slice(value);
        self
    }

    pub(super) fn attrs(mut self, attrs: &Attrs) -> Self {
        let flags = if attrs.mode.is_some() { HAS_MODE } else { 0 }
            | if attrs.mtime.is_some() { HAS_TIMES } else { 0 };
        self.0.put_u32(flags);
        if let Some(mode) = attrs.mode {
            self.0.put_u32(mode);
        }
        if let Some(mtime) = attrs.mtime {
            self.0.put_u32(mtime);
            self.0.put_u32(mtime);
        }
        self
    }

    pub(super) fn finish(mut self) -> Bytes {
        let length = u32::try_from(self.0.len().saturating_sub(4)).unwrap_or(u32::MAX);
        if let Some(start) = self.0.get_mut(..4) {
            start.copy_from_slice(&length.to_be_bytes());
        }
        self.0.freeze()
    }
}

/// Reads what a packet holds; `None` if it holds less than it says.
#[derive(Debug)]
pub(super) struct Taker(pub(super) Bytes);

impl Taker {
    pub(super) fn u8(&mut self) -> Option<u8> {
        self.0.try_get_u8().ok()
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.0.try_get_u32().ok()
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.0.try_get_u64().ok()
    }

    pub(super) fn string(&mut self) -> Option<Bytes> {
        let length = usize::try_from(self.u32()?).ok()?;
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    fn attrs(&mut self) -> Option<Attrs> {
        let flags = self.u32()?;
        let mut attrs = Attrs::default();
        if flags & HAS_SIZE != 0 {
            attrs.size = Some(self.u64()?);
        }
        if flags & HAS_OWNER != 0 {
            self.u64()?;
        }
        if flags & HAS_MODE != 0 {
            attrs.mode = Some(self.u32()?);
        }
        if flags & HAS_TIMES != 0 {
            self.u32()?;
            attrs.mtime = Some(self.u32()?);
        }
        if flags & HAS_MORE != 0 {
            for _ in 0..self.u32()? {
                self.string()?;
                self.string()?;
            }
        }
        Some(attrs)
    }

    fn names(&mut self) -> Option<Vec<Name>> {
        // The count is the server's word: nothing is reserved for it.
        let mut names = Vec::new();
        for _ in 0..self.u32()? {
            let name = self.string()?;
            self.string()?;
            let attrs = self.attrs()?;
            names.push(Name { name, attrs });
        }
        Some(names)
    }
}

/// An answer and the request that it belongs to; `None` if it is none.
pub(super) fn answer(packet: Bytes) -> Option<(u32, Body)> {
    let mut taker = Taker(packet);
    let (kind, id) = (taker.u8()?, taker.u32()?);
    let body = match kind {
        STATUS => Body::Status {
            code: taker.u32()?,
            message: taker.string().map_or_else(String::new, |text| {
                String::from_utf8_lossy(&text).into_owned()
            }),
        },
        HANDLE => Body::Handle(taker.string()?),
        DATA => Body::Data(taker.string()?),
        NAME => Body::Names(taker.names()?),
        ATTRS => Body::Attrs(taker.attrs()?),
        EXTENDED_REPLY => Body::Extended(taker.0),
        _ => return None,
    };
    Some((id, body))
}
