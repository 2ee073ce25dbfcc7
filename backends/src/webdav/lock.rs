//! Locks: the only thing that makes a condition hold on WebDAV servers, whose `If-Match` is checked before and not while they write.
//!
//! What servers do, tried out:
//!
//! * LOCK where nothing is: `dav-server` makes an empty file and says 201. Apache's `mod_dav` says 200 and shows a name without size or
//!   date, which is gone after UNLOCK.
//!   With `If-None-Match: *` a LOCK is refused where something has come to be, with `If-Match: *` where nothing is any more (`dav-server`).
//!   On servers that do not care, an empty file that somebody makes between our look and our LOCK is taken for the lock's own, and goes
//!   when the change is not made: what is lost is a file without content. An empty file that a LOCK made of a file that was removed at
//!   that moment stays if the answer gets lost too.
//! * MOVE onto a locked name needs the token under that name's address (a tagged list). Apache keeps the lock, `dav-server` drops it with the
//!   file that was there; UNLOCK is then refused, which says nothing.
//! * MOVE into a folder that is missing: Apache says 500.
//! * DELETE takes the lock away with the file; UNLOCK is refused after it.
//! * Apache's own file provider (`mod_dav_fs`, 2.4.71 of Debian) keeps its locks in a database that it does not lock: of 300 names that four
//!   clients locked at once 43 were given to more than one of them, and while six others lock other names every fourth lock vanishes, or
//!   comes back after its UNLOCK and keeps everybody out until it expires. It says who it is, and none of its locks is asked for.
//! * Behind a lock whose token is no longer good a late request is refused with 412: what was given up cannot happen afterwards.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH};
use http::{Method, StatusCode};
use reqwest::Response;
use url::Url;
use wl_core::model::SyncPath;
use wl_core::storage::{ErrorKind, StorageError};

use super::listing::odd;
use super::write::empty;
use super::xml::{self, Answer};
use super::{Dav, is_folder};
use crate::remote::store::{Again, Fault, Found, Outcome};
use crate::remote::web::{Request, answer, content};

/// For how long a lock holds if we die.
const TERM: &str = "Second-120";
/// The pauses while somebody else holds a lock; after the longest it is the engine's turn.
const SHORTEST_WAIT: Duration = Duration::from_millis(4);
const LONGEST_WAIT: Duration = Duration::from_millis(256);
/// Answers about one resource are short.
const SHORT: usize = 1 << 20;

pub(super) const DEPTH: HeaderName = HeaderName::from_static("depth");
pub(super) const IF: HeaderName = HeaderName::from_static("if");
const DAV: HeaderName = HeaderName::from_static("dav");
/// How `mod_dav_fs` calls itself.
const MOD_DAV_FS: &str = "http://apache.org/dav/propset/fs/";
const LOCK_TOKEN: HeaderName = HeaderName::from_static("lock-token");
const TIMEOUT: HeaderName = HeaderName::from_static("timeout");

/// A lock that we have.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) url: Url,
    pub(super) token: String,
    /// The server says that the lock made something where nothing was.
    pub(super) made: bool,
    /// The name that we gave it.
    owner: String,
}

impl Held {
    /// The value of `If`, always under the locked name's own address: Apache takes a token without one to be the parent's as well, and
    /// refuses a DELETE with it (424).
    pub(super) fn tagged(&self) -> String {
        format!("<{}> (<{}>)", self.url, self.token)
    }
}

/// What the server's locks are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Locks {
    /// A second lock was refused.
    Real,
    /// There are none, or they keep nobody out.
    None,
}

