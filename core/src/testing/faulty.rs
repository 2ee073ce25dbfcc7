//! Faults by plan: the same plan fails the same calls.

use std::sync::{Arc, Mutex};

use super::observed::observe;
use super::observer::{Call, Observer};
use crate::storage::{ErrorKind, Result, StorageBackend, StorageError};

/// When a planned fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The call is not done.
    Before,
    /// The call is done, and its reply is lost. Does not fire if the call fails by itself.
    After,
}

/// A planned fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Fails call number `number`, counted from 1.
    Call {
        /// Which.
        number: u64,
        /// With this kind.
        kind: ErrorKind,
        /// Before or after it is done.
        when: When,
    },
    /// Breaks off listing number `listing` (from 1) after so many rows. Fires only if the listing has more rows, or its end
    /// mark, behind them.
    CutListing {
        /// Which.
        listing: u64,
        /// The rows that arrive.
        rows: usize,
        /// With this kind.
        kind: ErrorKind,
    },
}

/// A plan of faults, and what became of it. Every request of a call with many counts as a call.
///
/// To fail each call of a run in turn: run once with an empty plan, take [`Faults::calls`], and run again for each number.
#[derive(Debug)]
pub struct Faults(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    plan: Vec<(Fault, bool)>,
    calls: u64,
    /// The number that each call in flight has; results arrive in another order than calls.
    in_flight: Vec<(Call, u64)>,
    rows: std::collections::BTreeMap<u64, usize>,
}

impl Faults {
    /// A plan of these faults.
    pub fn new(plan: impl IntoIterator<Item = Fault>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Inner {
            plan: plan.into_iter().map(|fault| (fault, false)).collect(),
            calls: 0,
            in_flight: Vec::new(),
            rows: std::collections::BTreeMap::new(),
        })))
    }

    /// `inner`, failing as planned. Storages under one plan share its count.
    pub fn over(self: &Arc<Self>, inner: Arc<dyn StorageBackend>) -> Arc<dyn StorageBackend> {
        observe(inner, Arc::clone(self) as _)
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.0.lock().unwrap().calls
    }

    /// The planned faults that did not fire.
    pub fn unfired(&self) -> Vec<Fault> {
        let inner = self.0.lock().unwrap();
        let waiting = inner.plan.iter().filter(|(_, fired)| !fired);
        waiting.map(|(fault, _)| *fault).collect()
    }

    /// Panics if a planned fault did not fire.
    pub fn assert_all_fired(&self) {
        let (unfired, calls) = (self.unfired(), self.calls());
        assert!(
            unfired.is_empty(),
            "planned faults did not fire in {calls} calls: {unfired:?}"
        );
    }
}

fn planned(kind: ErrorKind) -> StorageError {
    StorageError::new(kind, "planned fault", "this call was planned to fail")
}

impl Inner {
    fn strike(&mut self, call: u64, moment: When) -> Result<()> {
        for (fault, fired) in &mut self.plan {
            if let Fault::Call { number, kind, when } = *fault
                && (number, when) == (call, moment)
            {
                *fired = true;
                return Err(planned(kind));
            }
        }
        Ok(())
    }

    /// Forgets the call and tells its number.
    fn land(&mut self, call: &Call) -> Option<u64> {
        let same = |(other, _): &(Call, u64)| {
            (other.operation, other.session, &other.path)
                == (call.operation, call.session, &call.path)
        };
        let at = self.in_flight.iter().rposition(same)?;
        Some(self.in_flight.remove(at).1)
    }
}

impl Observer for Faults {
    fn before(&self, call: &Call) -> Result<()> {
        let mut inner = self.0.lock().unwrap();
        inner.calls += 1;
        let number = inner.calls;
        inner.strike(number, When::Before)?;
        // A call that failed by itself is never landed; the next one like it takes its place.
        inner.land(call);
        inner.in_flight.push((call.clone(), number));
        Ok(())
    }

    fn after(&self, call: &Call) -> Result<()> {
        let mut inner = self.0.lock().unwrap();
        match inner.land(call) {
            Some(number) => inner.strike(number, When::After),
            None => Ok(()),
        }
    }

    fn cut(&self, listing: u64, count: usize) -> Option<(usize, StorageError)> {
        let mut inner = self.0.lock().unwrap();
        let seen = *inner.rows.entry(listing).or_default();
        inner.rows.insert(listing, seen + count);
        for (fault, fired) in &mut inner.plan {
            if let Fault::CutListing {
                listing: number,
                rows,
                kind,
            } = *fault
                && number == listing
                && !*fired
                && (rows < seen + count || count == 0)
            {
                *fired = true;
                return Some((rows.saturating_sub(seen), planned(kind)));
            }
        }
        None
    }
}
