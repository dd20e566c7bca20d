//! The door at the chat's port: streamable HTTP. Who asks was found out by the chat's server, for each request.

use std::sync::Arc;
use std::time::Duration;

use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use super::{Handler, Mcp, Sessions};

/// The service that `/mcp` is.
pub type Http = StreamableHttpService<Handler, Sessions>;

/// How often a client that waits is told that somebody is there.
const ALIVE: Duration = Duration::from_secs(15);

/// The service. Requests carry a [`super::Visitor`] among their extensions and are answered within
/// [`super::asked_by`]; `largest` is how many bytes one may have.
#[must_use]
pub fn service(mcp: Arc<Mcp>, largest: usize) -> Http {
    // `Host` and `Origin` are the chat's server's to check, for all its addresses alike.
    let config = StreamableHttpServerConfig::default()
        .disable_allowed_hosts()
        .with_sse_keep_alive(Some(ALIVE))
        .with_max_request_body_bytes(largest);
    let handler = move || Ok(Handler::new(Arc::clone(&mcp), None));
    StreamableHttpService::new(handler, Arc::new(Sessions::default()), config)
}
