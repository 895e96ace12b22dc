//! The door of the public listener: visitors of links and webhooks are answered at the connection itself.
//!
//! A visitor waits for `GET /r/{token}`, a shop sends `POST /v1/webhooks/{source_id}` for each order,
//! and most of what an HTTP server does for a request (a map of headers, a payload, extensions, two
//! passes of its state machine) is needed for neither. So the door reads what has come; if that is one
//! plain request of these, whole and nothing else, it answers and waits for the next one. Whatever
//! else comes, another path, half a request, an older version, makes the connection an affair of the
//! HTTP server behind, with the bytes that were read, for the rest of its life: where a request ends
//! is never told in two ways.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_http::Protocol;
use actix_server::GracefulShutdownSignal;
use actix_service::{Service, ServiceFactory};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use httparse::Status;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::coop::unconstrained;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

use super::begun::Begun;
use super::written;
use crate::click::answer_http::HttpDate;
use crate::click::http::{PREFIX, Pending, Redirect, Visited};
use crate::clock::Timestamp;
use crate::intake::webhook::plain_http::{Webhook, Webhooks};
use crate::web::headers::peer_ip;

/// The longest request that the door reads; browsers send less than half, and so do most shops.
const REQUEST_MAX: usize = 8192;
/// Headers of a request, at most.
const HEADERS_MAX: usize = 64;
/// How long a connection may say nothing; at most twice as long, for the time is not taken at each
/// request.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How long a visitor may take to receive an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Headers by which a request is longer than it says at first, or wants more than an answer.
const NOT_PLAIN: [&str; 3] = ["transfer-encoding", "expect", "upgrade"];

/// A connection for the HTTP server behind.
pub(super) type Connection = (Begun, Protocol, Option<SocketAddr>);

/// What answers at the door; what is none is not among the roles of the process.
#[derive(Clone)]
pub(super) struct Answering {
    pub(super) redirect: Option<Rc<Redirect>>,
    pub(super) webhooks: Option<Rc<Webhooks>>,
}

/// What makes the door of each worker.
pub(super) struct Door<F> {
    pub(super) answering: Answering,
    pub(super) stopping: GracefulShutdownSignal,
    pub(super) behind: F,
}

impl<F> ServiceFactory<TcpStream> for Door<F>
where
    F: ServiceFactory<Connection, Config = (), Response = (), InitError = ()>,
    F::Service: 'static,
    F::Future: 'static,
{
    type Response = ();
    type Error = F::Error;
    type Config = ();
    type Service = OpenDoor<F::Service>;
    type InitError = ();
    type Future = LocalBoxFuture<'static, Result<Self::Service, ()>>;

    fn new_service(&self, (): ()) -> Self::Future {
        let (answering, stopping) = (self.answering.clone(), self.stopping.clone());
        let behind = self.behind.new_service(());
        async move {
            let closing = Rc::new(Closing::default());
            let told = Rc::clone(&closing);
            spawn_local(async move {
                stopping.notified().await;
                told.is_closing.set(true);
                told.woken.notify_waiters();
            });
            let room = Room { answering, closing, scratch: RefCell::default() };
            Ok(OpenDoor { room: Rc::new(room), behind: Rc::new(behind.await?) })
        }
        .boxed_local()
    }
}

/// The door of one worker.
pub(super) struct OpenDoor<S> {
    room: Rc<Room>,
    behind: Rc<S>,
}

impl<S> Service<TcpStream> for OpenDoor<S>
where
    S: Service<Connection, Response = ()> + 'static,
    S::Future: 'static,
{
    type Response = ();
    type Error = S::Error;
    type Future = LocalBoxFuture<'static, Result<(), S::Error>>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.behind.poll_ready(cx)
    }

    fn call(&self, stream: TcpStream) -> Self::Future {
        let peer = stream.peer_addr().ok();
        let (behind, room) = (Rc::clone(&self.behind), Rc::clone(&self.room));
        async move {
            match room.serve(stream, peer_ip(peer)).await {
                Some(begun) => behind.call((begun, Protocol::Http1, peer)).await,
                None => Ok(()),
            }
        }
        .boxed_local()
    }
}

