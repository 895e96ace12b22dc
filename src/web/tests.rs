//! Whatever goes wrong leaves as a problem.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, call_service, init_service, read_body_json};
use actix_web::{App, Responder};
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;

#[derive(Deserialize)]
struct Input {
    n: u8,
}

async fn echo(StrictJson(input): StrictJson<Input>) -> impl Responder {
    input.n.to_string()
}

async fn number(path: web::Path<u32>, query: Query<PageQuery>) -> Result<String, Problem> {
    query.limit().map(|limit| format!("{path} {limit}"))
}

#[derive(Debug, thiserror::Error)]
#[error("the hush file is unreadable")]
struct Unreadable(#[source] std::io::Error);

async fn broken() -> Result<String, Problem> {
    std::fs::read_to_string("/nowhere/hush").map_err(|e| Problem::internal(Unreadable(e)))
}

async fn foreign() -> actix_web::Result<String> {
    Err(actix_web::error::ErrorInternalServerError("hush"))
}

async fn conflict() -> Problem {
    Problem::new(Code::InvalidTransition).detail("It is paid.").with("allowed", vec!["clawback"])
}

/// Sends a request to a small application; returns status, headers that matter, and the problem.
async fn send(req: TestRequest) -> (u16, String, String, Value) {
    let app = init_service(
        App::new()
            .wrap(from_fn(request_id::middleware))
            .configure(configure_extractors)
            .app_data(web::Data::new(Routes::new([
                ("/split/{id}".to_owned(), vec!["GET", "PATCH"]),
                ("/other".to_owned(), vec!["POST"]),
            ])))
            .service(web::resource("/echo").route(web::post().to(echo)))
            .service(web::resource("/numbers/{n}").route(web::get().to(number)))
            .route("/raw", web::post().to(|_: web::Bytes| async { "read" }))
            .route("/foreign", web::get().to(foreign))
            .route("/filter", web::get().to(|_: Query<Input>| async { "read" }))
            .route("/broken", web::get().to(broken))
            .route("/conflict", web::get().to(conflict)),
    )
    .await;
    let res = call_service(&app, req.to_request()).await;
    let header = |name: &str| {
        res.headers().get(name).map_or(String::new(), |v| v.to_str().unwrap().to_owned())
    };
    let (status, id, allow) = (res.status().as_u16(), header("x-request-id"), header("allow"));
    if header("content-type") != problem::CONTENT_TYPE {
        assert!(status < 400, "an error left without a problem: {status}");
        return (status, id, allow, Value::Null);
    }
    (status, id, allow, read_body_json(res).await)
}

fn post(content_type: &str, body: &str) -> TestRequest {
    TestRequest::post()
        .uri("/echo")
        .insert_header(("content-type", content_type))
        .set_payload(body.to_owned())
}

#[actix_web::test]
async fn whatever_goes_wrong_leaves_as_a_problem() {
    let json = "application/json; charset=utf-8";
    for (req, code) in [
        (post(json, "{\"n\":1"), Code::MalformedJson),
        (post(json, "{\"n\":256}"), Code::InvalidField),
        (post("text/plain", "{\"n\":1}"), Code::UnsupportedMediaType),
        (post(json, "{}").insert_header(("content-encoding", "gzip")), Code::UnsupportedEncoding),
        (post(json, &" ".repeat(BODY_MAX_BYTES + 1)), Code::PayloadTooLarge),
        (TestRequest::get().uri("/numbers/ten"), Code::NotFound),
        (TestRequest::get().uri("/numbers/1?limit=ten"), Code::InvalidField),
        (TestRequest::get().uri("/numbers/1?limit=201"), Code::InvalidField),
        (TestRequest::get().uri("/nowhere?token=hush"), Code::NotFound),
        (TestRequest::get().uri("/echo"), Code::MethodNotAllowed),
        (TestRequest::get().uri("/broken"), Code::Internal),
        (TestRequest::get().uri("/foreign"), Code::Internal),
        (
            TestRequest::post().uri("/raw").set_payload(" ".repeat(BODY_MAX_BYTES + 1)),
            Code::PayloadTooLarge,
        ),
        (TestRequest::get().uri("/conflict"), Code::InvalidTransition),
    ] {
        let (status, id, _, body) = send(req).await;
        assert_eq!(body["code"], code.slug());
        assert_eq!(status, code.status().as_u16());
        assert_eq!(body["request_id"], id.as_str());
        assert!(!body.to_string().contains("hush"), "{body}");
    }
    assert_eq!(send(post(json, "{\"n\":255}")).await.0, 200);
}

#[actix_web::test]
async fn a_problem_has_the_members_of_rfc_9457_and_ours() {
    let req =
        TestRequest::get().uri("/conflict?x=1").insert_header(("x-request-id", "caller-0042"));
    let (_, id, _, body) = send(req).await;
    assert_eq!(id, "caller-0042");
    assert_eq!(
        body,
        json!({
            "type": "urn:tributary:problem:invalid-transition",
            "title": "The state does not allow this",
            "status": 409, "code": "invalid-transition", "detail": "It is paid.",
            "instance": "/conflict", "request_id": "caller-0042", "allowed": ["clawback"],
        })
    );
}

#[actix_web::test]
async fn a_query_error_names_its_field() {
    let (_, _, _, body) = send(TestRequest::get().uri("/filter")).await;
    assert_eq!(body["errors"], json!([{"pointer": "/n", "detail": "missing field `n`"}]));
    let (_, _, _, body) = send(TestRequest::get().uri("/filter?n=x")).await;
    assert_eq!(
        body["errors"],
        json!([{"pointer": "/n", "detail": "invalid digit found in string"}])
    );
}

#[actix_web::test]
async fn a_wrong_method_names_the_right_ones() {
    let (status, _, allow, _) = send(TestRequest::delete().uri("/echo")).await;
    assert_eq!((status, allow.as_str()), (405, "POST"));
    // Handlers of one path that are registered apart are unknown to each other.
    let (status, _, allow, body) = send(TestRequest::delete().uri("/split/7?x=1")).await;
    assert_eq!((status, allow.as_str()), (405, "GET, PATCH"));
    assert_eq!(body["code"], "method-not-allowed");
}

#[actix_web::test]
async fn an_odd_request_id_is_replaced() {
    for odd in ["short", "has space in it", &"x".repeat(65), "semi;colon-id"] {
        let req = TestRequest::get().uri("/numbers/1").insert_header(("x-request-id", odd));
        let (_, id, _, _) = send(req).await;
        assert!(id.parse::<crate::ids::RequestId>().is_ok(), "{odd} became {id}");
    }
}

#[actix_web::test]
async fn requests_are_measured_by_route_template() {
    let handle = crate::metrics::install();
    send(TestRequest::get().uri("/numbers/4711?limit=3")).await;
    send(TestRequest::get().uri("/invented/by/anybody")).await;
    let text = handle.render();
    let series = "tributary_http_request_duration_seconds_count";
    for labels in [
        r#"{route="/numbers/{n}",method="GET",code="200"}"#,
        r#"{route="unmatched",method="GET",code="404"}"#,
    ] {
        assert!(text.contains(&format!("{series}{labels}")), "{labels} in\n{text}");
    }
    assert!(!text.contains("4711") && !text.contains("invented"), "{text}");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[actix_web::test]
async fn an_internal_failure_is_logged_once_with_its_causes_and_request_id() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
    let guard = tracing::subscriber::set_default(subscriber.finish());
    let (_, id, _, _) = send(TestRequest::get().uri("/broken?token=query")).await;
    drop(guard);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("the hush file is unreadable: No such file or directory"), "{text}");
    assert!(text.contains(&id) && !text.contains("query"), "{text}");
}

