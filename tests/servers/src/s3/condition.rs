//! Conditions of reads and writes.

use ::http::{Extensions, HeaderMap};
use s3s::dto::{ETag, ETagCondition};
use s3s::{S3Result, s3_error};

use super::store::Object;

/// What a fault attaches to a request whose conditions shall be ignored.
#[derive(Clone)]
pub(crate) struct Ignored;

/// How a server that has no such object answers a write with `If-Match`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfMatchOnAbsent {
    /// 404 `NoSuchKey`, as AWS documents it.
    #[default]
    NotFound,
    /// 412 `PreconditionFailed`, as SeaweedFS and others do it.
    Failed,
}

/// What a fault attaches to a copy whose condition on what it replaces shall be ignored, but not the one on what it copies.
#[derive(Clone)]
pub(crate) struct TargetIgnored;

/// The two headers.
#[derive(Default)]
pub(crate) struct Conditions {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_none_match: Option<ETagCondition>,
}

impl Conditions {
    /// Those of a request, unless a fault says that this server does not know conditions.
    pub(crate) fn new(
        extensions: &Extensions,
        if_match: Option<ETagCondition>,
        if_none_match: Option<ETagCondition>,
    ) -> Self {
        if extensions.get::<Ignored>().is_some() {
            return Self::default();
        }
        Self {
            if_match,
            if_none_match,
        }
    }

    /// Those of the destination of a copy, which this version of s3s does not parse.
    pub(crate) fn of_headers(extensions: &Extensions, headers: &HeaderMap) -> S3Result<Self> {
        if extensions.get::<TargetIgnored>().is_some() {
            return Ok(Self::default());
        }
        let condition = |name: &str| {
            let value = headers.get(name);
            let parse = |value: &::http::HeaderValue| {
                ETagCondition::parse_http_header(value.as_bytes())
                    .map_err(|_| s3_error!(InvalidArgument, "{name} cannot be read"))
            };
            value.map(parse).transpose()
        };
        let (if_match, if_none_match) = (condition("if-match")?, condition("if-none-match")?);
        Ok(Self::new(extensions, if_match, if_none_match))
    }

    /// Whether a write may replace what is there.
    pub(crate) fn allow_write(
        &self,
        current: Option<&Object>,
        on_absent: IfMatchOnAbsent,
    ) -> S3Result<()> {
        if let Some(wanted) = &self.if_match {
            let Some(current) = current else {
                return Err(match on_absent {
                    IfMatchOnAbsent::NotFound => s3_error!(NoSuchKey),
                    IfMatchOnAbsent::Failed => s3_error!(PreconditionFailed),
                });
            };
            if !is_met(wanted, current) {
                return Err(s3_error!(PreconditionFailed));
            }
        }
        match &self.if_none_match {
            None => Ok(()),
            Some(ETagCondition::Any) if current.is_some() => Err(s3_error!(PreconditionFailed)),
            Some(ETagCondition::Any) => Ok(()),
            Some(ETagCondition::ETag(_)) => {
                Err(s3_error!(NotImplemented, "If-None-Match of a write is *"))
            }
        }
    }

    /// Whether an object may be read.
    pub(crate) fn allow_read(&self, current: &Object) -> S3Result<()> {
        let is =
            |wanted: &Option<ETagCondition>| wanted.as_ref().map(|wanted| is_met(wanted, current));
        if is(&self.if_match) == Some(false) {
            return Err(s3_error!(PreconditionFailed));
        }
        if is(&self.if_none_match) == Some(true) {
            return Err(s3_error!(NotModified));
        }
        Ok(())
    }

    /// Whether an object may be copied.
    pub(crate) fn allow_copy(&self, source: &Object) -> S3Result<()> {
        self.allow_read(source)
            .map_err(|_| s3_error!(PreconditionFailed))
    }
}

fn is_met(wanted: &ETagCondition, current: &Object) -> bool {
    match wanted {
        ETagCondition::Any => true,
        ETagCondition::ETag(ETag::Strong(etag)) => *etag == current.etag,
        ETagCondition::ETag(ETag::Weak(_)) => false,
    }
}
