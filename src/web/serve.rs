//! The server: its routes, and its connections.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::guard::{self, SignedIn};
use super::session::{self, Failures};
use super::{page, socket, tls};
use crate::dbus::Daemon;
use crate::grammar::Grammar;
use crate::mcp;
use crate::spec::Mcp;

/// How many connections may be open at once.
const CONNECTIONS: usize = 2048;

/// How many calls wait for the daemon at once. With a thousand pages open, a change has each of them look at the host anew, and
/// dbus-daemon(1) refuses a connection that waits for more than 128 answers.
const CALLS: usize = 96;

/// How long a request may take to come, and TLS to be agreed on.
const PATIENCE: Duration = Duration::from_secs(10);

/// The largest request, in bytes. A WebSocket has a limit of its own.
const LARGEST: usize = 256 << 10;

/// How the server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The port.
    pub port: u16,
    /// What it may be called.
    pub authorities: Vec<String>,
    /// Whether it is reached by TLS: its own, or a proxy's.
    pub secure: bool,
    /// Whether a proxy is in front, which has a port of its own.
    pub proxy: bool,
    /// A directory whose files replace those of the page.
    pub root: Option<PathBuf>,
}

impl Settings {
    /// As the host spec has it.
    #[must_use]
    pub fn of(mcp: &Mcp) -> Self {
        Self {
            port: mcp.port,
            authorities: mcp.authorities(),
            secure: mcp.tls.is_some() || mcp.proxy,
            proxy: mcp.proxy,
            root: mcp.root.clone(),
        }
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// The port that a browser does not write.
    #[must_use]
    pub fn usual_port(&self) -> u16 {
        if self.secure { 443 } else { 80 }
    }
}

/// What all requests share.
pub struct Shared {
    /// How the server is reached.
    pub settings: Settings,
    /// The daemon.
    pub daemon: Arc<Daemon>,
    /// What reads sentences.
    pub grammar: Arc<Grammar>,
    /// What answers `/mcp`.
    pub mcp: Arc<mcp::Mcp>,
    /// The host's name.
    pub host: String,
    /// The calls that wait for the daemon; more wait for their turn.
    pub calls: Arc<Semaphore>,
    /// Who could not sign in.
    pub failures: Failures,
}

impl Shared {
    /// What a server of this host shares.
    #[must_use]
    pub fn new(settings: Settings, daemon: Arc<Daemon>, grammar: Grammar, host: String) -> Self {
        let grammar = Arc::new(grammar);
        let mcp = mcp::Mcp::new(Arc::clone(&daemon), Arc::clone(&grammar), host.clone());
        let calls = Arc::new(Semaphore::new(CALLS));
        Self { settings, daemon, grammar, mcp, host, calls, failures: Failures::default() }
    }
}

/// The routes.
pub fn router(shared: Arc<Shared>) -> Router {
    let mcp = Router::new()
        .route_service("/mcp", mcp::service(Arc::clone(&shared.mcp), LARGEST))
        .layer(from_fn(guard::visits));
    let closed = Router::new()
        .route("/ws", get(upgrade))
        .route("/session", get(session::show))
        .route("/sign-out", post(session::sign_out))
        .merge(mcp)
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(from_fn_with_state(Arc::clone(&shared), guard::signed_in));
    Router::new()
        .route("/chat.html", get(chat))
        .route("/assets/{name}", get(asset))
        .route("/sign-in", post(session::sign_in))
        .merge(closed)
        .layer(from_fn_with_state(Arc::clone(&shared), guard::ours))
        .layer(from_fn(guard::headers))
        .layer(DefaultBodyLimit::max(LARGEST))
        .with_state(shared)
}

async fn chat(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    page::file(page::PAGE, shared.settings.root.as_deref(), &headers)
}

async fn asset(State(shared): State<Arc<Shared>>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    if name == page::PAGE {
        return StatusCode::NOT_FOUND.into_response();
    }
    page::file(&name, shared.settings.root.as_deref(), &headers)
}

async fn upgrade(
    State(shared): State<Arc<Shared>>,
    Extension(SignedIn { secret, token }): Extension<SignedIn>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade
        .protocols([socket::PROTOCOL])
        .max_message_size(socket::LARGEST)
        .max_frame_size(socket::LARGEST)
        .on_upgrade(move |socket| socket::converse(socket, shared, secret, token))
        .into_response()
}

/// Serves until the listener fails.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
) -> std::io::Result<()> {
    let router = router(shared);
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // With all seats taken, the next one waits in the kernel's queue.
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return Ok(()) };
        let (stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_passing(&error) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        // Answers are short and wanted at once; where it cannot be had, they are a little later.
        let _ = stream.set_nodelay(true);
        let (router, tls) = (router.clone(), tls.clone());
        tokio::spawn(async move {
            let _seat = seat;
            match tls {
                None => connection(stream, router).await,
                Some(tls) => match timeout(PATIENCE, tls.accept(stream)).await {
                    Ok(Ok(stream)) => connection(stream, router).await,
                    Ok(Err(error)) => tls::handshake_failed(&error),
                    Err(_) => {}
                },
            }
        });
    }
}

/// Whether an error of `accept` is about one connection, or about what is free again in a moment.
fn is_passing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
        // EMFILE, ENFILE, ENOBUFS, ENOMEM.
        || matches!(error.raw_os_error(), Some(24 | 23 | 105 | 12))
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, router: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!("a connection ended: {error}");
    }
}
