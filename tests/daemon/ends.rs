//! The end of a daemon.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use crate::world::World;

#[tokio::test]
async fn who_has_heard_of_the_end_can_start_the_next_one_at_once() {
    let mut world = World::new().await;
    let mut client = world.client().await;
    // One that reads nothing holds up the farewell.
    let mut deaf = UnixStream::connect(world.socket()).await.unwrap();
    let requests = b"{\"cmd\": \"version\"}\n\n".repeat(1000);
    let second = Duration::from_secs(1);
    while tokio::time::timeout(second, deaf.write_all(&requests))
        .await
        .is_ok()
    {}
    client.ask("shutdown", json!({})).await.unwrap();
    while let Ok(Some(_)) = client.next_event().await {}
    world.start().await;
}
