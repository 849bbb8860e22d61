//! The HTTP server: it answers three paths, on one thread, for at most [`MOST_CONNECTIONS`] clients.
//!
//! Its clients share the processor and the descriptors with the clients of the echo server. So each connection gets one
//! answer, in at most [`LIMIT`], and a client beyond the eighth is closed.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use mio_echo::Address;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::cli::failure::Failure;

/// The numbers of a command, in the two forms that a client can ask for.
pub(in crate::cli) trait Source: Send + Sync + 'static {
    /// Returns the numbers as OpenMetrics.
    fn open_metrics(&self) -> Result<String, std::fmt::Error>;

    /// Returns the numbers as the JSON that the page draws.
    fn status(&self) -> serde_json::Result<String>;
}

/// The descriptors that a [`Site`] uses: those of its clients, one for a client that is closed, its listener, its
/// selector, tokio's duplicate of the selector, and its waker. One is spare.
pub(in crate::cli) const DESCRIPTORS: usize = MOST_CONNECTIONS + 6;

/// A site that is bound and does not answer yet.
#[derive(Debug)]
pub(in crate::cli) struct Site {
    listener: TcpListener,
    address: SocketAddr,
}

impl Site {
    /// Binds the site, so that an address that is in use is found before the command starts.
    ///
    /// # Errors
    /// A message that names the address.
    pub(in crate::cli) fn bind(address: &Address) -> Result<Site, Failure> {
        let wrong = |error: io::Error| {
            Failure::Message(format!("cannot listen for --metrics on {address}: {error}"))
        };
        let name = address.to_string();
        let listener = TcpListener::bind(
            name.strip_suffix(":auto")
                .map_or_else(|| name.clone(), |host| format!("{host}:0")),
        )
        .map_err(wrong)?;
        listener.set_nonblocking(true).map_err(wrong)?;
        let address = listener.local_addr().map_err(wrong)?;
        Ok(Site { listener, address })
    }

    /// Returns the address of the page.
    pub(in crate::cli) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Answers clients on a thread of its own until the process ends.
    ///
    /// # Errors
    /// The system cannot start a thread, or has no descriptor for the selector.
    pub(in crate::cli) fn publish(self, source: Arc<dyn Source>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let site = move || {
            // Signals are for the event loop.
            let _ = net::threads::leave_signals_to_others();
            runtime.block_on(async {
                match tokio::net::TcpListener::from_std(self.listener) {
                    Ok(listener) => accept(listener, source).await,
                    Err(error) => log::warn!("--metrics does not work: {error}"),
                }
            });
        };
        thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(site)?;
        Ok(())
    }
}

/// Accepts clients. Those beyond the eighth are closed.
async fn accept(listener: tokio::net::TcpListener, source: Arc<dyn Source>) {
    let permits = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // The descriptors or the memory are used up. The listener stays ready, so a retry at once would use a
                // whole processor.
                log::debug!("--metrics: accept failed: {error}");
                tokio::time::sleep(BETWEEN_CLOSES).await;
                continue;
            }
        };
        match permits.clone().try_acquire_owned() {
            Ok(permit) => {
                let source = source.clone();
                tokio::spawn(async move {
                    // A client that is too slow, or that breaks HTTP, is closed: the numbers are not worth a log line.
                    let _ = tokio::time::timeout(LIMIT, answer(stream, source)).await;
                    drop(permit);
                });
            }
            Err(_) => {
                drop(stream);
                // A thousand clients at once must not take the processor from the event loops.
                tokio::time::sleep(BETWEEN_CLOSES).await;
            }
        }
    }
}

/// Answers one request, and ends the connection.
async fn answer(stream: TcpStream, source: Arc<dyn Source>) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = respond(request.method(), request.uri().path(), source.as_ref());
        async { Ok::<_, Infallible>(response) }
    });
    http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(MOST_HEADER)
        .timer(TokioTimer::new())
        .header_read_timeout(LIMIT)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

/// Returns the response to a request. hyper leaves the body out for HEAD.
fn respond(method: &Method, path: &str, source: &dyn Source) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        let allowed = header::HeaderValue::from_static("GET, HEAD");
        refusal.headers_mut().insert(header::ALLOW, allowed);
        return refusal;
    }
    match path {
        "/" => found("text/html; charset=utf-8", PAGE.to_owned()),
        "/metrics" => match source.open_metrics() {
            Ok(text) => found(OPEN_METRICS, text),
            Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
        },
        "/status.json" => match source.status() {
            Ok(text) => found("application/json", text),
            Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
        },
        _ => plain(
            StatusCode::NOT_FOUND,
            "there are /, /metrics and /status.json\n",
        ),
    }
}

fn found(kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    let headers: [(HeaderName, &'static str); 4] = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // The page loads nothing but its own numbers.
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    for (name, value) in headers {
        let value = header::HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = found("text/plain; charset=utf-8", text.to_owned());
    *response.status_mut() = status;
    response
}

/// The most clients at the same time.
const MOST_CONNECTIONS: usize = 8;

/// The longest time of a connection, from its accept to the last byte of the answer.
const LIMIT: Duration = Duration::from_secs(10);

/// The pause after a client was closed because there were too many.
const BETWEEN_CLOSES: Duration = Duration::from_millis(10);

/// The most bytes of a request's header: hyper's minimum.
const MOST_HEADER: usize = 8192;

/// The media type of OpenMetrics 1.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
     img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = include_str!("page.html");
