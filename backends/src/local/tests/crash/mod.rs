//! Crashes before and after every call of a run, and what the next runs make of what is left.

mod histories;
mod judge;
mod world;
