//! What a server really does with conditions: tried once, remembered, never assumed.
//!
//! Some servers take a condition, answer that all went well, and have ignored it; some look and then write. So each condition is
//! tried with a version that is there, with one that is not, and by many at once, and what is there is read after every step.

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use wl_core::model::{ContentHash, SyncPath};
use wl_core::plugin::ConnectContext;
use wl_core::storage::{CONNECT, ErrorKind, Result};

use super::session::{Rounds, make_above, own_path};
use super::store::{Again, Attributes, Condition, Conditions, CopyIn, Fault, Found, Outcome, Put};
use super::token::now;
use super::wire::Wire;
use super::{servers, trash};

/// So many try to create or replace one file at the same time. Servers were seen that let each loser wait for a second.
const RACERS: usize = 2;
/// So many files are raced for, all at once.
const RACES: usize = 8;

/// What was proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Proven {
    /// The conditions that work.
    pub(super) conditions: Conditions,
    /// A copy to where something is, or of a version that is not there any more, is refused.
    pub(super) copy: bool,
    /// A copy from another storage keeps to the condition on what it replaces.
    pub(super) copy_in: bool,
    /// The conditions of writes hold for large files too, where those are written in another way.
    pub(super) large: bool,
}

/// The conditions that work here.
pub(super) async fn conditions(wire: &Wire, context: &ConnectContext) -> Result<Proven> {
    let facts = wire.facts();
    if !facts.probe {
        return Ok(Proven {
            conditions: facts.conditions,
            copy: facts.copies,
            copy_in: facts.copies,
            large: true,
        });
    }
    if facts.conditions == Conditions::default() || !facts.writable {
        return Ok(Proven::default());
    }
    let server = wire.store().server().to_owned();
    let state_dir = context.state_dir.as_deref();
    if let Some(proven) = state_dir.and_then(|dir| servers::recall(dir, &server, now().secs)) {
        return Ok(proven);
    }
    if !context.writes {
        return Ok(Proven::default());
    }
    // A root that is not there is not made: whoever lists it has to see that it is missing.
    if !facts.flat && wire.stat(&SyncPath::root()).await?.is_none() {
        return Ok(Proven::default());
    }
    let proven = probe(wire).await?;
    if let Some(dir) = state_dir {
        // What cannot be remembered is found out again.
        servers::remember(dir, &server, proven, now().secs).ok();
    }
    Ok(proven)
}

/// A try-out in a folder of its own.
struct Probe<'a> {
    wire: &'a Wire,
    folder: SyncPath,
}

async fn probe(wire: &Wire) -> Result<Proven> {
    let random = RandomState::new();
    let id = format!("{:016x}{:016x}", random.hash_one(1), random.hash_one(2));
    let folder = own_path(&format!("probe/{id}"))?;
    let probe = Probe { wire, folder };
    let proven = probe.all().await;
    probe.clean().await;
    proven.map_err(|fault| {
        let connected = !fault.error.kind().is_of_storage();
        let error = wire.error(CONNECT, &probe.folder, fault);
        match connected {
            true => {
                error.with_advice("it could not be found out what the server does with conditions")
            }
            false => error,
        }
    })
}

