//! A store on a server of our own.

use std::ops::Range;

use bytes::Bytes;
use futures::TryStreamExt;
use wl_core::model::{ContentHash, Mode, SyncPath, Timestamp};
use wl_core::storage::ErrorKind;

use crate::remote::store::{
    Attributes, Condition, Found, List, Listed, Outcome, Put, Store, UploadRequest,
};

pub(super) const MTIME: Timestamp = Timestamp {
    secs: 1_700_000_000,
    nanos: 123_456_789,
};

pub(super) fn path(text: &str) -> SyncPath {
    SyncPath::new(text).unwrap()
}

pub(super) fn attributes(operation: &str) -> Attributes {
    Attributes {
        mtime: Some(MTIME),
        mode: Some(Mode::new(0o640)),
        hash: Some(ContentHash::of(b"hash")),
        verify: false,
        operation: operation.into(),
    }
}

pub(super) async fn put(
    store: &dyn Store,
    name: &str,
    content: &str,
    condition: &Condition,
) -> Outcome<Found> {
    let put = Put {
        path: &path(name),
        content: Bytes::copy_from_slice(content.as_bytes()),
        attributes: &attributes("op-1"),
        condition,
        seen: None,
        scratch: &path(".wl/scratch/1"),
    };
    store.put(put).await
}

pub(super) async fn read(
    store: &dyn Store,
    name: &str,
    range: Range<u64>,
    tag: Option<&str>,
) -> Outcome<(Option<Found>, Vec<u8>)> {
    let reading = store.read(&path(name), range, tag).await?;
    let pieces: Vec<Bytes> = reading.pieces.try_collect().await?;
    Ok((reading.found, pieces.concat()))
}

pub(super) async fn keys(store: &dyn Store, prefix: &str, after: Option<&str>) -> Vec<Listed> {
    let mut pages = store.list(List::Keys { prefix, after }).await.unwrap();
    let mut rows = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        rows.extend(page);
    }
    rows
}

pub(super) async fn names(store: &dyn Store, prefix: &str, after: Option<&str>) -> Vec<String> {
    let rows = keys(store, prefix, after).await;
    rows.into_iter().map(|row| row.name).collect()
}

pub(super) async fn upload(
    store: &dyn Store,
    name: &str,
    content: &Bytes,
    condition: &Condition,
) -> Outcome<Found> {
    let request = UploadRequest {
        path: &path(name),
        size: content.len() as u64,
        attributes: &attributes("op-2"),
        condition,
        scratch: &path(".wl/scratch/2"),
    };
    let mut upload = store.upload(request).await?;
    for at in (0..content.len()).step_by(1_000_003) {
        let end = content.len().min(at + 1_000_003);
        upload.write(content.slice(at..end)).await?;
    }
    upload.finish().await?;
    match upload.commit().await {
        Ok(found) => Ok(found),
        Err(fault) => {
            upload.abort().await?;
            Err(fault)
        }
    }
}

pub(super) fn kind<T>(outcome: Outcome<T>) -> ErrorKind {
    match outcome {
        Ok(_) => panic!("it should have failed"),
        Err(fault) => fault.error.kind(),
    }
}

/// Content that is no repetition of itself.
pub(super) fn noise(bytes: usize) -> Bytes {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut content = Vec::with_capacity(bytes + 8);
    while content.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content.extend_from_slice(&state.to_le_bytes());
    }
    content.truncate(bytes);
    content.into()
}
