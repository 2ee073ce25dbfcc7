//! The wire between `wl` and its daemon.
