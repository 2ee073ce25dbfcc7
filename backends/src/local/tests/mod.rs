//! Tests that try to break what the local backend promises.

pub(crate) mod conformance;
mod kit;
mod leftovers;
mod listing;
mod publishing;
mod races;
mod reading;
mod roots;
mod staging;
mod trash;
