//! The operations, as s3s asks for them.

use std::sync::Arc;

use async_trait::async_trait;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

use super::Options;
use super::condition::Conditions;
use super::content::{Incoming, checksums_of};
use super::convert::{described, kept_of, listed, ranged, source_of, strong};
use super::list::{After, LastPage, Page, PageSize, Query};
use super::multipart::{self, Completion};
use super::store::{self, Buckets, Objects, Part, Store, md5_hex};

/// What a fault attaches to a listing that shall show what was there before.
#[derive(Clone)]
pub(crate) struct Stale(pub(crate) Arc<std::collections::BTreeMap<String, Objects>>);

/// The service.
pub(crate) struct Service {
    pub(crate) store: Store,
    pub(crate) options: Options,
}

type Answer<T> = S3Result<S3Response<T>>;

fn answer<T>(output: T) -> Answer<T> {
    Ok(S3Response::new(output))
}

fn bucket<'a>(buckets: &'a mut Buckets, name: &str) -> S3Result<&'a mut store::Bucket> {
    buckets.get_mut(name).ok_or_else(|| s3_error!(NoSuchBucket))
}

fn object<'a>(objects: &'a Objects, key: &str) -> S3Result<&'a store::Object> {
    objects.get(key).ok_or_else(|| s3_error!(NoSuchKey))
}

fn page_size<T>(request: &S3Request<T>, asked: Option<i32>) -> S3Result<usize> {
    let asked = usize::try_from(asked.unwrap_or(1000))
        .map_err(|_| s3_error!(InvalidArgument, "A page has a negative size"))?;
    let most = request.extensions.get::<PageSize>();
    Ok(asked.min(1000).min(most.map_or(1000, |size| size.0)))
}

fn is_last<T>(request: &S3Request<T>) -> bool {
    request.extensions.get::<LastPage>().is_some()
}

impl Service {
    /// What is listed: what is there, or what a fault says was there.
    fn page<T>(&self, request: &S3Request<T>, name: &str, query: &Query) -> S3Result<Page> {
        let mut page = if let Some(Stale(before)) = request.extensions.get::<Stale>() {
            let objects = before.get(name).ok_or_else(|| s3_error!(NoSuchBucket))?;
            Page::of(objects, query)
        } else {
            let mut buckets = self.store.lock();
            let bucket = bucket(&mut buckets, name)?;
            let mut page = Page::of(&bucket.objects, query);
            if query.delimiter.is_some() && query.after.is_none() {
                page.prefixes.extend(bucket.emptied_in(&query.prefix));
            }
            page
        };
        if is_last(request) {
            page.next = None;
        }
        Ok(page)
    }

    /// Whether one request may copy so many bytes.
    fn allow_size(&self, bytes: usize) -> S3Result<()> {
        match bytes > self.options.max_copy {
            true => Err(s3_error!(
                InvalidRequest,
                "The specified copy source is larger than the maximum allowable size for a copy source"
            )),
            false => Ok(()),
        }
    }

    fn copy(&self, mut request: S3Request<CopyObjectInput>) -> S3Result<store::Object> {
        let destination = Conditions::of_headers(&request.extensions, &request.headers)?;
        let (headers, metadata) = kept_of!(request.input);
        let input = request.input;
        let source = Conditions::new(
            &request.extensions,
            input.copy_source_if_match,
            input.copy_source_if_none_match,
        );
        let (from, key) = source_of(&input.copy_source)?;
        let mut buckets = self.store.lock();
        let found = object(&bucket(&mut buckets, from)?.objects, key)?;
        source.allow_copy(found)?;
        self.allow_size(found.content.len())?;
        let mut copy = store::Object::new(found.content.clone(), md5_hex(&found.content));
        copy.checksum = found.checksum.clone();
        (copy.headers, copy.metadata) = (found.headers.clone(), found.metadata.clone());
        let directive = input.metadata_directive.as_ref();
        if directive.is_some_and(|it| it.as_str() == MetadataDirective::REPLACE) {
            (copy.headers, copy.metadata) = (headers, metadata);
        } else if from == input.bucket && key == input.key {
            return Err(s3_error!(
                InvalidRequest,
                "A copy onto itself changes nothing"
            ));
        }
        let bucket = bucket(&mut buckets, &input.bucket)?;
        let current = bucket.current(&input.key);
        destination.allow_write(current.as_ref(), self.options.if_match_on_absent)?;
        bucket.objects.insert(input.key, copy.clone());
        Ok(copy)
    }
}

