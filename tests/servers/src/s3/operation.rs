//! The name of what a request asks for: the same as in the service's documentation.

use ::http::{Method, Request};

/// Whether a query has a parameter.
fn has(query: &str, name: &str) -> bool {
    query.split('&').any(|pair| {
        let key = pair.split_once('=').map_or(pair, |(key, _)| key);
        key == name
    })
}

pub(crate) fn operation(request: &Request<()>) -> &'static str {
    let path = request.uri().path().trim_start_matches('/');
    let query = request.uri().query().unwrap_or_default();
    match path.split_once('/') {
        None if path.is_empty() => "ListBuckets",
        None | Some((_, "")) => of_bucket(request.method(), query),
        Some(_) => {
            let is_copy = request.headers().contains_key("x-amz-copy-source");
            of_object(request.method(), query, is_copy)
        }
    }
}

fn of_bucket(method: &Method, query: &str) -> &'static str {
    match *method {
        Method::GET if query.split('&').any(|pair| pair == "list-type=2") => "ListObjectsV2",
        Method::GET if has(query, "uploads") => "ListMultipartUploads",
        Method::GET if has(query, "location") => "GetBucketLocation",
        Method::GET => "ListObjects",
        Method::HEAD => "HeadBucket",
        Method::PUT => "CreateBucket",
        Method::DELETE => "DeleteBucket",
        Method::POST if has(query, "delete") => "DeleteObjects",
        _ => "Unknown",
    }
}

fn of_object(method: &Method, query: &str, is_copy: bool) -> &'static str {
    match *method {
        Method::PUT if has(query, "partNumber") && is_copy => "UploadPartCopy",
        Method::PUT if has(query, "partNumber") => "UploadPart",
        Method::PUT if is_copy => "CopyObject",
        Method::PUT => "PutObject",
        Method::GET if has(query, "uploadId") => "ListParts",
        Method::GET => "GetObject",
        Method::HEAD => "HeadObject",
        Method::DELETE if has(query, "uploadId") => "AbortMultipartUpload",
        Method::DELETE => "DeleteObject",
        Method::POST if has(query, "uploads") => "CreateMultipartUpload",
        Method::POST if has(query, "uploadId") => "CompleteMultipartUpload",
        _ => "Unknown",
    }
}
