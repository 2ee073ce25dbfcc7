//! Whether a version is the one that is expected: before it is displaced, and again when it is in our hands.

use rustix::io::Errno;
use wl_core::model::{Kind, SyncPath};
use wl_core::storage::{ErrorKind, Expected, Result};

use super::kernel::Fd;
use super::meta::file_token;
use super::session::Session;
use super::sys::{self, At, Stat, Sys};

/// A displaced version of at most this size is always read again; a larger one only where its token proves nothing.
const ALWAYS_READ: u64 = 1 << 20;

/// A version as it was just before it was displaced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) stat: Stat,
    /// The token was the expected one and is old enough to prove something.
    trusted: bool,
}

/// Why a version is not displaced.
pub(super) enum Miss {
    Gone,
    Other(&'static str),
    Failed(Errno),
}

impl From<Errno> for Miss {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Miss::Gone,
            Errno::LOOP => Miss::Other("it became a link"),
            errno => Miss::Failed(errno),
        }
    }
}

const OTHER: &str = "something else is there than was expected; look again";

impl Session {
    /// Looks whether the expected version is there.
    pub(super) fn precheck(
        &self,
        at: At<'_>,
        expected: &Expected,
    ) -> std::result::Result<Seen, Miss> {
        let now = at.0.now();
        let stat = sys::stat_at(at.0, at.1)?;
        if stat.kind() != Some(expected.kind) {
            return Err(Miss::Other("another kind of entry is there; look again"));
        }
        let same_token = expected.token.as_ref() == Some(&file_token(&stat));
        let trusted = same_token && self.root.facts.settled(&stat, now);
        match expected.kind {
            Kind::Folder => Ok(Seen {
                stat,
                trusted: false,
            }),
            Kind::Link => {
                let same = match &expected.link {
                    Some(target) => sys::read_link(at.0, at.1)? == target.as_bytes(),
                    None => same_token,
                };
                match same {
                    true => Ok(Seen { stat, trusted }),
                    false => Err(Miss::Other("the link points elsewhere; look again")),
                }
            }
            // An equal token that is too young to be trusted is good enough here: the content is read when it is displaced.
            Kind::File if same_token => Ok(Seen { stat, trusted }),
            Kind::File => match expected.hash {
                None => Err(Miss::Other(OTHER)),
                Some(hash) => match self.hash_at(at)? {
                    Some((found, stat)) if found == hash => Ok(Seen {
                        stat,
                        trusted: false,
                    }),
                    _ => Err(Miss::Other(OTHER)),
                },
            },
        }
    }

    /// Whether the version `at`, in our hands now, is the one that was seen and expected. Its attributes if so.
    pub(super) fn verify(&self, at: At<'_>, seen: &Seen, expected: &Expected) -> Option<Stat> {
        let content = match (expected.kind, expected.hash) {
            (Kind::Link, _) => expected
                .link
                .as_deref()
                .is_none_or(|link| sys::read_link(at.0, at.1).is_ok_and(|t| t == link.as_bytes())),
            (Kind::File, Some(hash)) if !seen.trusted || seen.stat.size <= ALWAYS_READ => {
                match self.hash_at(at) {
                    Ok(Some((found, _))) => found == hash,
                    Ok(None) => false,
                    // Not ours to read: its attributes have to do, if its token was good.
                    Err(Errno::ACCESS | Errno::PERM) => seen.trusted,
                    Err(_) => false,
                }
            }
            _ => true,
        };
        let stat = sys::stat_at(at.0, at.1).ok()?;
        (content && stat.same_version(&seen.stat)).then_some(stat)
    }

    fn hash_at(&self, (folder, name): (&Fd, &str)) -> Sys<Option<Hashed>> {
        sys::hash_at(folder, name, &|| !self.options.cancel.is_cancelled())
    }

    /// A miss as a result.
    pub(super) fn missed<T>(
        &self,
        operation: &'static str,
        path: &SyncPath,
        miss: Miss,
        gone: ErrorKind,
    ) -> Result<T> {
        Err(match miss {
            Miss::Gone => self
                .root
                .refuse(gone, operation, path, "nothing is there any more"),
            Miss::Other(reason) => self
                .root
                .refuse(ErrorKind::Changed, operation, path, reason),
            Miss::Failed(errno) => self.root.error(operation, path, errno),
        })
    }
}

type Hashed = (wl_core::model::ContentHash, Stat);
