//! A server that greets and then says nothing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::sftp::connection::{Ends, Silence};
use crate::sftp::dial::Failure;
use crate::sftp::packet;

/// Leads to the real server, but for the second time.
#[derive(Debug, Default)]
struct Moody(AtomicUsize);

#[async_trait]
impl Dial for Moody {
    async fn dial(&self) -> Result<Ends, Failure> {
        if self.0.fetch_add(1, Ordering::SeqCst) != 1 {
            return server().dial().await;
        }
        let (to, mut requests) = tokio::io::duplex(64 * 1024);
        let (mut answers, from) = tokio::io::duplex(64 * 1024);
        tokio::spawn(async move {
            let greeting = [0, 0, 0, 5, packet::VERSION, 0, 0, 0, 3];
            answers.write_all(&greeting).await.expect("a greeting");
            let mut heard = Vec::new();
            // The line stays open as long as somebody speaks.
            requests.read_to_end(&mut heard).await.expect("requests");
            drop(answers);
        });
        Ok(Ends {
            to: Box::new(to),
            from: Box::new(from),
            complaints: None,
            child: None,
            silence: Silence {
                usual: Duration::from_millis(20),
                long: Duration::from_secs(3600),
            },
        })
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_and_dialled_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store_at(Box::new(Moody::default()), folder.path()).await;
    let none = Attributes::default();
    put(&store, "f", b"1", &none, &Condition::Absent)
        .await
        .expect("written");
    store.hang_up().await;
    let fault = put(&store, "f", b"2", &none, &Condition::None)
        .await
        .expect_err("no answer");
    let text = fault.error.to_string();
    assert!(text.contains("does not answer any more"), "{text}");
    assert_eq!(fault.error.kind(), ErrorKind::Temporary);
    assert_eq!(fault.again, Again::After(None));
    assert_eq!(read(&store, "f", 0..1).await.expect("anew"), b"1");
}
