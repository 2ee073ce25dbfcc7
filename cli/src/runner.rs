//! What happens around a run: the progress line, and Ctrl-C.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use wl_daemon::sync::Progress;

use crate::output::{Output, progress};

/// Does `work` while a progress line shows how far it is. The first Ctrl-C (or SIGTERM) asks it to end cleanly, the second ends
/// the process.
pub async fn attended<T>(
    output: &Output,
    work: impl AsyncFnOnce(Arc<Progress>, CancellationToken) -> T,
) -> T {
    let progress = Arc::new(Progress::default());
    let (cancel, done) = (CancellationToken::new(), CancellationToken::new());
    let line = output
        .shows_progress()
        .then(|| tokio::spawn(progress::draw(progress.clone(), done.clone())));
    let signals = tokio::spawn(watch_signals(*output, cancel.clone()));
    let result = work(progress, cancel).await;
    signals.abort();
    done.cancel();
    if let Some(line) = line {
        // It only draws: if it died, nothing is lost.
        let _ = line.await;
    }
    result
}

/// Does `work` until the first Ctrl-C (or SIGTERM); the second ends the process.
pub async fn until_stopped<T>(
    output: &Output,
    work: impl AsyncFnOnce(CancellationToken) -> T,
) -> T {
    let cancel = CancellationToken::new();
    let signals = tokio::spawn(watch_signals(*output, cancel.clone()));
    let result = work(cancel).await;
    signals.abort();
    result
}

async fn watch_signals(output: Output, cancel: CancellationToken) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return;
    };
    for signals in 0.. {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if signals > 0 {
            // What was staged is tidied up by the next run.
            std::process::exit(130);
        }
        cancel.cancel();
        output.talk("Stopping; what is done stays done. Press Ctrl-C again to end at once.");
    }
}
