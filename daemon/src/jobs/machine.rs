//! What a job's state becomes, and what is to be done about it: pure, without clock, dice or waiting.

use std::collections::VecDeque;
use std::time::Duration;

use wl_control::State;
use wl_core::sync::SyncErrorClass;

/// The first delay before a job that failed is tried again; every further failure doubles it.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// The longest delay before a job that failed is tried again.
const LONGEST_DELAY: Duration = Duration::from_secs(300);
/// The longest delay before a look whether a storage is back.
const LONGEST_ABSENCE: Duration = Duration::from_secs(30);
/// A job that panics more often than this within [`PANIC_WINDOW`] is left alone.
const MOST_PANICS: usize = 5;
/// How long a panic counts.
const PANIC_WINDOW: Duration = Duration::from_secs(600);

/// Something that happened to a job.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Input {
    /// A look at the storages began.
    Looking,
    /// The look found something to do.
    FoundWork,
    /// A look ended, with this much left.
    Looked(Left),
    /// This changed, or may have, and waits for its time.
    Pending(Waits),
    /// A look does not get on, for this reason: what was known before it began may not be so any more. `None`: it does again.
    Silent(Option<String>),
    /// The run is told to stop, and stops, so that conflicts can be ended. The job runs again afterwards.
    GivesWay,
    /// The conflicts were ended, and the job runs again.
    GoesOn,
    /// The run ended: a one-shot with its report, or whatever stopped a continuous one.
    Ended(Ending),
    /// A person asked for a rest.
    PauseAsked,
    /// A person asked to go on.
    ResumeAsked,
    /// The delay is over.
    Due,
}

/// What waits for its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Waits {
    pub(super) paths: u64,
    /// Nobody knows where more of it may be.
    pub(super) anywhere: bool,
}

/// What a look left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) conflicts: u64,
    pub(super) problems: u64,
    /// Paths that the target changed itself, and that a one-way job leaves alone.
    pub(super) drift: u64,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ending {
    /// A one-shot run is done.
    Done(Left),
    /// The run was refused or stopped as a whole.
    Failed(SyncErrorClass, String),
    /// It was told to stop.
    Stopped,
    /// There is a fault in the program.
    Panicked(String),
}

/// What the job's owner has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing.
    Nothing,
    /// Run the job.
    Launch,
    /// Wait this long (`Input::Due`), and run it then.
    LaunchAfter(Duration),
    /// Stop the run.
    Halt,
}

/// The state of one job.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    state: State,
    text: String,
    continuous: bool,
    /// A worker is at it.
    running: bool,
    /// The worker was told to stop.
    halting: bool,
    /// A person wants it to rest.
    resting: bool,
    /// Nothing was found out since it was started or resumed.
    fresh: bool,
    /// Conflicts are ended before it runs again: nobody looks at the storages as a whole meanwhile.
    gave_way: bool,
    /// What the last look left.
    left: Left,
    /// So many paths wait for their time.
    pending: Waits,
    failures: u32,
    panics: VecDeque<Duration>,
    panics_ever: u32,
}

impl Machine {
    /// A job that is about to run; or (`resting`) that was paused when the daemon ended.
    pub(super) fn new(continuous: bool, resting: bool) -> Self {
        let (state, text) = match (resting, continuous) {
            (true, _) => (State::Paused, "paused by request"),
            (false, true) => (State::Running, "starting"),
            (false, false) => (State::OneShot, "running once"),
        };
        Self {
            state,
            text: text.to_owned(),
            continuous,
            running: !resting,
            halting: false,
            resting,
            fresh: true,
            gave_way: false,
            left: Left::default(),
            pending: Waits::default(),
            failures: 0,
            panics: VecDeque::new(),
            panics_ever: 0,
        }
    }

    pub(super) fn state(&self) -> (State, &str) {
        (self.state, &self.text)
    }

    pub(super) fn is_resting(&self) -> bool {
        self.resting
    }

    pub(super) fn is_running(&self) -> bool {
        self.running
    }

    /// Whether the worker was told to stop by it.
    pub(super) fn is_halting(&self) -> bool {
        self.halting
    }

    /// The worker is to be stopped, and the job to run again at once.
    pub(super) fn run_anew(&mut self) {
        self.halting = self.running;
    }

    /// How often it failed in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// How often it panicked.
    pub(super) fn panics(&self) -> u32 {
        self.panics_ever
    }

