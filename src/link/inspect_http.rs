//! What a link says: for support, when a webmaster asks why his link earns nothing.
//!
//! It is answered from the same snapshot that redirects use, so it tells what a visitor meets.

use actix_web::web::Data;
use actix_web::{HttpResponse, post};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::ids::{PartnerId, ProgramId};
use crate::link::destination::{Visit, destination};
use crate::link::parameters::SubIdPii;
use crate::link::token::LinkToken;
use crate::web::{Code, Problem, ProblemBody, StrictJson};

/// Adds the route.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(inspect_link);
}

/// A link to look at: one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InspectBody {
    /// The whole address, as it was found on a page.
    #[schema(example = "https://go.example.com/r/IAAH0gAAA-kAAAAqAADrXPuyciKMnhETizQKyxLY?sub1=a")]
    pub url: Option<String>,
    /// The token alone.
    pub token: Option<String>,
}

/// What a link says.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct InspectedLink {
    /// Whether the signature is good and the last day has not passed.
    pub valid: bool,
    /// Whether a visitor of it gets to the landing page.
    pub live: bool,
    /// Why it is not valid or not live.
    pub reasons: Vec<String>,
    /// The program.
    #[schema(value_type = Option<String>)]
    pub program_id: Option<ProgramId>,
    /// The program's number in the token.
    pub program_number: Option<u32>,
    /// The partner.
    #[schema(value_type = Option<String>)]
    pub partner_id: Option<PartnerId>,
    /// The partner's number in the token.
    pub partner_number: Option<u32>,
    /// The link's number in the token.
    pub link_number: Option<u32>,
    /// Whether the partner signed it himself.
    pub minted: bool,
    /// The last day (UTC) on which it works.
    #[schema(value_type = Option<String>)]
    pub expires_on: Option<NaiveDate>,
    /// Where a visitor goes, without a click id; null for the built-in help page.
    pub destination: Option<String>,
}

/// Returns token and query of a link's address, or of a bare token.
fn parts(body: &InspectBody) -> Result<(&str, &str), Problem> {
    match (&body.url, &body.token) {
        (None, Some(token)) => Ok((token.trim(), "")),
        (Some(url), None) => {
            let url = url.trim();
            let url = url.split_once('#').map_or(url, |(before, _)| before);
            let (path, query) = url.split_once('?').unwrap_or((url, ""));
            let (_, token) = path.rsplit_once("/r/").ok_or_else(|| {
                Problem::new(Code::InvalidField)
                    .error("/url", "is not a link of this service: it has no /r/ in it")
            })?;
            Ok((token, query))
        }
        (Some(_), Some(_)) | (None, None) => {
            Err(Problem::new(Code::InvalidField).error("", "give either url or token"))
        }
    }
}

/// Tells what a link says, whether it works, and where it leads. Counts no click.
#[utoipa::path(tag = "links", request_body = InspectBody, responses(
    (status = 200, body = InspectedLink), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/links/inspect")]
async fn inspect_link(
    app: Data<App>,
    caller: Caller<scope::LinksRead>,
    body: StrictJson<InspectBody>,
) -> Result<HttpResponse, Problem> {
    let (token, query) = parts(&body.0)?;
    let found = inspect(&app, token, query);
    // Without a program nothing of anybody's is told.
    if let Some(program_id) = found.program_id {
        caller.check_reach(program_id)?;
    }
    Ok(HttpResponse::Ok().json(found))
}

fn inspect(app: &App, text: &str, query: &str) -> InspectedLink {
    let snapshot = app.snapshot.load();
    let fallback = || app.config.fallback_url.as_ref().map(ToString::to_string);
    let now = app.clock.now();
    // Judged as on the first of all days, so that an expired link still tells what it was.
    let read = LinkToken::verify(&app.link_keys, text, NaiveDate::MIN, |program, partner| {
        Some(snapshot.enrollment(program, partner)?.mint_epochs(now))
    });
    let token = match read {
        Ok(token) => token,
        Err(e) => {
            return InspectedLink {
                reasons: vec![e.to_string()],
                destination: fallback(),
                ..InspectedLink::default()
            };
        }
    };
    let is_over = token.expires_on.is_some_and(|last| now.date_naive() > last);
    let (program, partner) = (snapshot.program(token.program), snapshot.partner(token.partner));
    let enrollment = snapshot.enrollment(token.program, token.partner);
    let checks = [
        (is_over, "the link has expired"),
        (program.is_none(), "the program is not known here"),
        (program.is_some_and(|p| !p.is_active), "the program is paused"),
        (partner.is_none(), "the partner is not known here"),
        (partner.is_some_and(|p| p.is_blocked), "the partner is blocked"),
        (!enrollment.is_some_and(|e| e.is_active), "the partner has no active enrollment"),
        (snapshot.is_paused(token.program, token.partner, token.link), "the link is paused"),
    ];
    let reasons: Vec<String> =
        checks.into_iter().filter(|(is_so, _)| *is_so).map(|(_, why)| why.to_owned()).collect();
    let is_live = reasons.is_empty();
    let destination = match (program, partner) {
        (Some(program), Some(partner)) if is_live => {
            let visit = Visit {
                query,
                click_id: None,
                partner: token.partner,
                partner_slug: &partner.slug,
                link: token.link,
                at: now,
            };
            Some(destination(&program.landing, &visit, SubIdPii::Reject).location)
        }
        (program, _) => program.and_then(|p| p.fallback_url.clone()).or_else(fallback),
    };
    InspectedLink {
        valid: !is_over,
        live: is_live,
        reasons,
        program_id: program.map(|p| p.program_id),
        program_number: Some(token.program.0),
        partner_id: partner.map(|p| p.partner_id),
        partner_number: Some(token.partner.0),
        link_number: Some(token.link.0),
        minted: token.is_minted(),
        expires_on: token.expires_on,
        destination,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_in_any_spelling_of_the_address() {
        let url = |url: &str| InspectBody { url: Some(url.to_owned()), token: None };
        for (body, expected) in [
            (url("https://go.example/r/TOKEN?sub1=a#top"), ("TOKEN", "sub1=a")),
            (url(" https://go.example/x/r/TOKEN "), ("TOKEN", "")),
            (InspectBody { url: None, token: Some("TOKEN".to_owned()) }, ("TOKEN", "")),
        ] {
            assert_eq!(parts(&body).unwrap(), expected, "{body:?}");
        }
        assert!(parts(&url("https://go.example/shop")).is_err());
        assert!(parts(&InspectBody { url: None, token: None }).is_err());
    }
}
