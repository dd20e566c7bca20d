//! The API socket: HTTP over a Unix socket, so that curl is a client. Who calls is who the kernel says
//! has the other end; the operations are those of the registry.
//!
//! `GET /v1/operations` lists them; `POST /v1/operations/NAME` with a JSON object calls one.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::UnixListener;

use crate::engine::Silent;
use crate::fault::{Kind, Report};
use crate::ledger::Via;
use crate::ops::{Caller, Description, Operation, Service};

/// The largest request: an operation's arguments are short.
const MOST: usize = 64 << 10;

/// Who has the other end of a connection.
#[derive(Debug, Clone, Copy)]
struct Peer(Option<u32>);

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(stream.io().peer_cred().ok().map(|credentials| credentials.uid()))
    }
}

/// Serves the API until the listener fails.
pub async fn serve(listener: UnixListener, service: Arc<Service>) -> std::io::Result<()> {
    let router = Router::new()
        .route("/v1/operations", get(list))
        .route("/v1/operations/{name}", post(call))
        .layer(DefaultBodyLimit::max(MOST))
        .with_state(service);
    axum::serve(listener, router.into_make_service_with_connect_info::<Peer>()).await
}

async fn list(State(service): State<Arc<Service>>) -> Json<Vec<Description>> {
    Json(service.registry().iter().map(Operation::describe).collect())
}

async fn call(
    State(service): State<Arc<Service>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    let Some(uid) = peer.0 else {
        return failure(&Report::new(
            Kind::Denied,
            "the kernel does not say who has the other end of the socket",
        ));
    };
    let arguments = if body.is_empty() {
        Value::Null
    } else {
        // What is no JSON is refused by the operation itself, so that the refusal is recorded.
        serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()))
    };
    let called = tokio::task::spawn_blocking(move || {
        let caller = Caller::from_uid(uid, Via::Socket);
        service.call(&caller, &name, arguments, &Silent, None)
    });
    match called.await {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(report)) => failure(&report),
        Err(error) => {
            failure(&Report::new(Kind::Failed, format!("the operation ended unexpectedly: {error}")))
        }
    }
}

fn failure(report: &Report) -> Response {
    let status = match report.kind {
        Kind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Denied => StatusCode::FORBIDDEN,
        Kind::Unavailable | Kind::Busy => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(json!({ "error": report }))).into_response()
}