    /// Takes in what happened at `now` (since the daemon began). `dice` is from 0 to 1.
    pub(super) fn on(&mut self, input: Input, now: Duration, dice: f64) -> Action {
        match input {
            // The news of the run that gave way come too late: nothing is known to be in sync until the next one has looked.
            Input::Looking
            | Input::FoundWork
            | Input::Looked(_)
            | Input::Pending(_)
            | Input::Silent(_)
                if self.gave_way => {}
            // A look by itself changes nothing that is known: what was in sync, in trouble or left is so until it has found out.
            Input::Looking if self.fresh => self.running_with("comparing"),
            Input::Looking => {}
            // A conflict is looked into by every look: that is no change of what is known to be left.
            Input::FoundWork if self.state == State::Running && !self.fresh => {}
            Input::FoundWork => self.running_with("carrying out changes"),
            Input::Looked(left) => self.looked(left),
            Input::Pending(waits) => self.pending(waits),
            Input::Silent(why) => self.silent(why),
            Input::GivesWay => self.gives_way(),
            Input::GoesOn => self.goes_on(),
            Input::Ended(ending) => return self.ended(ending, now, dice),
            Input::PauseAsked => {
                self.resting = true;
                self.become_(State::Paused, "paused by request");
                self.halting = self.running;
                return if self.running {
                    Action::Halt
                } else {
                    Action::Nothing
                };
            }
            Input::ResumeAsked => return self.resume(),
            Input::Due if !self.running && !self.resting => {
                self.running = true;
                return Action::Launch;
            }
            Input::Due => {}
        }
        Action::Nothing
    }

    /// Conflicts of a job that has ended were ended, and so many are left.
    pub(super) fn resolved(&mut self, conflicts: u64) {
        if !self.continuous && self.state == State::Stopped {
            let left = Left {
                conflicts,
                ..Left::default()
            };
            self.text = left.text().unwrap_or("conflicts ended".to_owned());
        }
    }

    /// What stopped the job before, or keeps it from going on, is so until a look has found out.
    fn gives_way(&mut self) {
        self.pending = Waits::default();
        if !self.running || self.resting {
            return;
        }
        self.gave_way = true;
        if matches!(self.state, State::Synced | State::Running) {
            self.running_with("ending conflicts");
        }
    }

    fn goes_on(&mut self) {
        if std::mem::take(&mut self.gave_way) && self.state == State::Running {
            self.fresh = true;
            self.running_with("starting");
        }
    }

    fn become_(&mut self, state: State, text: impl Into<String>) {
        self.state = state;
        self.text = text.into();
    }

    /// The news of a run that was told to stop come too late.
    fn running_with(&mut self, text: &str) {
        if self.continuous && !self.resting {
            self.become_(State::Running, text);
        }
    }

    fn looked(&mut self, left: Left) {
        if !self.continuous || self.resting {
            return;
        }
        self.failures = 0;
        self.fresh = false;
        self.left = left;
        match self.left_or_pending() {
            None => self.become_(State::Synced, left.synced()),
            Some(text) => self.become_(State::Running, text),
        }
    }

    /// The last of what waited had its turn: what came of it is told next, and until then nothing is known to be in sync.
    fn pending(&mut self, waits: Waits) {
        let before = std::mem::replace(&mut self.pending, waits);
        let known = matches!(self.state, State::Synced | State::Running) && !self.fresh;
        if known && (waits != Waits::default() || before != Waits::default()) {
            let text = self.left_or_pending();
            self.running_with(&text.unwrap_or_else(|| "carrying out changes".to_owned()));
        }
    }

    /// What stopped the job before, or keeps it from going on, says more.
    fn silent(&mut self, why: Option<String>) {
        if matches!(self.state, State::Synced | State::Running) {
            let text = why.or_else(|| self.left_or_pending());
            self.running_with(&text.unwrap_or_else(|| "comparing".to_owned()));
        }
    }

    /// What is left and what waits, for people; `None` if nothing.
    fn left_or_pending(&self) -> Option<String> {
        let pending = match self.pending.paths {
            0 => None,
            1 => Some("1 changed path waits".to_owned()),
            paths => Some(format!("{paths} changed paths wait")),
        };
        let anywhere = self.pending.anywhere;
        let anywhere = anywhere.then(|| "anything may have changed".to_owned());
        let texts = self.left.text().into_iter().chain(pending).chain(anywhere);
        let texts: Vec<_> = texts.collect();
        (!texts.is_empty()).then(|| texts.join(", "))
    }