/// A step's answer: whether it was done.
fn done<T>(result: Outcome<T>) -> Outcome<bool> {
    let no = [
        ErrorKind::Changed,
        ErrorKind::Unsupported,
        ErrorKind::NotFound,
    ];
    match result {
        Ok(_) => Ok(true),
        Err(fault) if no.contains(&fault.error.kind()) => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// Whether all races were kept to the condition.
fn all_kept(races: Vec<Outcome<bool>>) -> Outcome<bool> {
    races
        .into_iter()
        .try_fold(true, |all, kept| Ok(all && kept?))
}

impl Probe<'_> {
    async fn all(&self) -> Outcome<Proven> {
        let offered = self.wire.facts().conditions;
        if !self.wire.facts().flat {
            let mut made = std::collections::HashSet::new();
            let inside = self.path("x")?;
            make_above(self.wire, &mut made, &inside, &CancellationToken::new()).await?;
        }
        // Where a server makes racers wait for one another, all of them wait at the same time.
        let (create, replace) = futures::join!(
            async { Ok(offered.create && self.again(|n| self.creates(n)).await?) },
            async { Ok(offered.replace && self.again(|n| self.replaces(n)).await?) },
        );
        let (create, replace): (Outcome<bool>, Outcome<bool>) = (create, replace);
        let conditions = Conditions {
            create: create?,
            replace: replace?,
            remove: offered.remove && self.again(|n| self.removes(n)).await?,
        };
        let copies = self.wire.facts().copies;
        let copy = copies && self.again(|n| self.copies(n)).await?;
        let copy_in = copy && self.again(|n| self.copies_in(n)).await?;
        let writes = conditions.create || conditions.replace;
        let large = writes && self.again(|n| self.large(n, conditions)).await?;
        Ok(Proven {
            conditions,
            copy,
            copy_in,
            large,
        })
    }

    /// Tries something out under new names until no temporary trouble comes in between.
    async fn again<F: Future<Output = Outcome<bool>>>(
        &self,
        attempt: impl Fn(usize) -> F,
    ) -> Outcome<bool> {
        let (mut rounds, cancel) = (Rounds::default(), CancellationToken::new());
        for number in 0.. {
            match attempt(number).await {
                Ok(proven) => return Ok(proven),
                Err(fault) => {
                    // A lost reply proves nothing: try with another name.
                    let again = match fault.again {
                        Again::Never if fault.unclear => Again::After(None),
                        again => again,
                    };
                    rounds.pause(Fault { again, ..fault }, &cancel).await?;
                }
            }
        }
        Ok(false)
    }

    fn path(&self, name: &str) -> Outcome<SyncPath> {
        let path = self.folder.join(name);
        path.map_err(|error| {
            let error =
                wl_core::storage::StorageError::new(ErrorKind::Other, "try out", error.to_string());
            Fault::from(error)
        })
    }

    async fn put(&self, at: &SyncPath, content: &str, condition: Condition) -> Outcome<Found> {
        self.write(at, content, condition, false).await
    }

    /// `large`: as a large file is written.
    async fn write(
        &self,
        at: &SyncPath,
        content: &str,
        condition: Condition,
        large: bool,
    ) -> Outcome<Found> {
        let attributes = Attributes {
            hash: Some(ContentHash::of(content.as_bytes())),
            operation: format!("probe-{content}").into(),
            ..Attributes::default()
        };
        let scratch = self.path(&format!("{}.{content}.new", at.name()))?;
        let put = Put {
            path: at,
            content: Bytes::copy_from_slice(content.as_bytes()),
            attributes: &attributes,
            condition: &condition,
            scratch: &scratch,
        };
        let _turn = self.wire.turn(content.len() as u64).await;
        match large {
            true => self.wire.store().put_as_large(put).await,
            false => self.wire.store().put(put).await,
        }
    }

    async fn remove(&self, at: &SyncPath, condition: Condition) -> Outcome<()> {
        let _turn = self.wire.turn(0).await;
        self.wire.store().remove(at, &condition).await
    }

    /// Whether exactly this is there.
    async fn holds(&self, at: &SyncPath, content: &str) -> Outcome<bool> {
        let _turn = self.wire.turn(0).await;
        let Some(found) = self.wire.store().stat(at).await? else {
            return Ok(false);
        };
        if found.size != content.len() as u64 {
            return Ok(false);
        }
        let mut reading = self.wire.store().read(at, 0..found.size, None).await?;
        let mut read = Vec::new();
        while let Some(piece) = reading.pieces.next().await {
            read.extend_from_slice(&piece?);
        }
        Ok(read == content.as_bytes())
    }

    async fn creates(&self, number: usize) -> Outcome<bool> {
        let at = self.path(&format!("create-{number}"))?;
        let proven = done(self.put(&at, "one", Condition::Absent).await)?
            && !done(self.put(&at, "two", Condition::Absent).await)?
            && self.holds(&at, "one").await?;
        if !proven {
            return Ok(false);
        }
        let races = (0..RACES).map(async |race| {
            let name = format!("create-{number}-{race}");
            let at = self.path(&name)?;
            self.race(&name, &at, &Condition::Absent).await
        });
        all_kept(join_all(races).await)
    }

    async fn replaces(&self, number: usize) -> Outcome<bool> {
        let at = self.path(&format!("replace-{number}"))?;
        let Some(first) = self.put(&at, "one", Condition::None).await?.tag else {
            return Ok(false);
        };
        let second = match self.put(&at, "two", Condition::Is(first.clone())).await {
            Ok(found) => found.tag,
            other => return done(other),
        };
        let proven = second.is_some_and(|second| second != first)
            && self.holds(&at, "two").await?
            && !done(self.put(&at, "six", Condition::Is(first)).await)?
            && self.holds(&at, "two").await?;
        if !proven {
            return Ok(false);
        }
        let races = (0..RACES).map(async |race| {
            let name = format!("race-{number}-{race}");
            let at = self.path(&name)?;
            match self.put(&at, &name, Condition::None).await?.tag {
                Some(tag) => self.race(&name, &at, &Condition::Is(tag)).await,
                None => Ok(false),
            }
        });
        all_kept(join_all(races).await)
    }

    async fn removes(&self, number: usize) -> Outcome<bool> {
        let at = self.path(&format!("remove-{number}"))?;
        let first = self.put(&at, "one", Condition::None).await?.tag;
        let second = self.put(&at, "two", Condition::None).await?.tag;
        let (Some(first), Some(second)) = (first, second) else {
            return Ok(false);
        };
        let proven = !done(self.remove(&at, Condition::Is(first)).await)?
            && self.holds(&at, "two").await?
            && done(self.remove(&at, Condition::Is(second)).await)?;
        let _turn = self.wire.turn(0).await;
        Ok(proven && self.wire.store().stat(&at).await?.is_none())
    }

    async fn copies(&self, number: usize) -> Outcome<bool> {
        let from = self.path(&format!("copy-{number}"))?;
        let to = self.path(&format!("copied-{number}"))?;
        let first = self.put(&from, "one", Condition::None).await?.tag;
        let second = self.put(&from, "two", Condition::None).await?.tag;
        let (Some(first), Some(second)) = (first, second) else {
            return Ok(false);
        };
        let copy = async |tag: &str, absent| {
            let _turn = self.wire.turn(0).await;
            done(self.wire.store().copy(&from, Some(tag), &to, absent).await)
        };
        if copy(&first, false).await? || !copy(&second, true).await? {
            return Ok(false);
        }
        self.put(&to, "mine", Condition::None).await?;
        Ok(!copy(&second, true).await? && self.holds(&to, "mine").await?)
    }

    async fn copies_in(&self, number: usize) -> Outcome<bool> {
        let store = self.wire.store();
        let Some(source) = store.copy_source().filter(|own| store.copies_from(own)) else {
            return Ok(true);
        };
        let from = self.path(&format!("from-{number}"))?;
        let to = self.path(&format!("to-{number}"))?;
        let tag = self.put(&from, "new", Condition::None).await?.tag;
        let stale = self.put(&to, "one", Condition::None).await?.tag;
        let there = self.put(&to, "two", Condition::None).await?.tag;
        let (Some(tag), Some(stale), Some(there)) = (tag, stale, there) else {
            return Ok(false);
        };
        let copy = async |condition| {
            let copy = CopyIn {
                source: &source,
                from: &from,
                tag: &tag,
                size: 3,
                to: &to,
                condition: &condition,
            };
            let _turn = self.wire.turn(0).await;
            done(store.copy_in(copy).await)
        };
        Ok(!copy(Condition::Absent).await?
            && !copy(Condition::Is(stale)).await?
            && self.holds(&to, "two").await?
            && copy(Condition::Is(there)).await?
            && self.holds(&to, "new").await?)
    }

    /// Some servers keep to conditions when a file comes in one piece, and ignore them when one is put together.
    async fn large(&self, number: usize, conditions: Conditions) -> Outcome<bool> {
        if !self.wire.store().writes_large_apart() {
            return Ok(true);
        }
        let at = self.path(&format!("large-{number}"))?;
        let write =
            async |content, condition| done(self.write(&at, content, condition, true).await);
        if conditions.create {
            let proven = write("one", Condition::Absent).await?
                && !write("two", Condition::Absent).await?
                && self.holds(&at, "one").await?;
            if !proven {
                return Ok(false);
            }
        }
        if !conditions.replace {
            return Ok(true);
        }
        let Some(first) = self.put(&at, "four", Condition::None).await?.tag else {
            return Ok(false);
        };
        Ok(write("five", Condition::Is(first.clone())).await?
            && !write("six", Condition::Is(first)).await?
            && self.holds(&at, "five").await?)
    }

    /// Many write under one condition: exactly one must succeed, and its content must be there.
    async fn race(&self, name: &str, at: &SyncPath, condition: &Condition) -> Outcome<bool> {
        // No two races write the same: a tag may be made of the content.
        let contents = (0..RACERS).map(|n| format!("{name}-{n}"));
        let contents: Vec<String> = contents.collect();
        let racers = contents
            .iter()
            .map(|content| self.racer(at, content, condition));
        let (mut winner, mut kept_out) = (None, None);
        for (content, result) in contents.iter().zip(join_all(racers).await) {
            let done = match result {
                // Kept out by another's lock: it has changed nothing.
                Err(fault) if fault.again != Again::Never && !fault.unclear => {
                    kept_out = Some(fault);
                    continue;
                }
                result => done(result)?,
            };
            if done && winner.replace(content).is_some() {
                return Ok(false);
            }
        }
        match (winner, kept_out) {
            (Some(content), _) => self.holds(at, content).await,
            (None, Some(fault)) => Err(fault),
            (None, None) => Ok(false),
        }
    }

    /// One of many. Who is kept out by another's lock has lost nothing yet: he comes again, and is refused then.
    async fn racer(&self, at: &SyncPath, content: &str, condition: &Condition) -> Outcome<Found> {
        let (mut rounds, cancel) = (Rounds::default(), CancellationToken::new());
        loop {
            match self.put(at, content, condition.clone()).await {
                Err(fault) if !fault.unclear && fault.again != Again::Never => {
                    rounds.pause(fault, &cancel).await?;
                }
                answer => return answer,
            }
        }
    }

    /// Takes all of it away; what cannot be is a leftover for a later run.
    async fn clean(&self) {
        let cancel = CancellationToken::new();
        let wire = self.wire;
        trash::clean::folder(wire, &self.folder, &cancel).await.ok();
    }
}
