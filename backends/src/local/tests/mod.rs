//! Tests that try to break what the local backend promises.

pub(crate) mod conformance;
mod crash;
mod full;
pub(in crate::local) mod kit;
mod leftovers;
mod listing;
mod on_model;
mod publishing;
mod races;
mod reading;
mod roots;
mod staging;
mod trash;
