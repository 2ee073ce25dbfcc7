//! Metrics over HTTP.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use wl_control::{Client, State};
use wl_daemon::{Daemon, DaemonOptions, socket_path};

use crate::world::{local, state};

/// A daemon with metrics, and where they are.
async fn daemon(base: &std::path::Path) -> (CancellationToken, SocketAddr) {
    let options = DaemonOptions {
        base_dir: base.to_owned(),
        socket: None,
        version: "1.2.3".to_owned(),
    };
    let any_port = "127.0.0.1:0".parse().unwrap();
    let daemon = Daemon::start_with_metrics(options, Some(any_port));
    let daemon = daemon.await.unwrap();
    let address = daemon.metrics_address().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(daemon.serve(stop.clone()));
    (stop, address)
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn scrape(address: SocketAddr) -> String {
    ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await
}

#[tokio::test]
async fn a_job_is_counted_and_who_reads_nothing_holds_back_nobody() {
    let dir = tempfile::tempdir().unwrap();
    for side in ["source", "target"] {
        std::fs::create_dir(dir.path().join(side)).unwrap();
    }
    std::fs::write(dir.path().join("source/a"), "12345").unwrap();
    let base = dir.path().join("base");
    let (stop, address) = daemon(&base).await;
    let before = scrape(address).await;
    assert!(before.starts_with("HTTP/1.1 200 OK\r\n"), "{before}");
    assert!(before.contains("content-type: text/plain; version=0.0.4"));
    assert!(before.contains("\nwl_jobs{state=\"SYNCED\"} 0\n"));
    let silent = TcpStream::connect(address).await.unwrap();
    let mut client = Client::connect(&socket_path(&base)).await.unwrap();
    let job = json!({
        "container-name": "box", "job-id": "j\"1", "continuous": true, "unidirectional": false,
        "source": local(&dir.path().join("source")), "target": local(&dir.path().join("target")),
    });
    client.ask("start", job).await.unwrap();
    state(&mut client, "j\"1", State::Synced).await;
    client.ask("no-such-thing", json!({})).await.unwrap_err();
    let after = scrape(address).await;
    for line in [
        "wl_jobs{state=\"SYNCED\"} 1",
        "wl_job_written_bytes_total{job=\"j\\\"1\",container=\"box\"} 5",
        "wl_job_changes_total{job=\"j\\\"1\",container=\"box\",side=\"target\"} 1",
        "wl_connections_total 1",
        "wl_requests_total 2",
        "wl_requests_refused_total 1",
    ] {
        assert!(after.lines().any(|it| it == line), "{line}\n{after}");
    }
    assert!(after.contains("\nwl_job_last_agreement_timestamp_seconds{job="));
    drop(silent);
    stop.cancel();
}

#[tokio::test]
async fn only_metrics_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let (stop, address) = daemon(&dir.path().join("base")).await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        (
            "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            "405",
        ),
        ("nonsense\r\n\r\n", "400"),
    ] {
        let answer = ask(address, request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
    stop.cancel();
}

#[tokio::test]
async fn addresses_that_others_reach_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let options = DaemonOptions {
        base_dir: dir.path().join("base"),
        socket: None,
        version: "1.2.3".to_owned(),
    };
    let refused = async |address: &str| {
        let address = address.parse().unwrap();
        let daemon = Daemon::start_with_metrics(options.clone(), Some(address));
        daemon.await.unwrap_err().to_string()
    };
    for address in [
        "0.0.0.0:0",
        "[::]:0",
        "192.0.2.1:9464",
        "[::ffff:0.0.0.0]:0",
    ] {
        let error = refused(address).await;
        assert!(error.contains("other machines can reach"), "{error}");
        assert!(error.contains("loopback"), "{error}");
    }
    // A port that is taken is told before anything else happens: the record of the jobs, which is damaged, is not touched.
    let record = dir.path().join("base/state/jobs.json");
    std::fs::write(&record, "damaged").unwrap();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let error = refused(&taken).await;
    assert!(error.contains(&taken), "{error}");
    assert!(record.exists());
    assert!(!socket_path(&dir.path().join("base")).exists());
}

#[tokio::test]
async fn silent_clients_delay_a_scrape_by_little() {
    let dir = tempfile::tempdir().unwrap();
    let (stop, address) = daemon(&dir.path().join("base")).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    // Three turns of a second each; of what waits until it is hung up on for its slowness, three turns of ten.
    let limit = std::time::Duration::from_secs(20);
    let scraped = tokio::time::timeout(limit, scrape(address)).await;
    assert!(scraped.unwrap().starts_with("HTTP/1.1 200"));
    stop.cancel();
}