#[async_trait]
impl S3 for Service {
    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> Answer<CreateBucketOutput> {
        let mut buckets = self.store.lock();
        if buckets.contains_key(&request.input.bucket) {
            return Err(s3_error!(BucketAlreadyOwnedByYou));
        }
        buckets.insert(request.input.bucket, store::Bucket::default());
        answer(CreateBucketOutput::default())
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
        bucket(&mut self.store.lock(), &request.input.bucket)?;
        answer(HeadBucketOutput::default())
    }

    async fn delete_bucket(
        &self,
        request: S3Request<DeleteBucketInput>,
    ) -> Answer<DeleteBucketOutput> {
        let mut buckets = self.store.lock();
        if !bucket(&mut buckets, &request.input.bucket)?
            .objects
            .is_empty()
        {
            return Err(s3_error!(BucketNotEmpty));
        }
        buckets.remove(&request.input.bucket);
        answer(DeleteBucketOutput::default())
    }

    async fn list_buckets(&self, _: S3Request<ListBucketsInput>) -> Answer<ListBucketsOutput> {
        let buckets = self.store.lock();
        let bucket = |(name, bucket): (&String, &store::Bucket)| Bucket {
            name: Some(name.clone()),
            creation_date: Some(bucket.created.into()),
            ..Default::default()
        };
        answer(ListBucketsOutput {
            buckets: Some(buckets.iter().map(bucket).collect()),
            ..Default::default()
        })
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> Answer<GetBucketLocationOutput> {
        bucket(&mut self.store.lock(), &request.input.bucket)?;
        answer(GetBucketLocationOutput::default())
    }

    async fn put_object(&self, mut request: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
        let input = &mut request.input;
        let (headers, metadata) = kept_of!(input);
        let incoming = Incoming {
            body: input.body.take(),
            md5: input.content_md5.take(),
            checksum: checksums_of!(input),
            trailing: request.trailing_headers.take(),
            sums: request.extensions.get().copied(),
        };
        let (if_match, if_none_match) = (input.if_match.take(), input.if_none_match.take());
        let conditions = Conditions::new(&request.extensions, if_match, if_none_match);
        let (content, checksum) = incoming.read().await?;
        let etag = md5_hex(&content);
        let mut object = store::Object::new(content, etag.clone());
        (object.headers, object.metadata) = (headers, metadata);
        object.checksum = checksum.clone();
        object.checksum.checksum_type = Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT));
        let input = request.input;
        {
            let mut buckets = self.store.lock();
            let bucket = bucket(&mut buckets, &input.bucket)?;
            let current = bucket.current(&input.key);
            conditions.allow_write(current.as_ref(), self.options.if_match_on_absent)?;
            object.modified = std::time::SystemTime::now();
            bucket.objects.insert(input.key, object);
        }
        answer(PutObjectOutput {
            e_tag: strong(&etag),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            ..Default::default()
        })
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
        let input = request.input;
        let found = {
            let mut buckets = self.store.lock();
            object(&bucket(&mut buckets, &input.bucket)?.objects, &input.key)?.clone()
        };
        Conditions::new(&request.extensions, input.if_match, input.if_none_match)
            .allow_read(&found)?;
        let (content, content_range) = ranged(&found.content, input.range)?;
        let with_sums = input.checksum_mode.is_some() && content_range.is_none();
        let mut output = described!(GetObjectOutput, found, with_sums);
        output.content_length = Some(content.len() as i64);
        output.content_range = content_range;
        output.body = Some(StreamingBlob::from(s3s::Body::from(content)));
        answer(output)
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
        let input = request.input;
        let found = {
            let mut buckets = self.store.lock();
            let bucket = bucket(&mut buckets, &input.bucket)?;
            let emptied = bucket.emptied(&input.key);
            match emptied.filter(|_| input.key.ends_with('/')) {
                Some(folder) => folder,
                None => object(&bucket.objects, &input.key)?.clone(),
            }
        };
        Conditions::new(&request.extensions, input.if_match, input.if_none_match)
            .allow_read(&found)?;
        let mut output = described!(HeadObjectOutput, found, input.checksum_mode.is_some());
        output.content_length = Some(found.content.len() as i64);
        answer(output)
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> Answer<DeleteObjectOutput> {
        let input = request.input;
        let conditions = Conditions::new(&request.extensions, input.if_match, None);
        let mut buckets = self.store.lock();
        let bucket = bucket(&mut buckets, &input.bucket)?;
        let current = bucket.objects.get(&input.key);
        conditions.allow_write(current, self.options.if_match_on_absent)?;
        bucket.remove(&input.key);
        answer(DeleteObjectOutput::default())
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> Answer<DeleteObjectsOutput> {
        let input = request.input;
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        let mut buckets = self.store.lock();
        let bucket = bucket(&mut buckets, &input.bucket)?;
        for asked in input.delete.objects {
            let if_match = asked.e_tag.map(ETagCondition::ETag);
            let conditions = Conditions::new(&request.extensions, if_match, None);
            let on_absent = self.options.if_match_on_absent;
            match conditions.allow_write(bucket.objects.get(&asked.key), on_absent) {
                Ok(()) => {
                    bucket.remove(&asked.key);
                    deleted.push(DeletedObject {
                        key: Some(asked.key),
                        ..Default::default()
                    });
                }
                Err(error) => errors.push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    key: Some(asked.key),
                    ..Default::default()
                }),
            }
        }
        let deleted = (!input.delete.quiet.unwrap_or(false)).then_some(deleted);
        answer(DeleteObjectsOutput {
            deleted,
            errors: Some(errors),
            ..Default::default()
        })
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> Answer<CopyObjectOutput> {
        let copy = self.copy(request)?;
        answer(CopyObjectOutput {
            copy_object_result: Some(CopyObjectResult {
                e_tag: strong(&copy.etag),
                last_modified: Some(copy.modified.into()),
                ..Default::default()
            }),
            ..Default::default()
        })
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> Answer<ListObjectsV2Output> {
        let input = &request.input;
        let token = input.continuation_token.as_deref();
        let token = token.map(After::parse).transpose()?;
        let start = input.start_after.clone().map(After::Key);
        let query = Query {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone().filter(|it| !it.is_empty()),
            after: token.or(start),
            most: page_size(&request, input.max_keys)?,
            folders: self.options.folders_first,
        };
        let page = self.page(&request, &input.bucket, &query)?;
        let (contents, common_prefixes) = listed(&page, input.encoding_type.as_ref());
        let input = request.input;
        answer(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix,
            delimiter: input.delimiter,
            max_keys: Some(query.most as i32),
            key_count: Some((contents.len() + common_prefixes.len()) as i32),
            continuation_token: input.continuation_token,
            start_after: input.start_after,
            encoding_type: input.encoding_type,
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.as_ref().map(After::token),
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            ..Default::default()
        })
    }

