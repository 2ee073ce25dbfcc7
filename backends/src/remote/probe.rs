//! What a server really does with conditions: tried once, remembered, never assumed.
//!
//! Some servers take a condition, answer that all went well, and have ignored it; some look and then write. So each condition is
//! tried with a version that is there, with one that is not, and by many at once, and what is there is read after every step.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use wl_core::model::{ContentHash, SyncPath};
use wl_core::plugin::ConnectContext;
use wl_core::storage::{CONNECT, ErrorKind, Result, StorageError};

use super::order::Order;
use super::session::{Rounds, make_above, own_path};
use super::store::{Again, Attributes, Condition, Conditions, CopyIn, Fault, Found, Outcome, Put};
use super::token::now;
use super::wire::Wire;
use super::{servers, trash};

mod order;

/// So many try to create or replace one file at the same time. Servers were seen that let each loser wait for a second.
const RACERS: usize = 2;
/// So many files are raced for, all at once.
const RACES: usize = 8;
/// So often, and with such pauses, a tag is looked for: there are servers whose tags prove nothing before two seconds are over.
const TAG_LOOKS: usize = 14;
const TAG_PAUSE: Duration = Duration::from_millis(250);

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
    /// Content is compared with its SHA-256, which is kept and told.
    pub(super) verifies: bool,
    /// In which order flat keys are listed.
    pub(super) order: Order,
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
            verifies: false,
            order: Order::Unknown,
        });
    }
    let nothing_to_try = facts.conditions == Conditions::default() && !facts.flat;
    if nothing_to_try || !facts.writable {
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
pub(super) struct Probe<'a> {
    wire: &'a Wire,
    folder: SyncPath,
    /// A tag was waited for in vain: there are none.
    tagless: AtomicBool,
}

