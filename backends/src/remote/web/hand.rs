//! For tests: somebody who works at the server's own machine.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use wl_core::testing::conformance::Editor;
use wl_test_servers::webdav;

/// The folder of the server that is synced, as it is in addresses.
pub(crate) const ROOT: &str = "ro%20ot";

pub(crate) struct Hand(pub(crate) webdav::Editor);

/// A path as the server's own editor wants it.
fn escaped(path: &str) -> String {
    let mut out = format!("{ROOT}/");
    for byte in path.bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[async_trait]
impl Editor for Hand {
    async fn write(&self, path: &str, content: &[u8]) {
        self.0.put(&escaped(path), content.to_vec());
    }

    async fn write_in_place(&self, path: &str, content: &[u8]) {
        self.0.put(&escaped(path), content.to_vec());
    }

    async fn remove(&self, path: &str) {
        assert!(self.0.delete(&escaped(path)), "{path} was not there");
    }

    async fn make_folder(&self, path: &str) {
        for (at, _) in path.match_indices('/') {
            self.0.make_folder(&escaped(&path[..at]));
        }
        self.0.make_folder(&escaped(path));
    }

    async fn make_link(&self, path: &str, _: &str) {
        unreachable!("there are no links here: {path}");
    }

    async fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.0.get(&escaped(path)).map(Vec::from)
    }
}

/// The only way for a time to age is that time passes: until two seconds after this one, as the clock shows them, and two for
/// what is not known of the server's.
pub(crate) async fn until_settled() {
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let until = Duration::from_secs(now().unwrap().as_secs() + 4);
    while now().unwrap() <= until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
