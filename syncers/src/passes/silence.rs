//! A look that does not get on: a storage may accept what it is asked and never answer. The look is let alone (what it waits for has its own
//! limits), but what was known before it began is not taken for known any more.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use wl_core::filter::IGNORE_FILE;
use wl_core::model::{Side, SyncPath};
use wl_core::sync::{News, SyncJob};

/// A look that has not got on for so long is asked about, and then again and again.
const SILENT: Duration = Duration::from_secs(30);
/// A storage that is asked something small has so long to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Does `work`, a look, and tells when it does not get on. Returns whether that was told: then it has to be told how the look ended.
pub(super) async fn attend<T>(job: &SyncJob, work: impl Future<Output = T>) -> (T, bool) {
    let mut told = false;
    let done = tokio::select! {
        biased;
        done = work => done,
        () = watch(job, &mut told) => std::future::pending().await,
    };
    (done, told)
}

async fn watch(job: &SyncJob, told: &mut bool) {
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
        let who = unanswering(job).await;
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

/// Where the storages are that do not answer in time. An error is an answer.
async fn unanswering(job: &SyncJob) -> Vec<&str> {
    let Ok(path) = SyncPath::new(IGNORE_FILE) else {
        return Vec::new();
    };
    let ask = async |side: Side| {
        let storage = &job.storages[side];
        let answer = timeout(ANSWER, storage.file_token(&path)).await;
        answer.is_err().then(|| storage.location())
    };
    let (source, target) = tokio::join!(ask(Side::Source), ask(Side::Target));
    source.into_iter().chain(target).collect()
}
