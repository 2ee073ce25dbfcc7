//! Tests of the engine: the contract on a store in memory; the reading half on a small one that is told what to get wrong.

mod clocks;
mod conformance;
mod flat;
mod kit;
mod reading;
mod tree;
mod wire;

pub(super) use kit::READ_ONLY;
mod keeping;
mod order;
mod probing;
mod session;
mod trouble;
