//! Where the paths that name two storages led when these were synced last. A symbolic link in one of them may lead elsewhere by now. What is
//! there is another pair, as the state knows storages as they call themselves; its first run would merge the wrong folder without a word.
//!
//! This is a memory and no more: what is lost of it, or makes no sense, refuses nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wl_core::model::{ContentHash, Direction, Side, Sides};
use wl_core::state::PairState;
use wl_core::sync::{SyncError, SyncErrorClass, SyncJob, SyncOptions};

use crate::JobSpec;

/// What a path led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// What makes the storage this and no other.
    identity: String,
    /// As people know it.
    location: String,
}

/// What the memory says of where paths lead now.
#[derive(Debug)]
pub(crate) enum Leads {
    /// Where they led at the last run, which may be one that accepted it.
    AsKnown,
    /// There is nothing to compare with, or it is accepted now.
    Anew,
    /// Elsewhere, and this says so.
    Elsewhere(SyncError),
}

/// Where the paths of a job lead, and what is remembered of that.
#[derive(Debug)]
pub(crate) struct Led {
    state_dir: PathBuf,
    /// Named by the two paths as they were given: who gives other ones means other storages.
    file: PathBuf,
    /// The pair is unordered: whether the source is the second in the file.
    swapped: bool,
    now: Sides<Place>,
}

impl Led {
    /// Where the storages of a job led.
    pub(crate) fn to(spec: &JobSpec, job: &SyncJob) -> Self {
        let storages = job.storages.as_ref();
        let now = storages.map(|storage| Place {
            identity: storage.identity().to_owned(),
            location: storage.location().to_owned(),
        });
        Self::new(&job.state_dir, spec, now)
    }

    fn new(state_dir: &Path, spec: &JobSpec, now: Sides<Place>) -> Self {
        // Parameters may be secrets: only their hash is written.
        let named = spec.storages.as_ref().map(|spec| spec.as_given());
        let swapped = named.source > named.target;
        let (a, b) = match swapped {
            true => (&named.target, &named.source),
            false => (&named.source, &named.target),
        };
        let hash = ContentHash::of(format!("{a}\0{b}").as_bytes()).to_string();
        Self {
            state_dir: state_dir.to_owned(),
            file: state_dir.join(format!("led-{}.json", &hash[..24])),
            swapped,
            now,
        }
    }

    /// Refuses what leads elsewhere than at the last run, unless it is accepted.
    pub(crate) fn check(&self, options: &SyncOptions) -> Result<(), SyncError> {
        match self.leads(options) {
            Leads::Elsewhere(error) => Err(error),
            Leads::AsKnown | Leads::Anew => Ok(()),
        }
    }

    /// Whether the paths lead where they led at the last run.
    pub(crate) fn leads(&self, options: &SyncOptions) -> Leads {
        let Some(then) = self.remembered() else {
            return Leads::Anew;
        };
        match elsewhere(&then, &self.now) {
            sides if sides.is_empty() => Leads::AsKnown,
            _ if options.accept_new_filesystem => Leads::Anew,
            // Where nothing was agreed on another folder is a beginning.
            _ if !self.have_agreed(&then) => Leads::Anew,
            sides => Leads::Elsewhere(led_elsewhere(&sides, &then, &self.now, options.direction)),
        }
    }

    fn is_known(&self) -> bool {
        let then = self.remembered();
        then.is_some_and(|then| elsewhere(&then, &self.now).is_empty())
    }

    /// Remembers where they lead. A run is not given up for it.
    pub(crate) fn remember(&self) {
        if !self.is_known()
            && let Err(error) = self.write()
        {
            let file = self.file.display();
            tracing::warn!(%file, %error, "where the folders lead is not remembered");
        }
    }

    fn remembered(&self) -> Option<Sides<Place>> {
        let text = fs::read(&self.file).ok()?;
        let places = serde_json::from_slice(&text).ok()?;
        Some(self.oriented(places))
    }

    fn write(&self) -> io::Result<()> {
        let places = self.oriented(self.now.clone());
        // Always the same name: a run that was killed here leaves no more than the next one replaces.
        let new = self.file.with_extension("json.new");
        fs::write(&new, serde_json::to_vec(&places)?)?;
        fs::rename(&new, &self.file)
    }

    /// From the file's order to the job's, and back.
    fn oriented(&self, places: Sides<Place>) -> Sides<Place> {
        match self.swapped {
            true => Sides::new(places.target, places.source),
            false => places,
        }
    }

    /// What cannot be read was written by a run.
    fn have_agreed(&self, then: &Sides<Place>) -> bool {
        let identities = then.as_ref().map(|place| &*place.identity);
        let is_empty = |state: PairState| state.is_empty();
        match PairState::peek(&self.state_dir, identities) {
            Ok(None) => false,
            Ok(Some(state)) => !is_empty(state).unwrap_or(false),
            Err(_) => true,
        }
    }
}

/// The sides that lead elsewhere than they did.
fn elsewhere(then: &Sides<Place>, now: &Sides<Place>) -> Vec<Side> {
    let changed = |side: &Side| then[*side].identity != now[*side].identity;
    Side::BOTH.into_iter().filter(changed).collect()
}

fn led_elsewhere(
    sides: &[Side],
    then: &Sides<Place>,
    now: &Sides<Place>,
    direction: Direction,
) -> SyncError {
    let what = |side: &Side| {
        let (then, now) = (&then[*side].location, &now[*side].location);
        format!("the {side} led to {then} at the last run and leads to {now} now")
    };
    let what: Vec<_> = sides.iter().map(what).collect();
    let first = match direction {
        Direction::TwoWay => "each gets what only the other has",
        Direction::OneWay => "the target gets what only the source has",
        Direction::Mirror => {
            "the mirror removes what the source lacks, as far as --max-delete allows"
        }
    };
    SyncError::new(
        SyncErrorClass::RootChanged,
        format!(
            "{} (a symbolic link?): nothing was changed; put back what was there, or, if this is meant, sync once with --accept-new-filesystem: \
             it is another pair of storages, and where the two were never synced {first}",
            what.join(", ")
        ),
    )
}
