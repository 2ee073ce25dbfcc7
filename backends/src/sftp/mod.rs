//! SFTP, spoken to an `ssh` program that we start ourselves: so ssh's configuration, agent and known hosts apply.
//!
//! | room | what is in it |
//! |---|---|
//! | `factory` | the registered type |
//! | `address` | what `url` says |
//! | `dial` | starts `ssh`, and says why it failed |
//! | `packet` | the packets of SFTP version 3 |
//! | `connection` | many requests on their way at once |
//! | `client` | single requests on paths |
//! | `site` | one root on one server; connects again when the connection has broken |
//! | `store` | the seam of remote stores |
//! | `list`, `read`, `write`, `change` | its operations |
//!
//! What the protocol cannot do: open without following a link (it is looked at first), tell one file from another of the same size and
//! second, make a folder's entries durable, or keep out somebody who swaps a folder for a link while we work below it.

use std::time::Duration;

mod address;
mod change;
mod client;
mod connection;
mod dial;
mod factory;
mod list;
mod packet;
mod read;
mod site;
mod store;
mod write;

#[cfg(test)]
mod tests;

/// How long a connection may take to come up.
const CONNECTING: Duration = Duration::from_secs(30);
/// How long a program that failed may take to say why.
const PATIENCE: Duration = Duration::from_secs(2);
