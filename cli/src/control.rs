//! Speaks to the daemon of the base directory, and starts it where a command needs it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use wl_control::{Client, ClientError, PROTOCOL, Version};
use wl_daemon::Holder;

use crate::commands::{Context, Options};
use crate::error::{CliError, CliResult};

/// What a daemon that was started says on stdout as soon as it listens.
pub const READY: &str = "ready";

/// How often a daemon that somebody else starts at this moment is looked for.
const LOOKS: u32 = 50;

/// How often it is looked whether one that dies at this moment is gone: for some seconds.
const FAREWELL_LOOKS: u32 = 250;

const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// So long a daemon may take to say which version it is; it answers that by itself, whatever its jobs do.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program's version; daemon and command must have the same.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The daemon, if there is one.
pub async fn connect(context: &Context<'_>) -> CliResult<Option<Client>> {
    let socket = context.socket()?;
    for _ in 0..FAREWELL_LOOKS {
        match within(PATIENCE, greet(&socket)).await {
            None => break,
            Some(Ok(client)) => return Ok(Some(client)),
            Some(Err(CliError::Control(ClientError::NoDaemon(_)))) => return Ok(None),
            // One that was killed still accepts, and hangs up, until the system has taken its socket away.
            Some(Err(CliError::Control(error))) if error.is_hung_up() || error.is_crowded() => {
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
            Some(Err(error)) => return Err(error),
        }
    }
    Err(silent(context))
}

/// The daemon, if there is one; an error if one runs that listens elsewhere, and so cannot be spoken to.
pub async fn connect_or_tell(context: &Context<'_>) -> CliResult<Option<Client>> {
    let client = connect(context).await?;
    if client.is_none()
        && let Some(holder) = holder(context).await?
    {
        return Err(CliError::NoDaemon(match holder {
            Holder::Daemon(process) => format!(
                "a daemon runs (process {process}) and does not listen on {}; give the --socket-path that it was started with, or end it with `kill {process}`, which is safe",
                context.socket()?.display()
            ),
            Holder::Stranger(why) => why.to_string(),
        }));
    }
    Ok(client)
}

/// Who holds the lock of the base directory.
async fn holder(context: &Context<'_>) -> CliResult<Option<Holder>> {
    let base_dir = context.base_dir()?;
    let seen = wl_daemon::lock_holder(&base_dir);
    if !matches!(seen, Some(Holder::Stranger(_))) {
        return Ok(seen);
    }
    // A daemon that has just taken it writes its number next.
    tokio::time::sleep(BETWEEN_LOOKS).await;
    Ok(wl_daemon::lock_holder(&base_dir))
}

/// The daemon, which must be there.
pub async fn running(context: &Context<'_>) -> CliResult<Client> {
    connect_or_tell(context).await?.ok_or_else(|| {
        CliError::NoDaemon(format!(
            "no daemon runs for {}, so nothing is kept in sync; start it with `{}start`",
            context.base_dir().map_or_else(
                |_| "this base directory".to_owned(),
                |dir| dir.display().to_string()
            ),
            context.wl()
        ))
    })
}

/// How many heaps glibc keeps in a daemon. Without it, it keeps up to eight a core, one for each thread that came by, and in each what was
/// freed there: memory would grow with every burst of changes (docs/performance.md).
pub const ARENAS: (&str, &str) = ("MALLOC_ARENA_MAX", "2");

/// The daemon; it is started if there is none, and that is said.
pub async fn connect_or_start(context: &Context<'_>) -> CliResult<Client> {
    match connect(context).await? {
        Some(client) => Ok(client),
        None => {
            let words = Options::default().words(context)?;
            Ok(start(context, &words).await?.client)
        }
    }
}

/// A daemon that runs.
pub struct Started {
    /// A connection to it.
    pub client: Client,
    /// Another command has started it.
    pub by_other: bool,
}

impl Started {
    fn by_other(client: Client) -> Self {
        Self {
            client,
            by_other: true,
        }
    }
}

/// Starts a daemon in the background, or finds the one that another command starts.
pub async fn start(context: &Context<'_>, words: &[OsString]) -> CliResult<Started> {
    match wait_for_former(context).await? {
        Some(client) => Ok(Started::by_other(client)),
        None => launch(context, words).await,
    }
}

async fn launch(context: &Context<'_>, words: &[OsString]) -> CliResult<Started> {
    let mut command = Command::new(this_program()?);
    command.arg("daemon").arg("--announce").args(words);
    if std::env::var_os(ARENAS.0).is_none() {
        command.env(ARENAS.0, ARENAS.1);
    }
    // A group of its own: Ctrl-C in this terminal is not meant for it.
    let child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| CliError::Failed(format!("cannot start the daemon: {error}")))?;
    let pid = child.id();
    let said = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        let read = child
            .stdout
            .map(|out| BufReader::new(out).read_line(&mut line));
        read.transpose().map(|_| line)
    });
    let said = said
        .await
        .map_err(|error| CliError::Failed(format!("cannot start the daemon: {error}")))?
        .map_err(|error| CliError::Failed(format!("cannot hear from the daemon: {error}")))?;
    match said.trim() {
        READY => {
            context
                .output
                .talk(&format!("Started the daemon (process {pid})"));
            Ok(Started {
                client: running(context).await?,
                by_other: false,
            })
        }
        "" => Err(CliError::Failed(format!(
            "the daemon ended before it was ready; see why with `{}daemon --log-path -`",
            context.wl()
        ))),
        // Somebody else was faster; or there is a real fault, which then is all there is to say.
        why => wait_for_other(context)
            .await?
            .map(Started::by_other)
            .ok_or_else(|| CliError::Failed(why.to_owned())),
    }
}

