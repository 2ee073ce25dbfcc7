//! What goes on beside a look: whoever follows the run hears how it stands, however long the look waits for a storage.

use std::future::Future;

use wl_core::sync::SyncJob;

use super::silence::{Questions, attend};
use super::telling::Telling;

/// What is needed beside a look.
pub(super) struct Beside<'a> {
    pub(super) job: &'a SyncJob,
    pub(super) questions: &'a mut Questions,
    pub(super) telling: &'a mut Telling,
}

impl Beside<'_> {
    /// Does `work`, a look, and tells when it does not get on.
    pub(super) async fn attend<T>(self, work: impl Future<Output = T>) -> T {
        let (done, silent) = attend(self.job, self.questions, work).await;
        // One that is told to stop has not seen all that it would have.
        if silent && !self.job.cancel.is_cancelled() {
            // It got on after all, whether or not it found anything. What is to be looked at comes first.
            self.telling.owe_again();
        }
        done
    }
}
