//! Watchers that delay, double, reorder and lose events.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::Instant;
use wl_core::model::SyncPath;
use wl_core::storage::{Area, Observation, Result, StorageWatcher, WatchHealth};

use crate::Dice;
use crate::faults::Fired;
use crate::stage::Stage;

/// What a watcher has to tell: when, where, and the edit that it is about.
#[derive(Clone, Debug)]
struct Event {
    due: Instant,
    observation: Observation,
    edit: usize,
    /// Which of the edit's paths.
    path: usize,
}

/// What a watcher will tell.
#[derive(Debug, Default)]
pub(crate) struct Events {
    all: Mutex<Vec<Event>>,
    more: Notify,
}

impl Events {
    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The edit of this number touched these paths.
    pub fn add(&self, edit: usize, paths: &[String], dice: &mut Dice, fired: &mut Fired) {
        let now = Instant::now();
        let soon = |dice: &mut Dice| now + Duration::from_millis(dice.below(50));
        // What is told of an edit in time is told at once.
        let at_once = soon(dice);
        let mut all = self.lock();
        for (number, path) in paths.iter().enumerate() {
            let Ok(path) = SyncPath::new(path.as_str()) else {
                continue;
            };
            let look = |area: Area| Observation::Look { area, cursor: None };
            let event = Event {
                due: at_once,
                observation: look(Area::path(path.clone())),
                edit,
                path: number,
            };
            let fate = match dice.below(20) {
                0 => {
                    // Its being lost is told.
                    let area = match path.parent().filter(|_| dice.below(2) == 0) {
                        Some(folder) => Area::subtree(folder),
                        None => Area::Everything,
                    };
                    all.push(Event {
                        due: now + Duration::from_millis(dice.below(5000)),
                        observation: Observation::Gap {
                            area,
                            reason: "events were lost".to_owned(),
                        },
                        ..event
                    });
                    "event lost and told"
                }
                1 => "event lost",
                2..5 => {
                    let due = now + Duration::from_millis(dice.below(15_000));
                    all.push(Event { due, ..event });
                    "event late"
                }
                5..8 => {
                    let due = soon(dice);
                    all.push(event.clone());
                    all.push(Event { due, ..event });
                    "event doubled"
                }
                _ => {
                    all.push(event);
                    continue;
                }
            };
            *fired.entry(fate).or_default() += 1;
        }
        drop(all);
        self.more.notify_one();
    }

    /// The first events of one edit that are due by now, with those of earlier edits that are still to come; or when the next one is.
    fn take(&self) -> std::result::Result<(Vec<Event>, Vec<Event>), Option<Instant>> {
        let mut all = self.lock();
        let next = all.iter().min_by_key(|event| event.due);
        match next.map(|event| (event.due, event.edit)) {
            Some((due, edit)) if due <= Instant::now() => {
                let now = |event: &mut Event| event.due == due && event.edit == edit;
                let taken = all.extract_if(.., now).collect();
                let overtaken = all.iter().filter(|event| event.edit < edit);
                Ok((taken, overtaken.cloned().collect()))
            }
            next => Err(next.map(|(due, _)| due)),
        }
    }
}

/// What is told at once is one observation.
fn as_one(events: Vec<Event>) -> Observation {
    let (mut all, mut lost) = (Area::default(), None);
    for event in events {
        match event.observation {
            Observation::Look { area, .. } => all.add(area),
            Observation::Gap { area, reason } => {
                all.add(area);
                lost = Some(reason);
            }
        }
    }
    match lost {
        Some(reason) => Observation::Gap { area: all, reason },
        None => Observation::Look {
            area: all,
            cursor: None,
        },
    }
}

/// A watcher of a simulated storage.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub stage: Arc<Stage>,
    pub events: Arc<Events>,
}

#[async_trait]
impl StorageWatcher for Watcher {
    async fn next(&mut self) -> Result<Observation> {
        loop {
            match self.events.take() {
                Ok((events, overtaken)) => {
                    let mut inner = self.stage.lock();
                    for event in &events {
                        inner.delivered(event.edit, event.path);
                    }
                    if overtaken
                        .iter()
                        .any(|event| inner.is_untold(event.edit, event.path))
                    {
                        *inner.fired.entry("events reordered").or_default() += 1;
                    }
                    return Ok(as_one(events));
                }
                Err(Some(due)) => tokio::select! {
                    biased;
                    () = self.events.more.notified() => {}
                    () = tokio::time::sleep_until(due) => {}
                },
                Err(None) => self.events.more.notified().await,
            }
        }
    }

    fn health(&self) -> WatchHealth {
        WatchHealth {
            mode: "simulated".to_owned(),
            worst_delay: Duration::from_secs(15),
        }
    }
}
