//! Tests that try to make the watcher miss something.

mod fake;
mod fanotify;
mod interleaved;
mod limits;
mod mounts;
mod namespace;
mod real;
mod storm;
mod table;
mod window;
