//! What is logged of jobs.

use serde_json::Value;
use tracing::{error, info, trace, warn};
use wl_control::{EventKind, State};

/// Logs what is told to clients. Names and reasons are quoted: they cannot begin a line of their own.
pub(super) fn log(kind: EventKind, job: &str, value: &Value) {
    let text = |name: &str| value[name].as_str().unwrap_or_default();
    match kind {
        EventKind::State => log_state(job, value),
        EventKind::Conflict => {
            warn!(
                job,
                path = text("path"),
                reason = text("reason"),
                "conflict"
            );
        }
        EventKind::Error => warn!(
            job,
            storage = text("storage"),
            path = text("path"),
            operation = text("operation"),
            reason = text("reason"),
            "problem"
        ),
        EventKind::Progress | EventKind::Missed => trace!(job, value = %value, "progress"),
    }
}

fn log_state(job: &str, value: &Value) {
    let Ok((state, reason)) = serde_json::from_value::<(State, String)>(value.clone()) else {
        return;
    };
    let name = state.name();
    match state {
        State::Error => error!(job, state = name, reason, "state"),
        State::Paused => warn!(job, state = name, reason, "state"),
        _ => info!(job, state = name, reason, "state"),
    }
}
