//! The log: what an operator needs to know, with the job and, where it is about one, the storage in each record.
//!
//! Never a secret. What other crates write is kept only from warnings on: at lower levels they write headers and addresses.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::panic;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata, Subscriber};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt as form};

/// Days that are kept.
const DAYS: usize = 7;
/// The start of the names of the files; the day follows.
const NAME: &str = "wl.log";
/// The level when nothing is said.
const DEFAULT_LEVEL: LevelFilter = LevelFilter::INFO;

/// Where the log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTo {
    /// stderr.
    Stderr,
    /// This file, which grows.
    File(PathBuf),
    /// `log/wl.log.DAY` below this base directory: a file a day (in UTC), seven of them.
    BaseDir(PathBuf),
}

/// The log cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is none.
    #[error(
        "`{0}` is no log level; give error, warn, info, debug or trace, or a list such as `info,wl_daemon=debug`"
    )]
    Level(String),
    /// A folder or file could not be made.
    #[error(
        "cannot log to {path}: {why}; check the permissions of the folder, or give another --log-path"
    )]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// Why it failed.
        why: String,
    },
}

/// Writes what is still on its way when it is dropped.
#[derive(Debug)]
pub struct LogGuard(#[allow(dead_code, reason = "held, never read")] WorkerGuard);

/// Begins to log for the whole process, panics included. A log that stands (in tests) is left as it is.
///
/// Nothing waits for the log: if it cannot be written as fast as it grows, records are left out.
pub fn start_log(level: Option<&str>, to: &LogTo) -> Result<LogGuard, LogError> {
    let levels = levels(level)?;
    let (writer, guard) = match to {
        LogTo::Stderr => tracing_appender::non_blocking(io::stderr()),
        LogTo::File(path) => tracing_appender::non_blocking(private_file(path)?),
        LogTo::BaseDir(dir) => tracing_appender::non_blocking(Days::new(dir)?),
    };
    if subscriber(levels, writer).try_init().is_ok() {
        log_panics(*to == LogTo::Stderr);
    }
    Ok(LogGuard(guard))
}

/// Logs why the daemon does not start.
pub fn log_failure(reason: &str) {
    tracing::error!(reason, "the daemon does not start");
}

fn subscriber(
    levels: Targets,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    let layer = form::layer().with_ansi(false).with_writer(writer);
    tracing_subscriber::registry().with(layer.with_filter(levels.and(filter_fn(may_be_logged))))
}

/// The levels that are asked for: one for all, or a list of `crate::module=level` and levels.
fn levels(asked: Option<&str>) -> Result<Targets, LogError> {
    let Some(asked) = asked else {
        return Ok(Targets::new().with_default(DEFAULT_LEVEL));
    };
    let wrong = || LogError::Level(asked.to_owned());
    // A word alone would be taken for a crate.
    let clear = |part: &str| {
        part.contains('=') || (!part.is_empty() && part.parse::<LevelFilter>().is_ok())
    };
    if !asked.split(',').all(|part| clear(part.trim())) {
        return Err(wrong());
    }
    asked.parse().map_err(|_| wrong())
}

/// Whatever is asked for: of other crates warnings and errors only.
fn may_be_logged(meta: &Metadata<'_>) -> bool {
    let krate = meta.target().split("::").next().unwrap_or_default();
    krate == "wl" || krate.starts_with("wl_") || *meta.level() <= Level::WARN
}

/// Panics are logged with their place. They still go to stderr, unless the log does.
fn log_panics(is_on_stderr: bool) {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |fault| {
        let place = fault.location().map(ToString::to_string);
        let what = fault.payload_as_str().unwrap_or_default();
        tracing::error!(place = place.as_deref(), what, "a fault in wl (panic)");
        if !is_on_stderr {
            before(fault);
        }
    }));
}

/// A file to append to, private if it is new.
fn private_file(path: &Path) -> Result<File, LogError> {
    let options = File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path);
    options.map_err(|error| failed(path, &error))
}

fn failed(path: &Path, why: &dyn std::error::Error) -> LogError {
    LogError::Io {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

/// A file a day in a private folder. The library makes files that others could read, if the folder let them; they are made private
/// as well.
struct Days {
    files: RollingFileAppender,
    folder: PathBuf,
    /// The day whose file is known to be private.
    day: u64,
    today: fn() -> u64,
}

impl Days {
    fn new(base_dir: &Path) -> Result<Self, LogError> {
        let folder = base_dir.join("log");
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder);
        made.and_then(|()| fs::set_permissions(&folder, Permissions::from_mode(0o700)))
            .map_err(|error| failed(&folder, &error))?;
        let files = RollingFileAppender::builder()
            .rotation(Rotation::DAILY)
            .filename_prefix(NAME)
            .max_log_files(DAYS)
            .build(&folder)
            .map_err(|error| failed(&folder, &error))?;
        make_private(&folder).map_err(|error| failed(&folder, &error))?;
        Ok(Self {
            files,
            folder,
            day: today(),
            today,
        })
    }
}

impl Write for Days {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Read before the library looks at the clock: a file that it has just begun is seen at the latest with the next record.
        let day = (self.today)();
        let written = self.files.write(bytes)?;
        if day != self.day {
            make_private(&self.folder)?;
            self.day = day;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.files.flush()
    }
}

/// Days since 1970, in UTC, as the names of the files count them.
fn today() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs() / 86_400
}

