//! A look that does not get on: a storage may accept what it is asked and never answer. The look is let alone (what it waits for has its own
//! limits), but what was known before it began is not taken for known any more.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use wl_core::filter::IGNORE_FILE;
use wl_core::model::{Sides, SyncPath};
use wl_core::storage::StorageBackend;
use wl_core::sync::{News, SyncJob};

/// A look that has not got on for so long is asked about, and then again and again.
const SILENT: Duration = Duration::from_secs(30);
/// A storage that is asked something small has so long to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// What the storages were asked, to see whether they are there. Where one hangs, a question may hold a thread of this process until it comes
/// back, whether or not anybody waits for it still: no other one is asked meanwhile, by this look or the next.
#[derive(Debug, Default)]
pub(super) struct Questions(Sides<Question>);

/// One that is under way, or whose answer nobody has looked at.
#[derive(Debug, Default)]
struct Question(Option<JoinHandle<()>>);

impl Drop for Question {
    fn drop(&mut self) {
        if let Some(asking) = &self.0 {
            asking.abort();
        }
    }
}

impl Question {
    /// Whether `storage` does not answer in time. An error is an answer.
    async fn is_left_open(&mut self, storage: &Arc<dyn StorageBackend>) -> bool {
        // What came back when nobody waited any more says nothing of this moment.
        self.0.take_if(|asking| asking.is_finished());
        let asking = self.0.get_or_insert_with(|| {
            let storage = Arc::clone(storage);
            tokio::spawn(async move {
                if let Ok(path) = SyncPath::new(IGNORE_FILE) {
                    let _ = storage.file_token(&path).await;
                }
            })
        });
        let is_open = timeout(ANSWER, asking).await.is_err();
        if !is_open {
            self.0 = None;
        }
        is_open
    }
}

/// Does `work`, a look, and tells when it does not get on. Returns whether that was told: then it has to be told how the look ended.
pub(super) async fn attend<T>(
    job: &SyncJob,
    questions: &mut Questions,
    work: impl Future<Output = T>,
) -> (T, bool) {
    let mut told = false;
    let done = tokio::select! {
        biased;
        done = work => done,
        () = watch(job, questions, &mut told) => std::future::pending().await,
    };
    (done, told)
}

async fn watch(job: &SyncJob, questions: &mut Questions, told: &mut bool) {
    let (mut seen, mut since, mut silent) = (job.progress.view(), Instant::now(), false);
    loop {
        sleep(SILENT).await;
        let now = job.progress.view();
        if now != seen {
            (seen, since) = (now, Instant::now());
            if std::mem::take(&mut silent) {
                job.news.tell(News::Silent(None)).await;
            }
            continue;
        }
        let who = unanswering(job, questions).await;
        if job.progress.view() == seen {
            (silent, *told) = (true, true);
            let seconds = since.elapsed().as_secs();
            let what = match who.is_empty() {
                true => {
                    format!("the look has not got on for {seconds} s, though both storages answer")
                }
                false => format!("{} has not answered for {seconds} s", who.join(" nor ")),
            };
            job.news.tell(News::Silent(Some(what))).await;
        }
    }
}

/// Where the storages are that do not answer in time.
async fn unanswering<'a>(job: &'a SyncJob, questions: &mut Questions) -> Vec<&'a str> {
    let Sides { source, target } = &job.storages;
    let (no_source, no_target) = tokio::join!(
        questions.0.source.is_left_open(source),
        questions.0.target.is_left_open(target)
    );
    let source = no_source.then(|| source.location());
    let target = no_target.then(|| target.location());
    source.into_iter().chain(target).collect()
}
