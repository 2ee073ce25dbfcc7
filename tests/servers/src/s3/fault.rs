//! The faults that only an S3 server can have.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use super::condition::{Ignored, TargetIgnored};
use super::content::Sums;
use super::list::{LastPage, PageSize};
use super::service::Stale;
use super::store::Store;
use crate::faults::{Action, Fault, Faults, When, Which};

/// The operations whose listings have pages.
const PAGED: [&str; 4] = [
    "ListObjectsV2",
    "ListObjects",
    "ListParts",
    "ListMultipartUploads",
];

/// A kind of conditional request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conditional {
    /// `PutObject` with `If-None-Match`.
    PutAbsent,
    /// `PutObject` with `If-Match`.
    PutMatch,
    /// `DeleteObject` with `If-Match`.
    DeleteMatch,
    /// `CompleteMultipartUpload` with either.
    Complete,
    /// `CopyObject` and `UploadPartCopy` with a condition on the source or on the destination.
    Copy,
    /// `GetObject` and `HeadObject` with either.
    Read,
}

impl Conditional {
    /// All kinds of writes.
    pub const WRITES: [Self; 5] = [
        Self::PutAbsent,
        Self::PutMatch,
        Self::DeleteMatch,
        Self::Complete,
        Self::Copy,
    ];

    /// The requests of this kind: for [`Faults::refuse`] and its like.
    #[must_use]
    pub fn which(self) -> Which {
        let either: &'static [&'static str] = &["if-match", "if-none-match"];
        match self {
            Self::PutAbsent => Which::operation("PutObject").with_header("if-none-match"),
            Self::PutMatch => Which::operation("PutObject").with_header("if-match"),
            Self::DeleteMatch => Which::operation("DeleteObject").with_header("if-match"),
            Self::Complete => with_any(&["CompleteMultipartUpload"], either),
            Self::Read => with_any(&["GetObject", "HeadObject"], either),
            Self::Copy => with_any(
                &["CopyObject", "UploadPartCopy"],
                &[
                    "if-match",
                    "if-none-match",
                    "x-amz-copy-source-if-match",
                    "x-amz-copy-source-if-none-match",
                ],
            ),
        }
    }
}

fn with_any(operations: &[&str], headers: &'static [&'static str]) -> Which {
    Which::operations(operations.iter().copied()).and(move |seen| {
        headers
            .iter()
            .any(|header| seen.headers.contains_key(*header))
    })
}

/// The faults of an S3 server: those of [`Faults`] and its own.
#[derive(Clone)]
pub struct S3Faults {
    faults: Faults,
    store: Store,
}

impl S3Faults {
    pub(crate) fn new(faults: Faults, store: Store) -> Self {
        Self { faults, store }
    }

    /// Attaches a word to requests that the service understands.
    fn attach<T: Clone + Send + Sync + 'static>(&self, which: Which, when: When, word: T) -> Fault {
        let attach = move |request: &mut ::http::Request<bytes::Bytes>| {
            request.extensions_mut().insert(word.clone());
        };
        self.faults.add(which, when, Action::change_request(attach))
    }

    /// Does what is asked without looking at the conditions, as some servers do.
    pub fn ignore_conditions(&self, of: Conditional) -> Fault {
        self.attach(of.which(), When::Always, Ignored)
    }

    /// Copies over an object without looking at `If-Match`, but does look at the condition on what is copied.
    pub fn ignore_copy_match(&self) -> Fault {
        let which = Which::operation("CopyObject").with_header("if-match");
        self.attach(which, When::Always, TargetIgnored)
    }

    /// [`S3Faults::ignore_conditions`] of every kind of write.
    pub fn ignore_all_conditions(&self) -> Fault {
        let which = Which::any().and(|seen| {
            let mut kinds = Conditional::WRITES.iter();
            kinds.any(|kind| kind.which().holds(seen))
        });
        self.attach(which, When::Always, Ignored)
    }

    /// Does with the checksums of whole objects what it should not.
    pub fn sums(&self, how: Sums) -> Fault {
        self.attach(Which::operation("PutObject"), When::Always, how)
    }

    /// Says that conditional requests of a kind do not exist here: 501.
    pub fn refuse_conditions(&self, of: Conditional) -> Fault {
        let refusal = crate::faults::Refusal::not_implemented();
        self.faults.refuse(of.which(), When::Always, refusal)
    }

    /// Answers listings of objects from what is there now, whatever comes later.
    pub fn stale_listings(&self, when: When) -> Fault {
        let now: BTreeMap<_, _> = {
            let buckets = self.store.lock();
            let each = buckets.iter();
            each.map(|(name, bucket)| (name.clone(), bucket.objects.clone()))
                .collect()
        };
        let which = Which::operations(["ListObjectsV2", "ListObjects"]);
        self.attach(which, when, Stale(Arc::new(now)))
    }

    /// Says of a page of a listing that it is the last one, although more follows.
    pub fn end_listings_early(&self, when: When) -> Fault {
        self.attach(Which::operations(PAGED), when, LastPage)
    }

    /// Makes the pages of all listings small.
    pub fn page_size(&self, size: usize) -> Fault {
        self.attach(Which::operations(PAGED), When::Always, PageSize(size))
    }
}

impl Deref for S3Faults {
    type Target = Faults;

    fn deref(&self) -> &Faults {
        &self.faults
    }
}
