//! Events on their way from jobs to whoever listens. A slow listener never holds a job back: it misses events, and is told so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};
use tokio::sync::broadcast;
use wl_control::{Event, EventKind, Message, framed};

/// Events that are kept for listeners that come back, and that one may lag behind.
const KEPT: usize = 1024;

/// An event, and how it goes on the wire.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) event: Event,
    pub(crate) text: String,
}

/// Where events are published and listened to.
#[derive(Debug)]
pub(crate) struct Hub {
    kept: Mutex<Kept>,
    live: broadcast::Sender<Arc<Published>>,
}

#[derive(Debug)]
struct Kept {
    first: u64,
    next: u64,
    events: VecDeque<Arc<Published>>,
}

/// What a listener that comes back gets first.
#[derive(Debug)]
pub(crate) struct Replay {
    /// Whether events between what it saw and these are gone.
    pub(crate) missed: bool,
    /// The number that the next event will have.
    pub(crate) next: u64,
    /// The events since.
    pub(crate) events: Vec<Arc<Published>>,
    /// The events from now on.
    pub(crate) live: broadcast::Receiver<Arc<Published>>,
}

impl Hub {
    /// A hub whose first event has this number.
    pub(crate) fn starting_at(first: u64) -> Self {
        Self {
            kept: Mutex::new(Kept {
                first,
                next: first,
                events: VecDeque::with_capacity(KEPT),
            }),
            live: broadcast::channel(KEPT).0,
        }
    }

    /// A hub of a daemon that starts now. Its numbers are above those of every daemon before it: none publishes an event each
    /// microsecond.
    pub(crate) fn starting_now() -> Self {
        Self::starting_at((now() * 1e6) as u64)
    }

    /// Tells everyone. Never waits.
    pub(crate) fn publish(&self, kind: EventKind, job_id: &str, fields: Map<String, Value>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let event = Event {
            kind,
            job_id: Some(job_id.to_owned()),
            number: kept.next,
            time: now(),
            fields,
        };
        kept.next += 1;
        let published = Arc::new(Published {
            text: wire(event.clone()),
            event,
        });
        if kept.events.len() == KEPT {
            kept.events.pop_front();
        }
        kept.events.push_back(Arc::clone(&published));
        // Within the lock, so that events are sent in the order of their numbers. Nobody listening is fine.
        let _ = self.live.send(published);
    }

    /// How many events were published.
    pub(crate) fn published(&self) -> u64 {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.next - kept.first
    }

    /// The events from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<Published>> {
        self.live.subscribe()
    }

    /// The events after number `since`, and those from now on, with nothing between them.
    pub(crate) fn replay(&self, since: u64) -> Replay {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = kept
            .events
            .front()
            .map_or(kept.next, |first| first.event.number);
        let events = kept.events.iter().filter(|it| it.event.number > since);
        Replay {
            // A number that was never given out belongs to another daemon, or to a clock that was wrong.
            missed: since.saturating_add(1) < oldest || since >= kept.next,
            next: kept.next,
            events: events.map(Arc::clone).collect(),
            live: self.live.subscribe(),
        }
    }
}

/// The message that tells a listener that it has missed events before number `number`.
pub(crate) fn missed(number: u64) -> String {
    wire(Event {
        kind: EventKind::Missed,
        job_id: None,
        number,
        time: now(),
        fields: Map::new(),
    })
}

fn wire(event: Event) -> String {
    framed(&serde_json::to_string(&Message::Event { event }).unwrap_or_default())
}

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(hub: &Hub, count: u64) {
        for _ in 0..count {
            hub.publish(EventKind::State, "a", Map::new());
        }
    }

    fn numbers(replay: &Replay) -> Vec<u64> {
        replay.events.iter().map(|it| it.event.number).collect()
    }

    #[test]
    fn who_comes_back_gets_what_came_since_and_is_told_of_gaps() {
        let hub = Hub::starting_at(100);
        let nothing = hub.replay(99);
        assert!(!nothing.missed && nothing.events.is_empty() && nothing.next == 100);
        assert!(hub.replay(98).missed, "nobody knows what 99 was");
        publish(&hub, 3);
        let replay = hub.replay(100);
        assert_eq!(
            (numbers(&replay), replay.missed, replay.next),
            (vec![101, 102], false, 103)
        );
        assert!(hub.replay(103).missed, "103 was not given out yet");
        publish(&hub, KEPT as u64);
        assert!(!hub.replay(102).missed);
        let replay = hub.replay(101);
        assert!(replay.missed);
        assert_eq!(replay.events.len(), KEPT);
    }

    #[test]
    fn a_listener_that_does_not_listen_holds_nothing_back() {
        let hub = Hub::starting_at(1);
        let mut slow = hub.listen();
        publish(&hub, 3 * KEPT as u64);
        assert!(matches!(
            slow.try_recv(),
            Err(broadcast::error::TryRecvError::Lagged(_))
        ));
        assert_eq!(slow.try_recv().unwrap().event.number, 2 * KEPT as u64 + 1);
    }

    #[test]
    fn later_daemons_have_higher_numbers() {
        let first = Hub::starting_now();
        publish(&first, 100);
        assert!(Hub::starting_now().replay(0).next > 1_700_000_000_000_000);
    }
}
