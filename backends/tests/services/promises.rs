//! Every promise of the contract, each in a root of its own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream;
use wl_core::storage::StorageBackend;
use wl_core::testing::conformance::{Editor, Harness, PROMISES, Promise};

use crate::part;
use crate::servers::Server;

/// So many promises are tried at once: most of the time is spent waiting for times to age.
const AT_ONCE: usize = 6;

/// Two connections and an editor.
struct Lab {
    first: Arc<dyn StorageBackend>,
    second: Arc<dyn StorageBackend>,
    editor: Arc<dyn Editor>,
    settles: Duration,
}

#[async_trait]
impl Harness for Lab {
    fn backend(&self) -> Arc<dyn StorageBackend> {
        Arc::clone(&self.first)
    }

    fn second(&self) -> Arc<dyn StorageBackend> {
        Arc::clone(&self.second)
    }

    fn editor(&self) -> Arc<dyn Editor> {
        Arc::clone(&self.editor)
    }

    async fn settle(&self) {
        // The only way for a time to age is that time passes.
        tokio::time::sleep(self.settles).await;
    }
}

async fn tried(server: Arc<Server>, promise: Promise) -> (&'static str, Result<(), String>) {
    let work = async move {
        let place = server.place(promise.name);
        let lab = Lab {
            first: server.connect(&place).await,
            second: server.connect(&place).await,
            editor: Arc::clone(&place.editor),
            settles: server.settles,
        };
        (promise.run)(&lab).await;
    };
    (promise.name, part(Duration::from_secs(600), work).await)
}

/// How many were kept, and what was broken.
pub async fn all(server: &Arc<Server>) -> (String, Vec<String>) {
    let only = std::env::var("WL_SERVICES_PROMISE").unwrap_or_default();
    let chosen = PROMISES
        .iter()
        .filter(|promise| promise.name.contains(&only));
    let tries = chosen.map(|promise| tried(Arc::clone(server), *promise));
    let results: Vec<_> = stream::iter(tries)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let (mut kept, mut excused, mut failures) = (0, Vec::new(), Vec::new());
    for (name, result) in results {
        let known = server.known.iter().find(|(known, _)| *known == name);
        match (result, known) {
            (Ok(()), None) => kept += 1,
            (Err(_), Some((name, why))) => excused.push(format!("{name}: {why}")),
            (Err(error), None) => failures.push(format!("{name}: {error}")),
            (Ok(()), Some(_)) => {
                failures.push(format!("{name}: is kept now, so excuse it no more"))
            }
        }
    }
    let mut told = format!("{kept} of {}", PROMISES.len());
    if !excused.is_empty() {
        told += &format!(" (not here: {})", excused.join("; "));
    }
    (told, failures)
}
