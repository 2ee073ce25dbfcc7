//! What can be made to go wrong between a client and a server of ours.
//!
//! A fault is three answers: *which* requests, *when*, and *what* happens. Faults can be added and removed while the server
//! runs; each counts how often it fired, so that a test can prove that what it planned did happen.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::http::{HeaderName, Request, Response};
use bytes::Bytes;
use tokio::sync::watch;

use crate::record::Seen;

type Test = Arc<dyn Fn(&Seen) -> bool + Send + Sync>;

/// Which requests a fault concerns.
#[derive(Clone, Default)]
pub struct Which(Vec<Test>);

impl Which {
    /// All requests.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// The requests for one operation, such as `PutObject` or `PROPFIND`.
    #[must_use]
    pub fn operation(name: &str) -> Self {
        Self::operations([name])
    }

    /// The requests for one of some operations.
    #[must_use]
    pub fn operations<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        Self::any().and(move |seen| names.contains(&seen.operation))
    }

    /// Of these, the ones with a header.
    #[must_use]
    pub fn with_header(self, name: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header's name");
        self.and(move |seen| seen.headers.contains_key(&name))
    }

    /// Of these, the ones in whose path (as sent, escaped) this can be found.
    #[must_use]
    pub fn with_path(self, part: &str) -> Self {
        let part = part.to_owned();
        self.and(move |seen| seen.path.contains(&part))
    }

    /// Of these, the ones that pass a test.
    #[must_use]
    pub fn and(mut self, test: impl Fn(&Seen) -> bool + Send + Sync + 'static) -> Self {
        self.0.push(Arc::new(test));
        self
    }

    pub(crate) fn holds(&self, seen: &Seen) -> bool {
        self.0.iter().all(|test| test(seen))
    }
}

/// When a fault fires, counted in the requests that it concerns, since it was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Each time.
    Always,
    /// The n-th, 2n-th, 3n-th ... time.
    Every(u64),
    /// The n-th time only, from 1.
    Nth(u64),
    /// The first n times.
    Next(u64),
    /// The n-th time and ever after.
    From(u64),
}

impl When {
    fn fires(self, number: u64) -> bool {
        match self {
            Self::Always => true,
            Self::Every(n) => n > 0 && number.is_multiple_of(n),
            Self::Nth(n) => number == n,
            Self::Next(n) => number <= n,
            Self::From(n) => number >= n,
        }
    }
}

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The error code in the body, where the protocol has one.
    pub code: String,
    /// Seconds for a `Retry-After` header.
    pub retry_after: Option<u64>,
}

impl Refusal {
    /// A refusal with a status and the protocol's code.
    #[must_use]
    pub fn new(status: u16, code: &str) -> Self {
        Self {
            status,
            code: code.to_owned(),
            retry_after: None,
        }
    }

    /// 503 `SlowDown`.
    #[must_use]
    pub fn slow_down() -> Self {
        Self::new(503, "SlowDown")
    }

    /// 500 `InternalError`.
    #[must_use]
    pub fn internal_error() -> Self {
        Self::new(500, "InternalError")
    }

    /// 403 `AccessDenied`.
    #[must_use]
    pub fn access_denied() -> Self {
        Self::new(403, "AccessDenied")
    }

    /// 403 `RequestTimeTooSkewed`: the client's clock is wrong.
    #[must_use]
    pub fn time_too_skewed() -> Self {
        Self::new(403, "RequestTimeTooSkewed")
    }

    /// 404 `NoSuchBucket`.
    #[must_use]
    pub fn no_such_bucket() -> Self {
        Self::new(404, "NoSuchBucket")
    }

    /// 501 `NotImplemented`.
    #[must_use]
    pub fn not_implemented() -> Self {
        Self::new(501, "NotImplemented")
    }
}

