//! What an endpoint's answer means: is the object not there, does it refuse, or may another know better.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::object::Cause;

/// How one endpoint failed at one request.
pub(super) enum Failure {
    /// The object is not there.
    NotFound,
    /// It will say the same again: another endpoint may know better.
    Refused(Cause),
    /// Ask another, or later.
    Unavailable(Cause),
}

/// The HTTP status, if there was an answer.
pub(super) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn failure<E>(error: SdkError<E, HttpResponse>) -> Failure
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let status = status(&error);
    let code = error.code().map(str::to_owned);
    let text = match (&code, error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        _ => chain(&error),
    };
    match (status, code.as_deref()) {
        (Some(404), Some("NoSuchBucket")) => Failure::Refused(text.into()),
        (Some(404), _) => Failure::NotFound,
        // Too many requests, or a clock that is off for a moment, may pass.
        (Some(408 | 429), _) => Failure::Unavailable(text.into()),
        (Some(400..=499), _) => Failure::Refused(text.into()),
        _ => Failure::Unavailable(text.into()),
    }
}

/// An error with its causes in one line; the SDK's own text says only "dispatch failure".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
