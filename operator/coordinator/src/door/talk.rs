//! What agents say at the door, and what they are answered.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use hayloft_api::link::{
    ANSWER, Answered, LONGEST_MESSAGE, LinkRefusal, MOST_QUESTIONS, POLL, POLL_FOR, Poll, REPORT, Reported,
    Told,
};
use hayloft_api::question::Question;
use hayloft_pki::list_digest;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::Knocker;
use super::sessions::{Session, Sessions};

pub(super) fn router(sessions: Arc<Sessions>) -> Router {
    Router::new()
        .route(REPORT, post(report))
        .route(POLL, post(poll))
        .route(ANSWER, post(answer))
        .layer(DefaultBodyLimit::max(LONGEST_MESSAGE))
        .with_state(sessions)
}

struct Refused(LinkRefusal);

impl From<LinkRefusal> for Refused {
    fn from(refusal: LinkRefusal) -> Self {
        Self(refusal)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self.0 {
            LinkRefusal::NotAMember | LinkRefusal::OtherHost => StatusCode::FORBIDDEN,
            LinkRefusal::ReportFirst | LinkRefusal::Replaced => StatusCode::CONFLICT,
            LinkRefusal::NotUnderstood => StatusCode::BAD_REQUEST,
        };
        (status, Json(self.0)).into_response()
    }
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| {
        // It names a place, never contents.
        tracing::warn!(
            line = error.line(),
            column = error.column(),
            "an agent said something that is not understood"
        );
        Refused(LinkRefusal::NotUnderstood)
    })
}

async fn report(
    State(sessions): State<Arc<Sessions>>,
    Extension(Knocker(key)): Extension<Knocker>,
    body: Bytes,
) -> Result<StatusCode, Refused> {
    let (host, key) = sessions.host(key)?;
    sessions.report(&host, key, read::<Reported>(&body)?)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn answer(
    State(sessions): State<Arc<Sessions>>,
    Extension(Knocker(key)): Extension<Knocker>,
    body: Bytes,
) -> Result<StatusCode, Refused> {
    let (host, key) = sessions.host(key)?;
    let Answered {
        session,
        number,
        outcome,
    } = read(&body)?;
    sessions.find(&host, key, &session)?.answer(number, outcome);
    Ok(StatusCode::NO_CONTENT)
}

async fn poll(
    State(sessions): State<Arc<Sessions>>,
    Extension(Knocker(knocked)): Extension<Knocker>,
    body: Bytes,
) -> Result<Json<Told>, Refused> {
    let (host, key) = sessions.host(knocked)?;
    let poll: Poll = read(&body)?;
    let session = sessions.find(&host, key, &poll.session)?;
    let told = tokio::select! {
        told = news(&sessions, &session, &poll) => told,
        () = session.over.cancelled() => {
            // One that was put out is told that, and not that another took its place.
            sessions.host(knocked)?;
            return Err(LinkRefusal::Replaced.into());
        }
    };
    // It may have been put out while it waited, and a desired state holds secrets.
    sessions.host(knocked)?;
    Ok(Json(told))
}

/// What is new for an agent, once there is something; nothing after [`POLL_FOR`].
async fn news(sessions: &Sessions, session: &Session, poll: &Poll) -> Told {
    let until = Instant::now() + POLL_FOR;
    let mut told = Told::default();
    let mut desired = session.desired.subscribe();
    let mut list = sessions.list.clone();
    // A poll whose connection was cut may still hold it, for a moment.
    let Ok(mut asked) = timeout_at(until, session.asked.lock()).await else {
        return told;
    };
    loop {
        if let Some(now) = desired.borrow_and_update().as_ref()
            && poll.handed.as_ref() != Some(&now.generation)
        {
            told.desired = Some(now.clone());
        }
        {
            let now = list.borrow_and_update();
            if let (Some(has), Some(now)) = (&poll.trust, &*now)
                && *has != list_digest(now)
            {
                told.trust = Some(now.clone());
            }
        }
        while told.questions.len() < MOST_QUESTIONS && session.has_room() {
            let Ok((question, waiting)) = asked.try_recv() else {
                break;
            };
            if waiting.is_closed() {
                continue;
            }
            // One of the long ones is enough for a message.
            let is_long = matches!(question, Question::KeepSnapshot { .. } | Question::KeepKit { .. });
            told.questions.push(session.number(question, waiting));
            if is_long {
                break;
            }
        }
        if told != Told::default() {
            return told;
        }
        tokio::select! {
            () = tokio::time::sleep_until(until) => return told,
            changed = desired.changed() => if changed.is_err() { return told },
            // Its end is the door's, which ends the session too.
            Ok(()) = list.changed() => {}
            received = asked.recv(), if session.has_room() => match received {
                Some((question, waiting)) => {
                    if !waiting.is_closed() {
                        told.questions.push(session.number(question, waiting));
                        return told;
                    }
                }
                None => return told,
            },
        }
    }
}