/// What the connections of a worker share.
struct Room {
    answering: Answering,
    closing: Rc<Closing>,
    scratch: RefCell<Scratch>,
}

/// Whether the process ends: no connection waits for another request then.
#[derive(Default)]
struct Closing {
    is_closing: Cell<bool>,
    woken: Notify,
}

/// Room for one request and one answer, used between two waits.
struct Scratch {
    request: Box<[u8; REQUEST_MAX]>,
    answer: Vec<u8>,
    date: HttpDate,
}

impl Default for Scratch {
    fn default() -> Self {
        let request = Box::new([0; REQUEST_MAX]);
        Self { request, answer: Vec::new(), date: HttpDate::default() }
    }
}

/// What came over a connection.
enum Came {
    /// A visitor, whose answer is on its way.
    Visitor(Pending),
    /// A webhook, which has been read.
    Webhook(Webhook),
    /// Something else: what was read of it.
    Else(Bytes),
    /// The end, or nothing for too long.
    End,
}

impl Room {
    /// Answers what comes over a connection; returns it when something else comes, and nothing when
    /// it has ended.
    async fn serve(&self, mut stream: TcpStream, peer: IpAddr) -> Option<Begun> {
        let mut patience = pin!(sleep(KEEP_ALIVE));
        let mut closing = pin!(self.closing.woken.notified());
        // Both wake this task from now on; whether they did can be seen.
        poll_fn(|cx| {
            ask(closing.as_mut(), cx);
            ask(patience.as_mut(), cx);
            Poll::Ready(())
        })
        .await;
        let mut has_answered = false;
        loop {
            let came = poll_fn(|cx| {
                let came = self.poll_request(cx, &mut stream, peer);
                if came.is_ready() {
                    return came;
                }
                let is_idle = patience.is_elapsed() && !has_answered;
                if is_idle || self.closing.is_closing.get() {
                    return Poll::Ready(Ok(Came::End));
                }
                if patience.is_elapsed() {
                    has_answered = false;
                    patience.as_mut().reset(Instant::now() + KEEP_ALIVE);
                    ask(patience.as_mut(), cx);
                }
                Poll::Pending
            });
            let is_open = match came.await {
                Ok(Came::Visitor(pending)) => {
                    let at = pending.at;
                    let answer = pending.settled().await;
                    let write = |date: &_, is_last, out: &mut _| answer.write(date, is_last, out);
                    self.write(&mut stream, at, write).await
                }
                Ok(Came::Webhook(webhook)) => {
                    let at = webhook.at;
                    let answer = webhook.answer().await;
                    let write = |date: &_, is_last, out: &mut _| {
                        written::reply(answer, date, is_last, out);
                    };
                    self.write(&mut stream, at, write).await
                }
                Ok(Came::Else(read)) => return Some(Begun::new(read, stream)),
                Ok(Came::End) | Err(_) => return None,
            };
            if !is_open {
                return None;
            }
            has_answered = true;
        }
    }

