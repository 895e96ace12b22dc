//! What stands in front of the router: the two requests that come by the thousand.
//!
//! A visitor waits for `GET /r/{token}`, and a shop sends `POST /v1/webhooks/{source_id}` for each
//! order. Both are answered before a route is matched, which costs as much as all the rest of them;
//! most even before, at the `door`. Everything else, a webhook with a query included, goes to the
//! application behind.

use std::rc::Rc;

use actix_http::{Request, Response};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{AppConfig, Service, ServiceFactory, ServiceResponse};
use actix_web::{Error, HttpMessage as _};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

use super::door::Answering;
use crate::click::http::{PREFIX, Pending, Redirect, Visited};
use crate::intake::webhook::plain_http::Webhooks;
use crate::web::headers::peer_ip;

/// Answers links and plain webhooks itself and hands everything else to the application behind it.
pub(super) struct Front<F> {
    pub(super) answering: Answering,
    pub(super) behind: F,
}

impl<F, B> ServiceFactory<Request> for Front<F>
where
    F: ServiceFactory<
            Request,
            Config = AppConfig,
            Response = ServiceResponse<B>,
            Error = Error,
            InitError = (),
        >,
    F::Service: 'static,
    F::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = Response<BoxBody>;
    type Error = Error;
    type Config = AppConfig;
    type Service = FrontService<F::Service>;
    type InitError = ();
    type Future = LocalBoxFuture<'static, Result<Self::Service, ()>>;

    fn new_service(&self, config: AppConfig) -> Self::Future {
        let (answering, behind) = (self.answering.clone(), self.behind.new_service(config));
        async move { Ok(FrontService { answering, behind: behind.await? }) }.boxed_local()
    }
}

/// The service of one worker.
pub(super) struct FrontService<S> {
    answering: Answering,
    behind: S,
}

impl<S, B> Service<Request> for FrontService<S>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = Error>,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = Response<BoxBody>;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Response<BoxBody>, Error>>;

    actix_service::forward_ready!(behind);

    fn call(&self, req: Request) -> Self::Future {
        let Answering { redirect, webhooks } = &self.answering;
        let link = redirect.as_deref().and_then(|redirect| visit(&req, redirect));
        if let Some(pending) = link {
            async move { Ok(pending.settled().await.into_response()) }.boxed_local()
        } else if let Some(webhooks) = webhooks.as_ref().filter(|_| Webhooks::takes(&req)) {
            let reading = Rc::clone(webhooks).read_on(req);
            async move { Ok(reading.await.answer().await.into()) }.boxed_local()
        } else {
            let behind = self.behind.call(req);
            async move { Ok(Response::from(behind.await?).map_into_boxed_body()) }.boxed_local()
        }
    }
}

/// Answers a request for a link that did not come as plainly as the door wants it.
fn visit(req: &Request, redirect: &Redirect) -> Option<Pending> {
    let token = req.path().strip_prefix(PREFIX)?;
    let (method, query) = (req.method().as_str(), req.uri().query().unwrap_or_default());
    let peer = peer_ip(req.peer_addr());
    Some(redirect.answer(&Visited { method, token, query, headers: req.headers(), peer }))
}
