//! What core takes from the machine besides its storages: the wall clock, dice, its own process number, and a thread for what blocks. A test can put a
//! machine of its own in their place ([`Machine`]); without the feature `testing` nothing can.

use std::time::SystemTime;

#[cfg(feature = "testing")]
pub use simulated::{InPlace, Machine};

/// The wall clock. It decides nothing: it may stand still or jump.
pub(crate) fn wall() -> SystemTime {
    #[cfg(feature = "testing")]
    if let Some(wall) = simulated::ask(|machine| machine.wall()) {
        return wall;
    }
    SystemTime::now()
}

/// A throw of dice: any number, as likely as any other.
pub(crate) fn dice() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    #[cfg(feature = "testing")]
    if let Some(dice) = simulated::ask(|machine| machine.dice()) {
        return dice;
    }
    RandomState::new().hash_one(0)
}

/// This process's number.
pub(crate) fn process() -> u32 {
    #[cfg(feature = "testing")]
    if simulated::ask(|_| ()).is_some() {
        // The names of runs must not depend on it.
        return 1;
    }
    std::process::id()
}

/// Does what blocks where it holds up nobody. `Err`: it panicked.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    #[cfg(feature = "testing")]
    if simulated::ask(|_| ()).is_some() {
        // One thread, on which everything has its turn.
        return tokio::spawn(async move { work() }).await;
    }
    tokio::task::spawn_blocking(work).await
}

#[cfg(feature = "testing")]
mod simulated {
    use std::cell::RefCell;
    use std::fmt;
    use std::rc::Rc;
    use std::time::SystemTime;

    thread_local! {
        static CURRENT: RefCell<Option<Rc<dyn Machine>>> = const { RefCell::new(None) };
    }

    /// A machine of a test: what it says depends on nothing but the test.
    pub trait Machine: fmt::Debug {
        /// The wall clock.
        fn wall(&self) -> SystemTime;
        /// A throw of dice.
        fn dice(&self) -> u64;
    }

    /// While this lives, all that core does on this thread it does on the machine of a test.
    #[derive(Debug)]
    pub struct InPlace(Option<Rc<dyn Machine>>);

    impl InPlace {
        /// Puts `machine` in place, on this thread.
        pub fn of(machine: Rc<dyn Machine>) -> Self {
            Self(CURRENT.replace(Some(machine)))
        }
    }

    impl Drop for InPlace {
        fn drop(&mut self) {
            CURRENT.replace(self.0.take());
        }
    }

    pub(super) fn ask<T>(question: impl FnOnce(&dyn Machine) -> T) -> Option<T> {
        let machine = CURRENT.with_borrow(Clone::clone)?;
        Some(question(&*machine))
    }
}
