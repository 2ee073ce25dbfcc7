//! Tests that try to make the watcher miss something.

mod real;