    async fn list_objects(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> Answer<ListObjectsOutput> {
        let input = &request.input;
        let delimiter = input.delimiter.clone().filter(|it| !it.is_empty());
        let is_prefix = |marker: &String| delimiter.as_ref().is_some_and(|it| marker.ends_with(it));
        let after = |marker: String| match is_prefix(&marker) {
            true => After::Prefix(marker),
            false => After::Key(marker),
        };
        let query = Query {
            prefix: input.prefix.clone().unwrap_or_default(),
            after: input.marker.clone().map(after),
            delimiter,
            most: page_size(&request, input.max_keys)?,
            folders: self.options.folders_first,
        };
        let page = self.page(&request, &input.bucket, &query)?;
        let (contents, common_prefixes) = listed(&page, input.encoding_type.as_ref());
        let next_marker = page.next.as_ref().map(|next| match next {
            After::Key(name) | After::Prefix(name) | After::Told(name) => name.clone(),
        });
        let input = request.input;
        answer(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: input.prefix,
            delimiter: input.delimiter,
            max_keys: Some(query.most as i32),
            marker: input.marker,
            encoding_type: input.encoding_type,
            is_truncated: Some(page.next.is_some()),
            next_marker,
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            ..Default::default()
        })
    }

    async fn create_multipart_upload(
        &self,
        mut request: S3Request<CreateMultipartUploadInput>,
    ) -> Answer<CreateMultipartUploadOutput> {
        let (headers, metadata) = kept_of!(request.input);
        let input = request.input;
        let id = multipart::new_id();
        let upload = store::Upload {
            id: id.clone(),
            key: input.key.clone(),
            started: std::time::SystemTime::now(),
            parts: std::collections::BTreeMap::new(),
            metadata,
            headers,
        };
        let mut buckets = self.store.lock();
        let uploads = &mut bucket(&mut buckets, &input.bucket)?.uploads;
        uploads.insert((input.key.clone(), id.clone()), upload);
        answer(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..Default::default()
        })
    }

    async fn upload_part(
        &self,
        mut request: S3Request<UploadPartInput>,
    ) -> Answer<UploadPartOutput> {
        let input = &mut request.input;
        let incoming = Incoming {
            body: input.body.take(),
            md5: input.content_md5.take(),
            checksum: checksums_of!(input),
            trailing: request.trailing_headers.take(),
            sums: None,
        };
        let (content, checksum) = incoming.read().await?;
        let (part, input) = (Part::new(content), request.input);
        if !(1..=10_000).contains(&input.part_number) {
            return Err(s3_error!(
                InvalidArgument,
                "Parts are numbered from 1 to 10000"
            ));
        }
        let etag = part.etag.clone();
        let mut buckets = self.store.lock();
        let bucket = bucket(&mut buckets, &input.bucket)?;
        let upload = multipart::find(bucket, &input.key, &input.upload_id)?;
        upload.parts.insert(input.part_number, part);
        answer(UploadPartOutput {
            e_tag: strong(&etag),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            ..Default::default()
        })
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> Answer<UploadPartCopyOutput> {
        let input = request.input;
        let conditions = Conditions::new(
            &request.extensions,
            input.copy_source_if_match,
            input.copy_source_if_none_match,
        );
        let range = input.copy_source_range.as_deref().map(Range::parse);
        let range = range
            .transpose()
            .map_err(|_| s3_error!(InvalidArgument, "The range cannot be read"))?;
        let (from, key) = source_of(&input.copy_source)?;
        let mut buckets = self.store.lock();
        let source = object(&bucket(&mut buckets, from)?.objects, key)?;
        conditions.allow_copy(source)?;
        let part = Part::new(ranged(&source.content, range)?.0);
        self.allow_size(part.content.len())?;
        let result = CopyPartResult {
            e_tag: strong(&part.etag),
            last_modified: Some(part.modified.into()),
            ..Default::default()
        };
        let bucket = bucket(&mut buckets, &input.bucket)?;
        let upload = multipart::find(bucket, &input.key, &input.upload_id)?;
        upload.parts.insert(input.part_number, part);
        answer(UploadPartCopyOutput {
            copy_part_result: Some(result),
            ..Default::default()
        })
    }

    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> Answer<ListPartsOutput> {
        let most = page_size(&request, request.input.max_parts)?;
        let lies = is_last(&request);
        let input = request.input;
        let mut buckets = self.store.lock();
        let bucket = bucket(&mut buckets, &input.bucket)?;
        let upload = multipart::find(bucket, &input.key, &input.upload_id)?;
        let from = input.part_number_marker.unwrap_or_default() + 1;
        let part = |(number, part): (&i32, &Part)| s3s::dto::Part {
            part_number: Some(*number),
            e_tag: strong(&part.etag),
            size: Some(part.content.len() as i64),
            last_modified: Some(part.modified.into()),
            ..Default::default()
        };
        let parts: Vec<_> = upload.parts.range(from..).take(most).map(part).collect();
        let last = parts.last().and_then(|part| part.part_number);
        let is_more = last.is_some_and(|last| upload.parts.range(last + 1..).next().is_some());
        let is_more = is_more && !lies;
        answer(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            max_parts: Some(most as i32),
            part_number_marker: input.part_number_marker,
            is_truncated: Some(is_more),
            next_part_number_marker: last.filter(|_| is_more),
            parts: Some(parts),
            ..Default::default()
        })
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> Answer<ListMultipartUploadsOutput> {
        let most = page_size(&request, request.input.max_uploads)?;
        let lies = is_last(&request);
        let input = request.input;
        let prefix = input.prefix.clone().unwrap_or_default();
        // Without an id the marker stands behind all uploads of its key.
        let marker = input.key_marker.clone().map(|key| {
            let id = input.upload_id_marker.clone();
            (key, id.unwrap_or_else(|| char::MAX.to_string()))
        });
        let mut buckets = self.store.lock();
        let uploads = &bucket(&mut buckets, &input.bucket)?.uploads;
        let is_listed = |name: &(String, String)| {
            name.0.starts_with(&prefix) && marker.as_ref().is_none_or(|marker| name > marker)
        };
        let mut rest = uploads.iter().filter(|(name, _)| is_listed(name));
        let upload = |(_, upload): (&(String, String), &store::Upload)| MultipartUpload {
            key: Some(upload.key.clone()),
            upload_id: Some(upload.id.clone()),
            initiated: Some(upload.started.into()),
            ..Default::default()
        };
        let page: Vec<_> = rest.by_ref().take(most).map(upload).collect();
        let last = page.last().cloned().filter(|_| !lies);
        let last = last.filter(|_| rest.next().is_some());
        answer(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: input.prefix,
            key_marker: input.key_marker,
            upload_id_marker: input.upload_id_marker,
            max_uploads: Some(most as i32),
            is_truncated: Some(last.is_some()),
            next_key_marker: last.as_ref().and_then(|last| last.key.clone()),
            next_upload_id_marker: last.and_then(|last| last.upload_id),
            uploads: Some(page),
            ..Default::default()
        })
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> Answer<CompleteMultipartUploadOutput> {
        let input = request.input;
        let parts = input.multipart_upload.and_then(|upload| upload.parts);
        let completion = Completion {
            key: input.key.clone(),
            id: input.upload_id,
            parts: parts.unwrap_or_default(),
            conditions: Conditions::new(&request.extensions, input.if_match, input.if_none_match),
            on_absent: self.options.if_match_on_absent,
            least: self.options.min_part_size,
        };
        let etag = completion.perform(bucket(&mut self.store.lock(), &input.bucket)?)?;
        answer(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: strong(&etag),
            ..Default::default()
        })
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> Answer<AbortMultipartUploadOutput> {
        let input = request.input;
        let mut buckets = self.store.lock();
        let bucket = bucket(&mut buckets, &input.bucket)?;
        multipart::find(bucket, &input.key, &input.upload_id)?;
        bucket.uploads.remove(&(input.key, input.upload_id));
        answer(AbortMultipartUploadOutput::default())
    }
}