/// Waits for whoever holds the lock and does not listen: it dies at this moment, or is being started.
async fn wait_for_former(context: &Context<'_>) -> CliResult<Option<Client>> {
    let base_dir = context.base_dir()?;
    for _ in 0..FAREWELL_LOOKS {
        if wl_daemon::lock_holder(&base_dir).is_none() {
            return Ok(None);
        }
        if let Some(client) = connect(context).await? {
            return Ok(Some(client));
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    connect_or_tell(context).await
}

/// A daemon that another command starts at this moment.
async fn wait_for_other(context: &Context<'_>) -> CliResult<Option<Client>> {
    if !context.base_dir()?.join("run/daemon.lock").exists() {
        return Ok(None);
    }
    for _ in 0..LOOKS {
        if let Some(client) = connect(context).await? {
            return Ok(Some(client));
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Ok(None)
}

/// This very program, also after a newer one was installed in its place.
pub fn this_program() -> CliResult<PathBuf> {
    std::env::current_exe()
        .map_err(|error| CliError::Failed(format!("cannot tell which program this is: {error}")))
}

/// Connects to a daemon of this version.
async fn greet(socket: &Path) -> CliResult<Client> {
    let mut client = Client::connect(socket).await?;
    check_version(&mut client).await?;
    Ok(client)
}

async fn check_version(client: &mut Client) -> CliResult<()> {
    let answer = client.ask("version", Value::Null).await?;
    let theirs: Version =
        serde_json::from_value(answer).map_err(|error| ClientError::Nonsense(error.to_string()))?;
    if theirs.version == VERSION && theirs.protocol == PROTOCOL {
        return Ok(());
    }
    Err(CliError::Failed(format!(
        "the daemon (process {}) is wl {}, this is wl {VERSION}; restart it: `kill {}` ends it safely, the next command starts the new one",
        theirs.pid, theirs.version, theirs.pid
    )))
}

/// What comes in time.
async fn within<T>(patience: Duration, answer: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(patience, answer).await.ok()
}

/// Something listens and says nothing.
fn silent(context: &Context<'_>) -> CliError {
    let place = |path: CliResult<PathBuf>| path.unwrap_or_default().display().to_string();
    let base = context.base_dir();
    let holder = base.ok().and_then(|base| wl_daemon::lock_holder(&base));
    CliError::Failed(match holder {
        Some(Holder::Daemon(process)) => format!(
            "the daemon (process {process}) listens on {} and does not answer; end it with `kill -9 {process}`, which is safe, and start it again with `{}start`",
            place(context.socket()),
            context.wl()
        ),
        Some(Holder::Stranger(_)) | None => format!(
            "something listens on {} and does not answer, and it is no daemon of this base directory; give another --socket-path",
            place(context.socket())
        ),
    })
}

/// The names of a container's jobs, and their states.
pub async fn jobs_of(
    client: &mut Client,
    container: &str,
) -> CliResult<Vec<wl_control::JobStatus>> {
    let mut all = all_jobs(client).await?;
    all.retain(|job| job.container_name == container);
    Ok(all)
}

/// What `status` says of every job.
pub async fn all_jobs(client: &mut Client) -> CliResult<Vec<wl_control::JobStatus>> {
    let answer = client.ask("status", json!({})).await?;
    Ok(serde_json::from_value(answer).map_err(|error| ClientError::Nonsense(error.to_string()))?)
}

/// Refuses to take away what the daemon works with: a container, or one storage of it.
pub async fn check_unused(
    context: &Context<'_>,
    container: &str,
    backend_id: Option<&str>,
) -> CliResult<()> {
    let Some(mut client) = connect_or_tell(context).await? else {
        return Ok(());
    };
    let jobs = jobs_of(&mut client, container).await?;
    let uses = |job: &wl_control::JobStatus| {
        let ids = [&job.source.backend_id, &job.target.backend_id];
        backend_id.is_none_or(|id| ids.iter().any(|used| used.as_deref() == Some(id)))
    };
    match jobs.iter().find(|job| uses(job)) {
        None => Ok(()),
        Some(job) => Err(CliError::Usage(format!(
            "the daemon works with it (job {}, {}); stop that first with `{}container stop-sync {}`",
            crate::output::escape(&job.job_id),
            job.state.0.name(),
            context.wl(),
            crate::output::quote(container)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_never_answers_is_not_waited_for_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wl.sock");
        let _listener = tokio::net::UnixListener::bind(&path).unwrap();
        let heard = within(Duration::from_millis(50), greet(&path)).await;
        assert!(heard.is_none());
    }
}
