//! The API socket: HTTP over a Unix socket, so that curl is a client. Who calls is who the kernel says
//! has the other end; the operations are those of the registry.
//!
//! `GET /v1/operations` lists them; `POST /v1/operations/NAME` with a JSON object calls one.
//!
//! Anybody may connect, as to the bus: a stranger is refused by the operation itself, in words and in the ledger.

mod seats;

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

use self::seats::{Seated, Visitor};
use crate::engine::Silent;
use crate::fault::{Kind, Report};
use crate::ledger::Via;
use crate::ops::{Caller, Description, Operation, Service};

/// The largest request: an operation's arguments are short.
const MOST: usize = 64 << 10;

impl Connected<IncomingStream<'_, Seated>> for Visitor {
    fn connect_info(stream: IncomingStream<'_, Seated>) -> Self {
        stream.remote_addr().clone()
    }
}

/// Serves the API until the listener fails.
pub async fn serve(listener: UnixListener, service: Arc<Service>) -> std::io::Result<()> {
    let router = Router::new()
        .route("/v1/operations", get(list))
        .route("/v1/operations/{name}", post(call))
        .layer(DefaultBodyLimit::max(MOST))
        .with_state(service);
    let service = router.into_make_service_with_connect_info::<Visitor>();
    axum::serve(Seated::new(listener), service).await
}

async fn list(State(service): State<Arc<Service>>) -> Json<Vec<Description>> {
    Json(service.registry().iter().map(Operation::describe).collect())
}

async fn call(
    State(service): State<Arc<Service>>,
    ConnectInfo(visitor): ConnectInfo<Visitor>,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    let uid = visitor.uid();
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
