//! Servers that people have, one after the other: the contract, races, and whole runs of `wl`.
//!
//! `cargo xtask test-services` runs them and says which are missing; `cargo test` does not. `WL_BIN` names the `wl` to run.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stdout, reason = "xtask reads the result")]
#![cfg(all(
    unix,
    feature = "s3",
    feature = "azblob",
    feature = "gcs",
    feature = "ftp",
    feature = "sftp",
    feature = "webdav"
))]

mod editors;
mod promises;
mod races;
mod runs;
mod servers;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wl_core::storage::CasGrade;

use servers::{Server, Started};

/// Runs a part of the suite; a panic in it is a failure of that part and no more.
async fn part<T: Send + 'static>(
    limit: Duration,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, String> {
    let task = tokio::spawn(work);
    let stop = task.abort_handle();
    match tokio::time::timeout(limit, task).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => match error.try_into_panic() {
            Ok(panic) => Err(words(&*panic)),
            Err(error) => Err(error.to_string()),
        },
        Err(_) => {
            stop.abort();
            Err(format!("not done after {} s", limit.as_secs()))
        }
    }
}

/// What a panic says.
fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

fn grade_of(grade: CasGrade) -> String {
    format!("{grade:?}").to_lowercase()
}

/// Everything on one server. Prints one line for `xtask`, and panics if anything went wrong.
fn test(start: fn() -> Started) {
    let begun = Instant::now();
    let server = start().unwrap_or_else(|error| panic!("the server does not start: {error}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    let server = std::sync::Arc::new(server);
    let (mut result, failures) = runtime.block_on(all(&server));
    result["seconds"] = json!(begun.elapsed().as_secs());
    result["failures"] = json!(failures);
    println!("\nRESULT {result}");
    runtime.shutdown_timeout(Duration::from_secs(5));
    let name = server.name;
    assert!(failures.is_empty(), "{name}:\n{}", failures.join("\n"));
}

async fn all(server: &std::sync::Arc<Server>) -> (Value, Vec<String>) {
    let mut failures = Vec::new();
    let only = std::env::var("WL_SERVICES_PARTS").unwrap_or_else(|_| "promises,races,runs".into());
    let wanted = |name: &str| only.split(',').any(|part| part == name);
    let mut result = json!({"server": server.name, "type": server.type_name});
    let graded = std::sync::Arc::clone(server);
    match part(
        Duration::from_secs(120),
        async move { graded.grade().await },
    )
    .await
    {
        Ok(grade) => {
            result["grade"] = json!(grade_of(grade));
            if grade != server.grade {
                let (wanted, got) = (grade_of(server.grade), grade_of(grade));
                failures.push(format!("grade: {wanted} is expected, {got} was found"));
            }
        }
        Err(error) => {
            failures.push(format!("grade: {error}"));
            return (result, failures);
        }
    }
    if wanted("promises") {
        let (told, failed) = promises::all(server).await;
        result["promises"] = json!(told);
        failures.extend(failed);
    }
    if wanted("races") {
        let racing = std::sync::Arc::clone(server);
        match part(Duration::from_secs(600), async move {
            races::all(&racing).await
        })
        .await
        {
            Ok(told) => result["races"] = json!(told),
            Err(error) => failures.push(format!("races: {error}")),
        }
    }
    if wanted("runs") {
        let running = std::sync::Arc::clone(server);
        match part(Duration::from_secs(900), async move {
            runs::all(&running).await
        })
        .await
        {
            Ok(told) => result["runs"] = json!(told),
            Err(error) => failures.push(format!("runs: {error}")),
        }
    }
    (result, failures)
}

macro_rules! servers {
    ($($name:ident)*) => {$(
        #[test]
        #[ignore = "run by `cargo xtask test-services`"]
        fn $name() {
            test(servers::$name);
        }
    )*};
}

servers! { seaweedfs rclone_s3 azurite fake_gcs openssh apache rclone_webdav vsftpd }
