//! The store, on Python's web server.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::*;

struct Python(Child);

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server of `folder`; `None` where there is no Python.
fn serve(folder: &std::path::Path) -> Option<(Python, String)> {
    let mut child = Command::new("python3")
        .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"])
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take()?)
        .read_line(&mut line)
        .ok()?;
    let port = line
        .split_whitespace()
        .skip_while(|word| *word != "port")
        .nth(1)?
        .to_owned();
    Some((Python(child), format!("http://127.0.0.1:{port}")))
}

async fn names(store: &Http, at: &str) -> Vec<(String, Kind, u64)> {
    let mut pages = store
        .list(List::Folder(&SyncPath::new(at).unwrap()))
        .await
        .unwrap();
    let mut rows = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        rows.extend(
            page.into_iter()
                .map(|row| (row.name, row.found.kind, row.found.size)),
        );
    }
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_servers_folder_can_be_listed_and_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("d #1")).unwrap();
    std::fs::write(folder.path().join("d #1/in"), "inside").unwrap();
    std::fs::write(folder.path().join("a%20&b?.txt"), "0123456789").unwrap();
    let Some((_python, url)) = serve(folder.path()) else {
        return;
    };
    let store = Http::new(Client::new(&url, None).unwrap());
    let rows = names(&store, "").await;
    assert_eq!(
        rows,
        [
            ("a%20&b?.txt".to_owned(), Kind::File, 10),
            ("d #1".to_owned(), Kind::Folder, 0)
        ]
    );
    assert_eq!(
        names(&store, "d #1").await,
        [("in".to_owned(), Kind::File, 6)]
    );
    let kind = async |at: &str| {
        store
            .stat(&SyncPath::new(at).unwrap())
            .await
            .unwrap()
            .map(|found| found.kind)
    };
    assert_eq!(kind("").await, Some(Kind::Folder));
    assert_eq!(kind("d #1").await, Some(Kind::Folder));
    assert_eq!(kind("missing").await, None);
    // This server knows no ranges: what was not asked for is left out here.
    let reading = store
        .read(&SyncPath::new("a%20&b?.txt").unwrap(), 3..7, None)
        .await
        .unwrap();
    let pieces: Vec<_> = reading.pieces.map(|piece| piece.unwrap()).collect().await;
    assert_eq!(pieces.concat(), b"3456");
    let refused = store
        .remove(&SyncPath::new("d #1/in").unwrap(), &Condition::None)
        .await;
    assert_eq!(refused.unwrap_err().error.kind(), ErrorKind::Unsupported);
}
