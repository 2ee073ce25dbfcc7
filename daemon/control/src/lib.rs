//! The wire between `wl` and its daemon: JSON messages over a Unix socket, each followed by an empty line.
//!
//! `docs/protocol.md` has the protocol for people, `schemas/sync-commands.json` what the commands take.

mod client;
mod frame;
mod message;
mod status;

pub use client::{Client, ClientError};
pub use frame::{Frame, Frames, MOST_BYTES, framed};
pub use message::{
    COMMANDS, Class, Event, EventKind, Message, PROTOCOL, Refusal, Request, State, Version,
};
pub use status::{
    FilterStatus, JobStatus, MOST_LISTED, PendingStatus, ProgressStatus, StorageStatus, Totals,
};