impl Dav {
    /// Locks a name, if the server's locks are worth it. `folder`: with everything in it. `absent`: nothing was there a moment ago.
    pub(super) async fn lock(&self, path: &SyncPath, folder: bool, absent: bool) -> Outcome<Held> {
        if self.locks.get().is_none() && self.is_mod_dav_fs().await? {
            let _ = self.locks.set(Locks::None);
        }
        if self.locks.get() == Some(&Locks::None) {
            return Err(lockless());
        }
        let held = self.take_in_turn(path, folder, absent).await?;
        if self.locks.get().is_none() {
            // Some servers hand out locks that keep nobody out, to please office programs.
            let second = self.take(path, folder, None).await;
            let real =
                matches!(&second, Err(fault) if fault.again != Again::Never && !fault.unclear);
            if let Ok(second) = second {
                let _ = self.locks.set(Locks::None);
                self.release(&second).await;
                // What such a lock made is ours to remove. It happens once, in the engine's trial below the reserved name.
                if absent && held.made {
                    let now = self.look(path, folder).await?;
                    self.take_back(path, &held, now.as_ref().is_some_and(empty))
                        .await;
                }
                self.release(&held).await;
                return Err(lockless());
            }
            if real {
                let _ = self.locks.set(Locks::Real);
            }
        }
        Ok(held)
    }

    /// Whether this is the server whose locks do not hold, however well they look while nobody else asks for one.
    async fn is_mod_dav_fs(&self) -> Outcome<bool> {
        let url = self.client.url(&SyncPath::root(), true);
        let asked = self.client.send(Request::new(Method::OPTIONS, url)).await;
        let reply = asked.map_err(untouched)?;
        let mut words = reply.headers().get_all(DAV).iter();
        Ok(words.any(|words| words.to_str().is_ok_and(|words| words.contains(MOD_DAV_FS))))
    }

    /// Whoever changes a file holds its lock for some requests only: it is worth waiting for a moment.
    async fn take_in_turn(&self, path: &SyncPath, folder: bool, absent: bool) -> Outcome<Held> {
        let mut pause = SHORTEST_WAIT;
        loop {
            let taken = self.take(path, folder, Some(absent)).await;
            let locked =
                matches!(&taken, Err(fault) if fault.again != Again::Never && !fault.unclear);
            if locked && pause > LONGEST_WAIT && self.free_own(path, folder).await? {
                return self.take(path, folder, Some(absent)).await;
            }
            if !locked || pause > LONGEST_WAIT {
                return taken;
            }
            // Between half and all of it, so that two who wait for each other fall out of step.
            let chance = RandomState::new().hash_one(0) % 512;
            tokio::time::sleep(pause.mul_f64(0.5 + chance as f64 / 1024.0)).await;
            pause *= 2;
        }
    }

    /// `absent`: what was seen a moment ago. The server is asked to refuse if that has changed: then a lock can neither make an empty file
    /// where one has just been removed, nor be had on one that has just come.
    async fn take(&self, path: &SyncPath, folder: bool, absent: Option<bool>) -> Outcome<Held> {
        let owner = self.nonce();
        self.lives(&owner, true);
        let taken = self.take_as(&owner, path, folder, absent).await;
        if taken.is_err() {
            self.lives(&owner, false);
        }
        taken
    }