#[test]
fn every_code_has_a_slug_of_its_own_and_a_row_in_the_docs() {
    let table = problem::markdown_table();
    let mut seen = HashSet::new();
    for code in Code::ALL {
        assert!(seen.insert(code.slug()), "{} is listed twice", code.slug());
        assert!(code.slug().bytes().all(|c| c.is_ascii_lowercase() || c == b'-'));
        assert!(code.status().is_client_error() || code.status().is_server_error());
        let row = format!("| {} | `{}` | {} | ", code.status().as_u16(), code.slug(), code.title());
        assert!(table.contains(&row), "{row} is not in\n{table}");
    }
    assert_eq!(table.lines().count(), Code::ALL.len() + 2);
}

#[test]
fn openapi_lists_every_code() {
    use utoipa::PartialSchema as _;
    let schema = serde_json::to_value(Code::schema()).unwrap();
    assert_eq!(schema["enum"].as_array().unwrap().len(), Code::ALL.len());
    let body = serde_json::to_value(ProblemBody::schema()).unwrap();
    assert_eq!(body["properties"]["code"]["$ref"], "#/components/schemas/ProblemCode");
    assert_eq!(<ProblemBody as utoipa::ToSchema>::name(), "Problem");
    let answers = serde_json::to_value(<Problem as utoipa::IntoResponses>::responses()).unwrap();
    let schema = &answers["default"]["content"][problem::CONTENT_TYPE]["schema"];
    assert_eq!(schema["$ref"], "#/components/schemas/Problem");
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(split_get, split_delete))]
struct Api;

#[utoipa::path(get, path = "/split/{id}", responses(Problem))]
#[expect(dead_code, reason = "only its description is used")]
fn split_get() {}

#[utoipa::path(delete, path = "/split/{id}", responses(Problem))]
#[expect(dead_code, reason = "only its description is used")]
fn split_delete() {}

#[test]
fn the_methods_of_a_path_are_read_from_openapi() {
    let routes = Routes::of(&<Api as utoipa::OpenApi>::openapi());
    assert_eq!(routes.allowed("/split/1"), Some("GET, DELETE"));
    assert_eq!(routes.allowed("/split/1/2"), None);
}
