//! Connections that break.
