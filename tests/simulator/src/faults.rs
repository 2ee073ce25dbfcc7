//! What storages do to whoever relies on them.

use std::collections::BTreeMap;

use wl_core::storage::{ErrorKind, Result, StorageError};
use wl_core::testing::{Call, Operation};

/// A fault that waits for its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A request fails, and is not done.
    Fails(ErrorKind),
    /// A request is done, and its reply is lost.
    ReplyLost(ErrorKind),
    /// A listing breaks off after so many rows.
    ListingBreaks(usize),
    /// The disk is full for so many requests that need space.
    Full(u32),
    /// The storage is gone for so many requests.
    Gone(u32),
}

impl Fault {
    /// What its kind is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fails(ErrorKind::Temporary) => "temporary error",
            Self::Fails(_) => "permanent error",
            Self::ReplyLost(_) => "reply lost",
            Self::ListingBreaks(_) => "listing breaks off",
            Self::Full(_) => "full disk",
            Self::Gone(_) => "storage gone",
        }
    }
}

/// How often each kind of fault fired.
pub type Fired = BTreeMap<&'static str, u64>;

/// Whether a request changes what people see.
pub(crate) fn changes(operation: Operation) -> bool {
    use Operation as O;
    matches!(
        operation,
        O::Replace | O::Remove | O::Rename | O::MakeFolder | O::SetMode | O::TrashRestore
    )
}

fn stages(operation: Operation) -> bool {
    use Operation as O;
    matches!(
        operation,
        O::Stage | O::StageLarge | O::WriterWrite | O::WriterFinish
    )
}

fn planned(kind: ErrorKind) -> StorageError {
    StorageError::new(kind, "planned fault", "this request was planned to fail")
}

/// The faults of one storage that wait or go on.
#[derive(Debug, Default)]
pub(crate) struct Armed {
    waiting: Vec<Fault>,
}

impl Armed {
    pub fn arm(&mut self, fault: Fault) {
        self.waiting.push(fault);
    }

    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Before a request is done.
    pub fn before(&mut self, call: &Call, fired: &mut Fired) -> Result<()> {
        let mut error = None;
        self.waiting.retain_mut(|fault| {
            let kind = match fault {
                _ if error.is_some() => return true,
                Fault::Fails(kind) => *kind,
                Fault::Full(left) if stages(call.operation) => {
                    *left = left.saturating_sub(1);
                    ErrorKind::Full
                }
                Fault::Gone(left) => {
                    *left = left.saturating_sub(1);
                    ErrorKind::Unavailable
                }
                _ => return true,
            };
            *fired.entry(fault.name()).or_default() += 1;
            error = Some(planned(kind));
            matches!(fault, Fault::Full(1..) | Fault::Gone(1..))
        });
        error.map_or(Ok(()), Err)
    }

    /// After a request was done.
    pub fn after(&mut self, call: &Call, fired: &mut Fired) -> Result<()> {
        // What only looks loses nothing by a lost reply: let the fault wait for more.
        let counts = changes(call.operation)
            || stages(call.operation)
            || matches!(
                call.operation,
                Operation::Begin | Operation::Flush | Operation::Finish
            );
        let lost = |fault: &Fault| matches!(fault, Fault::ReplyLost(_));
        match self.waiting.iter().position(lost) {
            Some(at) if counts => {
                let fault = self.waiting.remove(at);
                *fired.entry(fault.name()).or_default() += 1;
                match fault {
                    Fault::ReplyLost(kind) => Err(planned(kind)),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// How many of the next `rows` rows arrive before the listing breaks off.
    pub fn cut(&mut self, rows: usize, fired: &mut Fired) -> Option<(usize, StorageError)> {
        let at = self
            .waiting
            .iter()
            .position(|fault| matches!(fault, Fault::ListingBreaks(_)))?;
        let Fault::ListingBreaks(kept) = self.waiting[at] else {
            return None;
        };
        if kept > rows {
            return None;
        }
        *fired.entry(self.waiting.remove(at).name()).or_default() += 1;
        Some((kept, planned(ErrorKind::Temporary)))
    }
}