    async fn take_as(
        &self,
        owner: &str,
        path: &SyncPath,
        folder: bool,
        absent: Option<bool>,
    ) -> Outcome<Held> {
        let url = self.client.url(path, folder);
        let body = format!(
            r#"<?xml version="1.0" encoding="utf-8"?><lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype><owner>{owner}</owner></lockinfo>"#
        );
        let request = Request::new(method("LOCK"), url.clone())
            .header(DEPTH, if folder { "infinity" } else { "0" })
            .header(TIMEOUT, TERM)
            .header(http::header::CONTENT_TYPE, "application/xml; charset=utf-8")
            .body(body);
        let request = match absent {
            Some(true) => request.header(IF_NONE_MATCH, "*"),
            Some(false) if !folder => request.header(IF_MATCH, "*"),
            _ => request,
        };
        let absent = absent == Some(true);
        let reply = match self.client.send(request).await {
            Ok(reply) => reply,
            // The lock may be there all the same, and would keep everybody out until it expires.
            Err(fault) if fault.unclear => {
                let recalled = self.recall(url, owner, absent, fault).await;
                return recalled.map_err(untouched);
            }
            Err(fault) => return Err(fault),
        };
        match reply.status().as_u16() {
            200 | 201 => {
                let made = reply.status() == StatusCode::CREATED;
                let token = answer::header(reply.headers(), &LOCK_TOKEN).map(bare);
                match token {
                    Some(token) => Ok(Held {
                        url,
                        token,
                        made,
                        owner: owner.to_owned(),
                    }),
                    None => {
                        self.recall(
                            url,
                            owner,
                            absent,
                            odd("the server tells no token for its lock".to_owned()),
                        )
                        .await
                    }
                }
            }
            404 => Err(answer::fault(StatusCode::CONFLICT, reply.headers())),
            // What servers call a missing folder: `dav-server` 412, rclone 500.
            400 | 403 | 405 | 412 | 500 if absent && self.is_homeless(path).await? => {
                Err(answer::fault(StatusCode::CONFLICT, reply.headers()))
            }
            400 | 403 | 405 | 415 | 501 => Err(lockless()),
            _ => Err(done(reply)
                .await
                .err()
                .unwrap_or_else(|| odd("the server's answer to LOCK says nothing".to_owned()))),
        }
    }

    /// Whether the folder is missing that should hold it.
    pub(super) async fn is_homeless(&self, path: &SyncPath) -> Outcome<bool> {
        match path.parent().filter(|folder| !folder.is_root()) {
            Some(folder) => Ok(!is_folder(self.look(&folder, false).await?.as_ref())),
            None => Ok(false),
        }
    }

    /// The lock whose answer was lost, found by the name that we gave it.
    async fn recall(&self, url: Url, owner: &str, made: bool, fault: Fault) -> Outcome<Held> {
        let locks = self.locks_on(url.clone()).await?;
        let ours = locks.into_iter().find(|(name, _)| name.contains(owner));
        let (_, token) = ours.ok_or(fault)?;
        Ok(Held {
            url,
            token,
            made,
            owner: owner.to_owned(),
        })
    }

    /// The locks on a resource: the names that their owners gave, and their tokens.
    async fn locks_on(&self, url: Url) -> Outcome<Vec<(String, String)>> {
        let request = Request::new(method("PROPFIND"), url)
            .header(DEPTH, "0")
            .header(http::header::CONTENT_TYPE, "application/xml; charset=utf-8")
            .body(xml::ASK_LOCKS);
        let reply = self.client.send(request).await?;
        let mut locks = Vec::new();
        if reply.status() == StatusCode::MULTI_STATUS {
            let body = content::whole(reply, SHORT).await?;
            let mut resources = Answer::new(&body[..]);
            while let Some(resource) = resources.next().map_err(odd)? {
                locks.extend(resource.locks);
            }
        }
        Ok(locks)
    }

    /// Gives back a lock of ours that is still there because its UNLOCK never arrived. Whether there was one.
    async fn free_own(&self, path: &SyncPath, folder: bool) -> Outcome<bool> {
        let url = self.client.url(path, folder);
        let locks = self.locks_on(url.clone()).await.map_err(untouched)?;
        let stale = locks.into_iter().find(|(name, _)| self.is_left_over(name));
        let Some((owner, token)) = stale else {
            return Ok(false);
        };
        let held = Held {
            url,
            token,
            made: false,
            owner,
        };
        self.release(&held).await;
        Ok(true)
    }