fn make_private(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(NAME) && entry.file_type()?.is_file() {
            fs::set_permissions(entry.path(), Permissions::from_mode(0o600))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    /// What is written of this.
    fn written(level: Option<&str>, what: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Text(Arc<Mutex<Vec<u8>>>);
        impl Write for Text {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let text = Text::default();
        let writer = text.clone();
        let subscriber = subscriber(levels(level).unwrap(), move || writer.clone());
        tracing::subscriber::with_default(subscriber, what);
        let bytes = text.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    /// What is written of records of ours and of others at every level.
    fn logged(level: Option<&str>) -> String {
        written(level, || {
            let span = tracing::error_span!("job", job = "j");
            span.in_scope(|| tracing::error!("ours 1"));
            tracing::warn!("ours 2");
            tracing::info!("ours 3");
            tracing::debug!("ours 4");
            tracing::trace!("ours 5");
            tracing::error!(target: "hyper::proto", "theirs 1");
            tracing::warn!(target: "opendal", "theirs 2");
            tracing::info!(target: "reqwest", "theirs 3");
            tracing::debug!(target: "hyper::proto", "theirs 4");
            tracing::trace!(target: "h2", "theirs 5");
            tracing::info!(target: "wlx", "theirs 3");
        })
    }

    #[test]
    fn a_panic_is_logged_with_its_place_and_its_job() {
        let text = written(Some("error"), || {
            log_panics(false);
            let job = tracing::error_span!("run", job = "j");
            let fault = job.in_scope(|| panic::catch_unwind(|| panic!("a fault of the test")));
            assert!(fault.is_err());
            drop(panic::take_hook());
        });
        assert!(text.contains("run{job=\"j\"}"), "{text}");
        assert!(text.contains("place=\"daemon/src/log.rs:"), "{text}");
        assert!(text.contains("what=\"a fault of the test\""), "{text}");
    }

    #[test]
    fn other_crates_are_never_logged_below_warnings() {
        for (level, ours, theirs) in [
            (None, 3, 2),
            (Some("error"), 1, 1),
            (Some("WARN"), 2, 2),
            (Some("debug"), 4, 2),
            (Some("trace"), 5, 2),
            (Some("off"), 0, 0),
            (Some("info,wl_daemon=trace"), 5, 2),
            (Some("trace,hyper=trace,opendal=trace,h2=trace"), 5, 2),
            (Some("wl_core=trace"), 0, 0),
        ] {
            let text = logged(level);
            assert_eq!(text.matches("ours").count(), ours, "{level:?} {text}");
            assert_eq!(text.matches("theirs").count(), theirs, "{level:?} {text}");
        }
        assert!(logged(Some("error")).contains("job{job=\"j\"}"));
    }

    #[test]
    fn what_is_no_level_is_refused() {
        for wrong in ["", "verbose", "info,", "wl_daemon=loud", "info debug"] {
            let error = levels(Some(wrong)).unwrap_err().to_string();
            assert!(error.contains("no log level"), "{wrong}: {error}");
        }
    }

    #[test]
    fn folder_and_files_are_private_the_next_day_too() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("base/log");
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        let mut days = Days::new(&dir.path().join("base")).unwrap();
        assert_eq!(mode(&folder), 0o700);
        let files = || -> Vec<PathBuf> {
            let all = fs::read_dir(&folder).unwrap();
            all.map(|entry| entry.unwrap().path()).collect()
        };
        days.write_all(b"a record\n").unwrap();
        assert_eq!(files().len(), 1);
        assert_eq!(mode(&files()[0]), 0o600);
        // What the library makes at midnight.
        let next = folder.join("wl.log.2222-02-22");
        fs::write(&next, "").unwrap();
        fs::set_permissions(&next, Permissions::from_mode(0o644)).unwrap();
        days.today = || 1;
        days.write_all(b"a record\n").unwrap();
        assert_eq!(mode(&next), 0o600);
    }

    #[test]
    fn a_file_is_made_private_and_one_that_is_there_is_appended_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("my.log");
        drop(private_file(&path).unwrap());
        assert_eq!(mode(&path), 0o600);
        fs::write(&path, "1").unwrap();
        private_file(&path).unwrap().write_all(b"2").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "12");
        let error = private_file(&dir.path().join("no/such")).unwrap_err();
        assert!(error.to_string().contains("no/such"), "{error}");
    }
}
