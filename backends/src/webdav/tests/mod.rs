//! Tests of the WebDAV store.
