//! Limits of the process.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the limit of open files to the most that the system lets this process have: many jobs have many files open.
pub fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => tracing::debug!(limit = limit.maximum, "open files"),
        Err(error) => {
            tracing::warn!(reason = %error, "the limit of open files cannot be raised");
        }
    }
}