    /// Gives a lock back. What cannot be given back now is when somebody here needs the name again, or expires.
    pub(super) async fn release(&self, held: &Held) {
        self.lives(&held.owner, false);
        for _ in 0..3 {
            let request = Request::new(method("UNLOCK"), held.url.clone())
                .header(LOCK_TOKEN, format!("<{}>", held.token));
            match self.client.send(request).await {
                // Refused: the lock is gone already.
                Ok(reply) if !reply.status().is_server_error() => return,
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// What is at a path, asked of that path alone.
    pub(super) async fn look(&self, path: &SyncPath, folder: bool) -> Outcome<Option<Found>> {
        let request = self.propfind(path, folder, "0");
        let reply = self.client.send(request).await?;
        match reply.status().as_u16() {
            207 => {}
            404 | 410 => return Ok(None),
            // Apache: it is no folder, or what is above it is none.
            400 if folder => return Box::pin(self.look(path, false)).await,
            400 if self.is_below_a_file(path).await => return Ok(None),
            _ => return Err(no_dav(&reply)),
        }
        let date = answer::date(reply.headers());
        let body = content::whole(reply, SHORT).await?;
        let mut resources = Answer::new(&body[..]);
        match resources.next().map_err(odd)? {
            Some(resource) => {
                let found = super::listing::found(&resource, date)?;
                // Only a whole answer counts.
                while resources.next().map_err(odd)?.is_some() {}
                Ok(found)
            }
            None => Ok(None),
        }
    }

    /// Whether the closest thing above that there is to see is no folder.
    async fn is_below_a_file(&self, path: &SyncPath) -> bool {
        let Some(above) = path.parent().filter(|above| !above.is_root()) else {
            return false;
        };
        match Box::pin(self.look(&above, false)).await {
            // Nothing: it is below a file itself.
            Ok(found) => !is_folder(found.as_ref()),
            Err(_) => false,
        }
    }

    pub(super) fn propfind(&self, path: &SyncPath, folder: bool, depth: &str) -> Request {
        Request::new(method("PROPFIND"), self.client.url(path, folder))
            .header(DEPTH, depth)
            .header(http::header::CONTENT_TYPE, "application/xml; charset=utf-8")
            .body(xml::ASK)
    }
}

/// A lock that was not had: nothing was written.
fn untouched(fault: Fault) -> Fault {
    Fault {
        unclear: false,
        ..fault
    }
}

/// A method of WebDAV.
pub(super) fn method(name: &'static str) -> Method {
    Method::from_bytes(name.as_bytes()).unwrap_or(Method::OPTIONS)
}

fn bare(token: &str) -> String {
    token
        .trim()
        .trim_start_matches('<')
        .trim_end_matches('>')
        .to_owned()
}

/// The fault of a server that answers a PROPFIND with something else.
pub(super) fn no_dav(reply: &Response) -> Fault {
    if reply.status().is_success() {
        let reason = "the server does not speak WebDAV here; check `url`, which must be the WebDAV folder and no web page";
        return StorageError::new(ErrorKind::Unavailable, "request", reason).into();
    }
    answer::fault(reply.status(), reply.headers())
}

/// Why a condition cannot be kept.
pub(super) fn lockless() -> Fault {
    let reason = "the server has no working locks, so nothing can be changed under a condition; allow checked writes, or have it offer LOCK";
    StorageError::new(ErrorKind::Unsupported, "lock", reason).into()
}

/// Whether a change was made. A multi-status is a refusal as soon as it tells of one.
pub(super) async fn done(reply: Response) -> Outcome<()> {
    let status = reply.status();
    if status != StatusCode::MULTI_STATUS {
        return match status.is_success() {
            true => Ok(()),
            false => Err(answer::fault(status, reply.headers())),
        };
    }
    let body = content::whole(reply, SHORT).await?;
    let mut resources = Answer::new(&body[..]);
    let mut first = None;
    while let Some(resource) = resources.next().map_err(odd)? {
        match resource.status {
            None | Some(200..300) => {}
            // 424 only says that another one failed.
            Some(424) => first = first.or(Some(424)),
            Some(code) => {
                first = Some(code);
                break;
            }
        }
    }
    match first.and_then(|code| StatusCode::from_u16(code).ok()) {
        Some(code) => Err(answer::fault(code, &HeaderMap::new())),
        None => Ok(()),
    }
}
