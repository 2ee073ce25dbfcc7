//! A slow line: a relay that hands on each piece some time after it came, both ways. It slows the answers, not the stream.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// Pieces on their way, at most.
const PIECES: usize = 256;

type Piece = (Instant, Vec<u8>);

/// Listens on the loopback and hands on to a server, each way so much later. The port; it lasts as long as the program.
pub fn start(server: String, delay: Duration) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = server.clone();
            // A connection that breaks is the tool's to report.
            thread::spawn(move || connect(&client, &server, delay));
        }
    });
    Ok(port)
}

fn connect(client: &TcpStream, server: &str, delay: Duration) -> std::io::Result<()> {
    let server = TcpStream::connect(server)?;
    for (from, to) in [(client, &server), (&server, client)] {
        to.set_nodelay(true)?;
        let (sender, pieces) = sync_channel(PIECES);
        let (from, to) = (from.try_clone()?, to.try_clone()?);
        thread::spawn(move || take(from, &sender, delay));
        thread::spawn(move || give(&pieces, to));
    }
    Ok(())
}

/// Until there is no more, or nobody takes it.
fn take(mut from: TcpStream, pieces: &SyncSender<Piece>, delay: Duration) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let piece = (Instant::now() + delay, buffer[..length].to_vec());
        if pieces.send(piece).is_err() {
            return;
        }
    }
}

fn give(pieces: &Receiver<Piece>, mut to: TcpStream) {
    for (due, piece) in pieces {
        // The delay is what this is for.
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&piece).is_err() {
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_comes_through_later_and_the_end_too() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let mut client = listener.accept().unwrap().0;
            let mut asked = Vec::new();
            client.read_to_end(&mut asked).unwrap();
            asked.reverse();
            client.write_all(&asked).unwrap();
        });
        let delay = Duration::from_millis(30);
        let port = start(server, delay).unwrap();
        let begin = Instant::now();
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        client.write_all(&[1; 100_000]).unwrap();
        client.write_all(&[2; 100_000]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, [[2; 100_000], [1; 100_000]].concat());
        assert!(begin.elapsed() >= 2 * delay);
    }
}
