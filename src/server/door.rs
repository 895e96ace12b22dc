//! The door of the public listener: visitors of links are answered at the connection itself.
//!
//! A visitor waits for `GET /r/{token}`, and most of what an HTTP server does for a request (a map of
//! headers, a payload, extensions, two passes of its state machine) is not needed to send him on. So
//! the door reads what has come; if that is the head of one plain request for a link and nothing
//! else, it answers and waits for the next one. Whatever else comes, a body, another path, half a
//! head, an older version, makes the connection an affair of the HTTP server behind, with the bytes
//! that were read, for the rest of its life: where a request ends is never told in two ways.

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
use crate::click::answer_http::{Answer, HttpDate};
use crate::click::http::{PREFIX, Pending, Redirect, Visited};
use crate::clock::Timestamp;
use crate::web::headers::peer_ip;

/// The longest head that the door reads; browsers send less than half.
const HEAD_MAX: usize = 8192;
/// Headers of a request, at most.
const HEADERS_MAX: usize = 64;
/// How long a connection may say nothing; at most twice as long, for the time is not taken at each
/// request.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How long a visitor may take to receive an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Headers by which a request is more than its head, or wants more than an answer.
const NOT_PLAIN: [&str; 4] = ["content-length", "transfer-encoding", "expect", "upgrade"];

/// A connection for the HTTP server behind.
pub(super) type Connection = (Begun, Protocol, Option<SocketAddr>);

/// What makes the door of each worker.
pub(super) struct Door<F> {
    /// Answers links; none where the process does not redirect.
    pub(super) redirect: Option<Rc<Redirect>>,
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
        let (redirect, stopping) = (self.redirect.clone(), self.stopping.clone());
        let behind = self.behind.new_service(());
        async move {
            let closing = Rc::new(Closing::default());
            let told = Rc::clone(&closing);
            spawn_local(async move {
                stopping.notified().await;
                told.is_closing.set(true);
                told.woken.notify_waiters();
            });
            let room = Room { closing, scratch: RefCell::default() };
            Ok(OpenDoor { redirect, room: Rc::new(room), behind: Rc::new(behind.await?) })
        }
        .boxed_local()
    }
}

/// The door of one worker.
pub(super) struct OpenDoor<S> {
    redirect: Option<Rc<Redirect>>,
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
        let redirect = self.redirect.clone();
        async move {
            let begun = match redirect {
                Some(redirect) => room.serve(stream, &redirect, peer_ip(peer)).await,
                None => Some(Begun::new(Bytes::new(), stream)),
            };
            match begun {
                Some(begun) => behind.call((begun, Protocol::Http1, peer)).await,
                None => Ok(()),
            }
        }
        .boxed_local()
    }
}

/// What the connections of a worker share.
struct Room {
    closing: Rc<Closing>,
    scratch: RefCell<Scratch>,
}

/// Whether the process ends: no connection waits for another request then.
#[derive(Default)]
struct Closing {
    is_closing: Cell<bool>,
    woken: Notify,
}

/// Room for one head and one answer, used between two waits.
struct Scratch {
    head: Box<[u8; HEAD_MAX]>,
    answer: Vec<u8>,
    date: HttpDate,
}

impl Default for Scratch {
    fn default() -> Self {
        let head = Box::new([0; HEAD_MAX]);
        Self { head, answer: Vec::new(), date: HttpDate::default() }
    }
}

/// What came over a connection.
enum Came {
    /// A visitor, whose answer is on its way.
    Visitor(Pending),
    /// Something else: what was read of it.
    Else(Bytes),
    /// The end, or nothing for too long.
    End,
}

impl Room {
    /// Answers the visitors of a connection; returns it when something else comes, and nothing when
    /// it has ended.
    async fn serve(
        &self,
        mut stream: TcpStream,
        redirect: &Redirect,
        peer: IpAddr,
    ) -> Option<Begun> {
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
                let came = self.poll_visitor(cx, &mut stream, redirect, peer);
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
            match came.await {
                Ok(Came::Visitor(pending)) => {
                    has_answered = true;
                    let at = pending.at;
                    let answer = pending.settled().await;
                    if !self.write(&mut stream, &answer, at).await {
                        return None;
                    }
                }
                Ok(Came::Else(read)) => return Some(Begun::new(read, stream)),
                Ok(Came::End) | Err(_) => return None,
            }
        }
    }

    fn poll_visitor(
        &self,
        cx: &mut Context<'_>,
        stream: &mut TcpStream,
        redirect: &Redirect,
        peer: IpAddr,
    ) -> Poll<io::Result<Came>> {
        let mut scratch = self.scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch.head[..]);
        ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        Poll::Ready(Ok(match read {
            [] => Came::End,
            _ => match plain(read, &mut [MaybeUninit::uninit(); HEADERS_MAX]) {
                Some(Plain { method, token, query, headers }) => {
                    let visited = Visited { method, token, query, headers: &headers, peer };
                    Came::Visitor(redirect.answer(&visited))
                }
                None => Came::Else(Bytes::copy_from_slice(read)),
            },
        }))
    }

    /// Sends an answer; returns whether another request may come.
    async fn write(&self, stream: &mut TcpStream, answer: &Answer, at: Timestamp) -> bool {
        let is_last = self.closing.is_closing.get();
        let rest = {
            let scratch = &mut *self.scratch.borrow_mut();
            scratch.answer.clear();
            let date = scratch.date.at(at);
            answer.write(date, is_last, &mut scratch.answer);
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

/// The head of one plain request for a link.
#[derive(Debug)]
struct Plain<'h, 'r> {
    method: &'r str,
    token: &'r str,
    query: &'r str,
    headers: &'h [httparse::Header<'r>],
}

/// Reads what has come as the head of one plain request for a link; nothing else is one.
fn plain<'h, 'r>(
    read: &'r [u8],
    headers: &'h mut [MaybeUninit<httparse::Header<'r>>],
) -> Option<Plain<'h, 'r>> {
    let mut head = httparse::Request::new(&mut []);
    let parsed = head.parse_with_uninit_headers(read, headers);
    let (method, path) = (head.method?, head.path?);
    let is_whole = parsed == Ok(Status::Complete(read.len()));
    if !is_whole || head.version != Some(1) || !matches!(method, "GET" | "HEAD") {
        return None;
    }
    // A fragment is not sent; whoever sends one gets what the server behind makes of it.
    if !path.bytes().all(|c| c.is_ascii_graphic() && c != b'#') {
        return None;
    }
    let rest = path.strip_prefix(PREFIX)?;
    let (token, query) = rest.split_once('?').unwrap_or((rest, ""));
    let headers: &[_] = head.headers;
    headers.iter().all(is_plain).then_some(Plain { method, token, query, headers })
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