/// Lets held requests go on. Clones are one gate.
#[derive(Clone)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Opens it, for those who wait and for those who come.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Closes it again.
    pub fn close(&self) {
        self.0.send_replace(false);
    }

    pub(crate) async fn pass(&self) {
        // The sender lives as long as `self`: the wait cannot fail.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

type Hook = Arc<dyn Fn(&Seen) + Send + Sync>;
type OnRequest = Arc<dyn Fn(&mut Request<Bytes>) + Send + Sync>;
type OnReply = Arc<dyn Fn(&Seen, &mut Response<Bytes>) + Send + Sync>;

/// What happens to a request.
#[derive(Clone)]
#[non_exhaustive]
pub enum Action {
    /// Nothing is done and this is answered.
    Refuse(Refusal),
    /// Nothing is done and the connection is dropped.
    LoseRequest,
    /// It waits first.
    Delay(Duration),
    /// It waits first, until the gate is open.
    Hold(Gate),
    /// This runs before the work: for an editor who comes at the wrong moment.
    Before(Hook),
    /// The request is changed before the work.
    ChangeRequest(OnRequest),
    /// The work is done and the connection is dropped: a lost reply.
    LoseReply,
    /// The first half of the body is sent, and the connection dropped. The headers promise all of it.
    CutBody,
    /// This runs when the work is done, before the reply is sent.
    After(Hook),
    /// The reply is changed.
    ChangeReply(OnReply),
}

impl Action {
    /// [`Action::Before`] of a closure.
    pub fn before(hook: impl Fn(&Seen) + Send + Sync + 'static) -> Self {
        Self::Before(Arc::new(hook))
    }

    /// [`Action::After`] of a closure.
    pub fn after(hook: impl Fn(&Seen) + Send + Sync + 'static) -> Self {
        Self::After(Arc::new(hook))
    }

    /// [`Action::ChangeRequest`] of a closure. A header of a signed request cannot be changed: the signature would not fit.
    pub fn change_request(change: impl Fn(&mut Request<Bytes>) + Send + Sync + 'static) -> Self {
        Self::ChangeRequest(Arc::new(change))
    }

    /// [`Action::ChangeReply`] of a closure.
    pub fn change_reply(
        change: impl Fn(&Seen, &mut Response<Bytes>) + Send + Sync + 'static,
    ) -> Self {
        Self::ChangeReply(Arc::new(change))
    }

    fn is_after_the_work(&self) -> bool {
        matches!(
            self,
            Self::LoseReply | Self::CutBody | Self::After(_) | Self::ChangeReply(_)
        )
    }

    /// Nothing that is planned behind this can happen.
    fn is_the_end(&self) -> bool {
        matches!(self, Self::Refuse(_) | Self::LoseRequest | Self::LoseReply)
    }
}

struct Rule {
    which: Which,
    when: When,
    action: Action,
    met: AtomicU64,
    fired: AtomicU64,
}

impl Rule {
    fn take(&self, seen: &Seen) -> bool {
        if !self.which.holds(seen) {
            return false;
        }
        let number = self.met.fetch_add(1, Ordering::SeqCst) + 1;
        let fires = self.when.fires(number);
        if fires {
            self.fired.fetch_add(1, Ordering::SeqCst);
        }
        fires
    }
}

/// The faults of a server. Clones are one set.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Vec<Arc<Rule>>>>);

impl Faults {
    fn rules(&self) -> MutexGuard<'_, Vec<Arc<Rule>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plans a fault. It stays until it is removed: the handle may be dropped.
    pub fn add(&self, which: Which, when: When, action: Action) -> Fault {
        let rule = Arc::new(Rule {
            which,
            when,
            action,
            met: AtomicU64::new(0),
            fired: AtomicU64::new(0),
        });
        self.rules().push(rule.clone());
        Fault {
            rule,
            of: self.clone(),
        }
    }

    /// Answers with an error, without doing anything.
    pub fn refuse(&self, which: Which, when: When, refusal: Refusal) -> Fault {
        self.add(which, when, Action::Refuse(refusal))
    }

    /// Says that an operation does not exist here: 501.
    pub fn refuse_operation(&self, name: &str) -> Fault {
        let which = Which::operation(name);
        self.refuse(which, When::Always, Refusal::not_implemented())
    }

    /// Drops the connection before anything is done.
    pub fn lose_request(&self, which: Which, when: When) -> Fault {
        self.add(which, when, Action::LoseRequest)
    }

    /// Does the work and drops the connection.
    pub fn lose_reply(&self, which: Which, when: When) -> Fault {
        self.add(which, when, Action::LoseReply)
    }

    /// Sends half of what the headers promise. Concerns only replies of success that have a body.
    pub fn cut_body(&self, which: Which, when: When) -> Fault {
        self.add(which, when, Action::CutBody)
    }

    /// Lets requests wait.
    pub fn delay(&self, which: Which, when: When, time: Duration) -> Fault {
        self.add(which, when, Action::Delay(time))
    }

    /// Lets requests wait for a gate.
    pub fn hold(&self, which: Which, when: When) -> (Gate, Fault) {
        let gate = Gate::new();
        let fault = self.add(which, when, Action::Hold(gate.clone()));
        (gate, fault)
    }

    /// Removes all faults.
    pub fn clear(&self) {
        self.rules().clear();
    }

    /// What happens to a request before the work.
    pub(crate) fn before(&self, seen: &Seen) -> Vec<Action> {
        self.take(seen, |action| !action.is_after_the_work())
    }

    /// What happens to it after the work.
    pub(crate) fn after(&self, seen: &Seen, reply: &Response<Bytes>) -> Vec<Action> {
        let can_be_cut = reply.status().is_success() && !reply.body().is_empty();
        self.take(seen, |action| {
            action.is_after_the_work() && (can_be_cut || !matches!(action, Action::CutBody))
        })
    }

    fn take(&self, seen: &Seen, is_now: impl Fn(&Action) -> bool) -> Vec<Action> {
        let rules = self.rules().clone();
        let mut actions = Vec::new();
        for rule in rules.iter().filter(|rule| is_now(&rule.action)) {
            if rule.take(seen) {
                actions.push(rule.action.clone());
                if rule.action.is_the_end() {
                    break;
                }
            }
        }
        actions
    }
}

/// One planned fault.
#[derive(Clone)]
pub struct Fault {
    rule: Arc<Rule>,
    of: Faults,
}

impl Fault {
    /// How often it fired.
    #[must_use]
    pub fn fired(&self) -> u64 {
        self.rule.fired.load(Ordering::SeqCst)
    }

    /// How many requests it concerned, whether it fired or not.
    #[must_use]
    pub fn met(&self) -> u64 {
        self.rule.met.load(Ordering::SeqCst)
    }

    /// Removes it; what it counted stays.
    pub fn remove(&self) {
        self.of
            .rules()
            .retain(|rule| !Arc::ptr_eq(rule, &self.rule));
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fault that fired {} of {}", self.fired(), self.met())
    }
}
