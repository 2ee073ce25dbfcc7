//! The store against real servers, and what is decided without one.
