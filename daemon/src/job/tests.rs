use std::path::PathBuf;

use super::*;
use crate::Limits;
use wl_core::sync::SyncOptions;

fn spec(direction: Direction) -> JobSpec {
    JobSpec {
        storages: Sides::from_fn(|side| StorageSpec::local(&format!("/{side}"))),
        options: SyncOptions::new(direction),
        limits: Limits::default(),
        continuous: false,
        base_dir: PathBuf::from("/nowhere"),
    }
}

#[test]
fn a_read_only_storage_is_never_written_to() {
    for direction in [Direction::TwoWay, Direction::OneWay, Direction::Mirror] {
        for side in Side::BOTH {
            let mut spec = spec(direction);
            spec.storages[side].read_only = true;
            let fine = side == Side::Source && direction != Direction::TwoWay;
            assert_eq!(check_writable(&spec).is_ok(), fine, "{side} {direction:?}");
        }
    }
}

#[test]
fn a_refused_report_counts_nothing_and_names_the_class() {
    let error = SyncError::new(SyncErrorClass::RootEmptied, "why");
    let report = refused(Sides::default(), &error);
    assert_eq!(report.judge(), Outcome::Failed);
    assert_eq!(report.error.unwrap().class, "root-emptied");
}

#[tokio::test]
async fn a_storage_that_is_described_wrongly_is_told_by_its_side() {
    for side in Side::BOTH {
        let dir = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            StorageSpec::local(dir.path().join(name).to_str().unwrap())
        };
        let mut spec = spec(Direction::TwoWay);
        spec.base_dir = dir.path().join("base");
        spec.storages = Sides::from_fn(|side| folder(&side.to_string()));
        spec.storages[side].params["lokation"] = "x".into();
        let error = prepare(&spec, Ties::default()).await.err().unwrap();
        assert_eq!(error.class, SyncErrorClass::Usage);
        let wanted = format!(
            "{side}: the parameters of storage type `local` are wrong: unknown field `lokation`"
        );
        assert!(error.desc.starts_with(&wanted), "{error}");
    }
}

/// A mount that hangs holds up no other job, and who is told to stop does not wait for it.
#[tokio::test]
async fn what_may_hang_on_a_mount_is_done_apart() {
    let (free, hangs) = std::sync::mpsc::channel::<()>();
    let cancel = CancellationToken::new();
    let mut work = std::pin::pin!(apart(&cancel, move || {
        // It ends with the test; the limit is so that a failure is one.
        let _ = hangs.recv_timeout(Duration::from_secs(120));
        Ok(())
    }));
    tokio::select! {
        biased;
        _ = &mut work => panic!("it was waited for"),
        () = std::future::ready(()) => {}
    }
    cancel.cancel();
    assert_eq!(work.await.unwrap_err().class, SyncErrorClass::Cancelled);
    drop(free);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_server_can_give_up_and_does_in_the_end() {
    let spec = spec(Direction::TwoWay);
    let never = std::future::pending::<Result<(), SyncError>>;
    let cancel = CancellationToken::new();
    let error = unless_stopped(&cancel, &spec, Side::Target, never()).await;
    let error = error.unwrap_err();
    assert_eq!(error.class, SyncErrorClass::RootUnavailable);
    assert!(error.desc.contains("target (local)"), "{error}");
    cancel.cancel();
    let error = unless_stopped(&cancel, &spec, Side::Source, never()).await;
    assert_eq!(error.unwrap_err().class, SyncErrorClass::Cancelled);
}

#[tokio::test]
async fn a_cancelled_job_is_not_begun() {
    let cancel = CancellationToken::new();
    cancel.cancel();
    let report = run_one_shot(&spec(Direction::TwoWay), Arc::default(), cancel).await;
    assert_eq!(report.error.unwrap().class, "cancelled");
}
