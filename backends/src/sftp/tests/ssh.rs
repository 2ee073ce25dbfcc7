//! The real ssh.
