//! Counts what a storage was asked to do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::observed::observe;
use super::observer::{Call, Observer, Operation};
use crate::model::SyncPath;
use crate::storage::{Result, StorageBackend};

/// A record of all requests, in the order in which they came.
#[derive(Debug, Default)]
pub struct Recording {
    requests: Mutex<Vec<(Operation, Option<SyncPath>)>>,
    calls: Mutex<BTreeMap<Operation, u64>>,
}

impl Recording {
    /// An empty record.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// `inner`, with what it is asked recorded here.
    pub fn over(self: &Arc<Self>, inner: Arc<dyn StorageBackend>) -> Arc<dyn StorageBackend> {
        observe(inner, Arc::clone(self) as _)
    }

    /// How many requests there were; a call with many requests counts each.
    pub fn requests(&self, operation: Operation) -> usize {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|(op, _)| *op == operation).count()
    }

    /// How many calls there were; a call with many requests counts once.
    pub fn calls(&self, operation: Operation) -> u64 {
        let calls = self.calls.lock().unwrap();
        calls.get(&operation).copied().unwrap_or_default()
    }

    /// The paths of these requests, in the order in which they came.
    pub fn paths(&self, operation: Operation) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        let wanted = requests.iter().filter(|(op, _)| *op == operation);
        wanted
            .map(|(_, path)| path.as_ref().map_or("", SyncPath::as_str).to_owned())
            .collect()
    }

    /// All requests that change what is published, with their paths: what a run that finds nothing to do must not have.
    pub fn changes(&self) -> Vec<(Operation, String)> {
        use Operation as O;
        let changing = [
            O::Replace,
            O::Remove,
            O::Rename,
            O::MakeFolder,
            O::SetMode,
            O::TrashRestore,
            O::TrashEmpty,
        ];
        let requests = self.requests.lock().unwrap();
        let found = requests.iter().filter(|(op, _)| changing.contains(op));
        found
            .map(|(op, path)| {
                let path = path.as_ref().map_or("", SyncPath::as_str);
                (*op, path.to_owned())
            })
            .collect()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.requests.lock().unwrap().clear();
        self.calls.lock().unwrap().clear();
    }
}

impl Observer for Recording {
    fn enter(
        &self,
        _: Option<u64>,
        operation: Operation,
        _: &[&SyncPath],
    ) -> Option<Box<dyn Send>> {
        *self.calls.lock().unwrap().entry(operation).or_default() += 1;
        None
    }

    fn before(&self, call: &Call) -> Result<()> {
        let request = (call.operation, call.path.clone());
        self.requests.lock().unwrap().push(request);
        Ok(())
    }
}