    fn poll_request(
        &self,
        cx: &mut Context<'_>,
        stream: &mut TcpStream,
        peer: IpAddr,
    ) -> Poll<io::Result<Came>> {
        let mut scratch = self.scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch.request[..]);
        ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        if read.is_empty() {
            return Poll::Ready(Ok(Came::End));
        }
        let mut headers = [MaybeUninit::uninit(); HEADERS_MAX];
        let came = plain(read, &mut headers).and_then(|plain| self.take(&plain, peer));
        Poll::Ready(Ok(came.unwrap_or_else(|| Came::Else(Bytes::copy_from_slice(read)))))
    }

    /// Begins to answer a request, if it is one of those that are answered here.
    fn take(&self, plain: &Plain<'_, '_>, peer: IpAddr) -> Option<Came> {
        let &Plain { method, path, query, headers, body } = plain;
        if let Some(token) = path.strip_prefix(PREFIX) {
            let is_visit = matches!(method, "GET" | "HEAD") && body.is_none();
            let redirect = self.answering.redirect.as_deref().filter(|_| is_visit)?;
            let query = query.unwrap_or_default();
            let visited = Visited { method, token, query, headers: &headers, peer };
            return Some(Came::Visitor(redirect.answer(&visited)));
        }
        let source_id = Webhooks::source_of(method, path).filter(|_| query.is_none())?;
        let webhooks = self.answering.webhooks.clone()?;
        let body = body.filter(|body| body.len() <= webhooks.bytes_max())?;
        Some(Came::Webhook(webhooks.read(source_id, &headers, body)))
    }

    /// Sends an answer; returns whether another request may come.
    async fn write(
        &self,
        stream: &mut TcpStream,
        at: Timestamp,
        write: impl FnOnce(&HttpDate, bool, &mut Vec<u8>),
    ) -> bool {
        let is_last = self.closing.is_closing.get();
        let rest = {
            let scratch = &mut *self.scratch.borrow_mut();
            scratch.answer.clear();
            write(scratch.date.at(at), is_last, &mut scratch.answer);
            match stream.try_write(&scratch.answer) {
                Ok(n) => scratch.answer[n..].to_vec(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => scratch.answer.clone(),
                Err(_) => return false,
            }
        };
        let is_sent = rest.is_empty()
            || matches!(timeout(WRITE_TIMEOUT, stream.write_all(&rest)).await, Ok(Ok(())));
        is_sent && !is_last
    }
}

/// Has a future wake this task, however much the task did before.
fn ask(what: Pin<&mut impl Future>, cx: &mut Context<'_>) {
    let _ = pin!(unconstrained(what)).poll(cx);
}

/// One plain request.
#[derive(Debug)]
struct Plain<'h, 'r> {
    method: &'r str,
    path: &'r str,
    query: Option<&'r str>,
    headers: &'h [httparse::Header<'r>],
    /// None where no length is announced.
    body: Option<&'r [u8]>,
}

/// Reads what has come as one plain request, whole and without anything behind it.
fn plain<'h, 'r>(
    read: &'r [u8],
    headers: &'h mut [MaybeUninit<httparse::Header<'r>>],
) -> Option<Plain<'h, 'r>> {
    let mut head = httparse::Request::new(&mut []);
    let parsed = head.parse_with_uninit_headers(read, headers);
    let Ok(Status::Complete(head_bytes)) = parsed else { return None };
    let (method, target, headers) = (head.method?, head.path?, &*head.headers);
    // A fragment is not sent; whoever sends one gets what the server behind makes of it.
    let is_target = target.bytes().all(|c| c.is_ascii_graphic() && c != b'#');
    if head.version != Some(1) || !is_target || !headers.iter().all(is_plain) {
        return None;
    }
    let rest = &read[head_bytes..];
    let body = match length(headers)? {
        Some(bytes) if bytes == rest.len() => Some(rest),
        None if rest.is_empty() => None,
        Some(_) | None => return None,
    };
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    Some(Plain { method, path, query, headers, body })
}

/// Returns the length that is announced, `Some(None)` where none is, and nothing where it is not
/// told plainly and once.
fn length(headers: &[httparse::Header<'_>]) -> Option<Option<usize>> {
    let is_length = |h: &&httparse::Header<'_>| h.name.eq_ignore_ascii_case("content-length");
    let mut told = headers.iter().filter(is_length).map(|h| h.value);
    let Some(digits) = told.next() else { return Some(None) };
    if told.next().is_some() || digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok().map(Some)
}

fn is_plain(header: &httparse::Header<'_>) -> bool {
    let is = |name: &str| header.name.eq_ignore_ascii_case(name);
    if is("connection") {
        return header.value.eq_ignore_ascii_case(b"keep-alive");
    }
    !NOT_PLAIN.into_iter().any(is)
}

#[cfg(test)]
#[path = "door_fuzz_tests.rs"]
mod fuzz_tests;