async fn probe(wire: &Wire) -> Result<Proven> {
    let probe = Probe::new(wire)?;
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

fn unusable(error: &impl std::fmt::Display) -> Fault {
    StorageError::new(ErrorKind::Other, "try out", error.to_string()).into()
}

/// Whether all races were kept to the condition.
fn all_kept(races: Vec<Outcome<bool>>) -> Outcome<bool> {
    races
        .into_iter()
        .try_fold(true, |all, kept| Ok(all && kept?))
}

impl<'a> Probe<'a> {
    pub(super) fn new(wire: &'a Wire) -> Result<Self> {
        let random = RandomState::new();
        let id = format!("{:016x}{:016x}", random.hash_one(1), random.hash_one(2));
        let folder = own_path(&format!("probe/{id}"))?;
        Ok(Self {
            wire,
            folder,
            tagless: AtomicBool::new(false),
        })
    }
}

impl Probe<'_> {
    async fn all(&self) -> Outcome<Proven> {
        let offered = self.wire.facts().conditions;
        self.make_folder().await?;
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
        let order = match self.wire.facts().flat {
            true => self.again(|n| self.order(n)).await?,
            false => Order::Unknown,
        };
        let copies = self.wire.facts().copies && offered != Conditions::default();
        let copy = copies && self.again(|n| self.copies(n)).await?;
        let copy_in = copy && self.again(|n| self.copies_in(n)).await?;
        let writes = conditions.create || conditions.replace;
        let large = writes && self.again(|n| self.large(n, conditions)).await?;
        let verifies = self.wire.store().verifies() && self.again(|n| self.verifies(n)).await?;
        Ok(Proven {
            conditions,
            copy,
            copy_in,
            large,
            verifies,
            order,
        })
    }

    pub(super) async fn make_folder(&self) -> Outcome<()> {
        if self.wire.facts().flat {
            return Ok(());
        }
        let mut made = std::collections::HashSet::new();
        let inside = self.path("x")?;
        make_above(self.wire, &mut made, &inside, &CancellationToken::new()).await
    }

    /// Tries something out under new names until no temporary trouble comes in between.
    async fn again<T, F: Future<Output = Outcome<T>>>(
        &self,
        attempt: impl Fn(usize) -> F,
    ) -> Outcome<T> {
        let (mut rounds, cancel) = (Rounds::default(), CancellationToken::new());
        let mut number = 0;
        loop {
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
            number += 1;
        }
    }

    pub(super) fn path(&self, name: &str) -> Outcome<SyncPath> {
        let path = self.folder.join(name);
        path.map_err(|error| unusable(&error))
    }

    pub(super) async fn put(
        &self,
        at: &SyncPath,
        content: &str,
        condition: Condition,
    ) -> Outcome<Found> {
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
        self.send(at, content, attributes, condition, large).await
    }

    async fn send(
        &self,
        at: &SyncPath,
        content: &str,
        attributes: Attributes,
        condition: Condition,
        large: bool,
    ) -> Outcome<Found> {
        let scratch = self.path(&format!("{}.{content}.new", at.name()))?;
        let put = Put {
            path: at,
            content: Bytes::copy_from_slice(content.as_bytes()),
            attributes: &attributes,
            condition: &condition,
            seen: None,
            scratch: &scratch,
        };
        let _turn = self.wire.turn(content.len() as u64).await;
        match large {
            true => self.wire.store().put_as_large(put).await,
            false => self.wire.store().put(put).await,
        }
    }

    /// Writes without a condition and tells the tag of what is there now.
    async fn tagged(&self, at: &SyncPath, content: &str) -> Outcome<Option<Box<str>>> {
        let found = self.put(at, content, Condition::None).await?;
        self.tag(at, found).await
    }

    /// The tag of what was found, as soon as it has one.
    async fn tag(&self, at: &SyncPath, found: Found) -> Outcome<Option<Box<str>>> {
        let mut found = Some(found);
        for _ in 0..TAG_LOOKS {
            match found {
                Some(Found { tag: None, .. }) => {}
                other => return Ok(other.and_then(|found| found.tag)),
            }
            if self.tagless.load(Ordering::Relaxed) {
                return Ok(None);
            }
            tokio::time::sleep(TAG_PAUSE).await;
            let _turn = self.wire.turn(0).await;
            found = self.wire.store().stat(at).await?;
        }
        self.tagless.store(true, Ordering::Relaxed);
        Ok(None)
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
        let Some(first) = self.tagged(&at, "one").await? else {
            return Ok(false);
        };
        let second = match self.put(&at, "two", Condition::Is(first.clone())).await {
            Ok(found) => self.tag(&at, found).await?,
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
            match self.tagged(&at, &name).await? {
                Some(tag) => self.race(&name, &at, &Condition::Is(tag)).await,
                None => Ok(false),
            }
        });
        all_kept(join_all(races).await)
    }

    async fn removes(&self, number: usize) -> Outcome<bool> {
        let at = self.path(&format!("remove-{number}"))?;
        let first = self.tagged(&at, "one").await?;
        let second = self.tagged(&at, "two").await?;
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
        let first = self.tagged(&from, "one").await?;
        let second = self.tagged(&from, "two").await?;
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
        let tag = self.tagged(&from, "new").await?;
        let stale = self.tagged(&to, "one").await?;
        let there = self.tagged(&to, "two").await?;
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
        let Some(first) = self.tagged(&at, "four").await? else {
            return Ok(false);
        };
        Ok(write("five", Condition::Is(first.clone())).await?
            && !write("six", Condition::Is(first)).await?
            && self.holds(&at, "five").await?)
    }

    /// A hash is believed only from a server that compares: it refuses content with another hash, tells the hash of what it took, and
    /// does not tell it of what came later.
    async fn verifies(&self, number: usize) -> Outcome<bool> {
        let at = self.path(&format!("verified-{number}"))?;
        let right = ContentHash::of(b"right");
        let put = async |hash, content| {
            let attributes = Attributes {
                hash: Some(hash),
                verify: true,
                operation: format!("probe-{content}").into(),
                ..Attributes::default()
            };
            let put = self.send(&at, content, attributes, Condition::None, false);
            match put.await {
                Ok(found) => Ok(Some(found)),
                // Servers have many words for it.
                Err(fault) if fault.again == Again::Never && !fault.unclear => Ok(None),
                Err(fault) => Err(fault),
            }
        };
        let told = async |found: Option<Found>| match found.and_then(|found| found.tag) {
            Some(tag) => self.verified(&at, &tag).await,
            None => Ok(None),
        };
        let refused = put(right, "wrong").await?.is_none() && !self.holds(&at, "wrong").await?;
        if !refused || told(put(right, "right").await?).await? != Some(right) {
            return Ok(false);
        }
        let later = self.put(&at, "later", Condition::None).await?;
        Ok(told(Some(later)).await? != Some(right) && put(right, "wrong").await?.is_none())
    }

    async fn verified(&self, at: &SyncPath, tag: &str) -> Outcome<Option<ContentHash>> {
        let _turn = self.wire.turn(0).await;
        self.wire.store().verified_hash(at, tag).await
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
    pub(super) async fn clean(&self) {
        let cancel = CancellationToken::new();
        let wire = self.wire;
        trash::clean::folder(wire, &self.folder, &cancel).await.ok();
    }
}