    fn ended(&mut self, ending: Ending, now: Duration, dice: f64) -> Action {
        self.running = false;
        self.fresh = false;
        self.pending = Waits::default();
        let halted = std::mem::take(&mut self.halting);
        if self.resting {
            self.gave_way = false;
            return Action::Nothing;
        }
        if halted {
            // It was resumed before it had come to rest.
            self.running = true;
            self.goes_on();
            return Action::Launch;
        }
        self.gave_way = false;
        match ending {
            Ending::Done(left) => {
                self.become_(
                    left.final_state(),
                    left.text().unwrap_or_else(|| left.synced()),
                );
                Action::Nothing
            }
            Ending::Stopped => {
                self.become_(State::Stopped, "stopped");
                Action::Nothing
            }
            Ending::Failed(class, why) if self.continuous && is_absence(class) => {
                self.become_(State::Paused, why);
                self.again(LONGEST_ABSENCE, dice)
            }
            Ending::Failed(_, why) => {
                self.become_(State::Error, why);
                self.again(LONGEST_DELAY, dice)
            }
            Ending::Panicked(why) => self.panicked(&why, now, dice),
        }
    }

    fn panicked(&mut self, why: &str, now: Duration, dice: f64) -> Action {
        self.panics_ever += 1;
        self.panics.push_back(now);
        while self
            .panics
            .front()
            .is_some_and(|at| *at + PANIC_WINDOW < now)
        {
            self.panics.pop_front();
        }
        let fault = format!("a fault in wl ended the job ({why})");
        if self.panics.len() > MOST_PANICS {
            let count = self.panics.len();
            self.become_(
                State::Error,
                format!("{fault}, {count} times within ten minutes: it is left alone; report the fault, and resume the job to try again"),
            );
            return Action::Nothing;
        }
        self.become_(State::Error, format!("{fault}; please report it"));
        self.again(LONGEST_DELAY, dice)
    }

    /// A continuous job is tried again, ever later, never at the same moment as all the others.
    fn again(&mut self, longest: Duration, dice: f64) -> Action {
        if !self.continuous {
            return Action::Nothing;
        }
        let doubled = FIRST_DELAY.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        Action::LaunchAfter(
            doubled
                .min(longest)
                .mul_f64(0.75 + 0.5 * dice.clamp(0.0, 1.0)),
        )
    }

    fn resume(&mut self) -> Action {
        let rests = std::mem::take(&mut self.resting);
        self.failures = 0;
        self.panics.clear();
        let troubled = matches!(self.state, State::Paused | State::Error);
        if !rests && (self.running && !troubled || self.state == State::Stopped) {
            return Action::Nothing;
        }
        self.fresh = true;
        self.become_(State::Running, "starting");
        if self.running && (self.halting || self.gave_way) {
            // The run that was told to stop has not ended yet; its end starts the next one.
            return Action::Nothing;
        }
        if self.running {
            // It is just being tried again, and that began before whoever asks had done something about it.
            self.halting = true;
            return Action::Halt;
        }
        self.running = true;
        Action::Launch
    }
}

impl Left {
    /// What is left, for people; `None` if nothing is.
    fn text(self) -> Option<String> {
        let some = |count: u64, one: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {one}s")),
        };
        let left: Vec<_> = [
            some(self.problems, "problem"),
            some(self.conflicts, "conflict"),
        ]
        .into_iter()
        .flatten()
        .collect();
        (!left.is_empty()).then(|| left.join(" and ") + " left")
    }

    /// What is said of a look that left nothing to do.
    fn synced(self) -> String {
        match self.drift {
            0 => "synced".to_owned(),
            1 => "synced, but for 1 path that the target changed itself".to_owned(),
            drift => format!("synced, but for {drift} paths that the target changed itself"),
        }
    }

    /// How a one-shot run that left this ends: problems win over conflicts.
    fn final_state(self) -> State {
        match (self.problems, self.conflicts) {
            (0, 0) => State::Synced,
            (0, _) => State::Stopped,
            _ => State::Error,
        }
    }
}

/// Whether a failure means that a storage is not there as it was: nothing is wrong with the job, and it goes on once the storage
/// is back.
fn is_absence(class: SyncErrorClass) -> bool {
    matches!(
        class,
        SyncErrorClass::RootUnavailable
            | SyncErrorClass::RootChanged
            | SyncErrorClass::RootEmptied
            | SyncErrorClass::Locked
    )
}

#[cfg(test)]
mod tests;
