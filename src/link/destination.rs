//! Where a visitor is sent: the program's landing page, or a page of the shop the link asks for.
//!
//! No open redirect: a deep link is taken only if it parses to a host the program allows, and the
//! address sent is the parsed one, never the text received. On any doubt the visitor gets the
//! landing page and the doubt is counted; he never sees an error.

use std::fmt::Write as _;

use url::{Host, Url};

use super::paid::AdNetwork;
use super::parameters::{Parameters, SUBS, SubIdPii};
use super::template::{
    BadTemplate, LandingTemplate, Macro, Pair, Query, QueryTemplate, Schemes, URL_LEN_MAX, Values,
    decoded_name, is_unsafe, push_encoded,
};
use crate::clock::Timestamp;
use crate::ids::{LinkNo, PartnerNo};

/// The parameter that carries the click id where a program names no other.
pub const CLICK_ID_PARAM: &str = "click_id";
/// The UTM marks of a program that sets none of its own.
pub const UTM_DEFAULTS: &str =
    "utm_source={partner_slug}&utm_medium=affiliate&utm_campaign={program}";

/// A program's terms of landing, compiled when the program is saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landing {
    /// The landing page.
    pub template: LandingTemplate,
    /// The program's readable name, for `{program}`.
    pub program_slug: String,
    /// The name of the click id's parameter where the template has no `{click_id}`.
    pub click_id_param: String,
    /// UTM marks added unless the address has them already; empty for none.
    pub utm_defaults: QueryTemplate,
    /// Hosts that deep links may lead to, their subdomains included.
    pub allowed_hosts: AllowedHosts,
    /// Schemes that deep links may have.
    pub schemes: Schemes,
    /// Further names of the deep link's parameter `url`, such as `ulp` and `u`.
    pub deep_link_aliases: Vec<String>,
}

/// Says which of a program's terms of landing is wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLanding {
    /// The landing page's template.
    #[error(transparent)]
    Template(#[from] BadTemplate),
    /// A host for deep links.
    #[error(transparent)]
    Host(#[from] BadHost),
    /// The click id's parameter.
    #[error("{0:?} is not a parameter name: 1 to 32 of a-z, 0-9, '_' and '-'")]
    Param(String),
}

impl Landing {
    /// Compiles a program's terms from their texts.
    pub fn compile(
        template: &str,
        click_id_param: &str,
        allowed_hosts: &[String],
        schemes: Schemes,
        program_slug: &str,
    ) -> Result<Self, BadLanding> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if !(1..=32).contains(&click_id_param.len()) || !click_id_param.chars().all(is_name) {
            return Err(BadLanding::Param(click_id_param.chars().take(64).collect()));
        }
        Ok(Self {
            template: LandingTemplate::parse(template, schemes)?,
            program_slug: program_slug.to_owned(),
            click_id_param: click_id_param.to_owned(),
            utm_defaults: QueryTemplate::parse(UTM_DEFAULTS)?,
            allowed_hosts: AllowedHosts::parse(allowed_hosts.iter().map(String::as_str))?,
            schemes,
            deep_link_aliases: Vec::new(),
        })
    }
}

/// Host names in lower-case ASCII, without duplicates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowedHosts(Vec<String>);

/// Says why a host cannot be allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a host name such as shop.example (no scheme, port, path, wildcard or IP)")]
pub struct BadHost(pub String);

/// Who clicked what, for the macros.
#[derive(Debug, Clone, Copy)]
pub struct Visit<'a> {
    /// The query string of the link as received, without `?`.
    pub query: &'a str,
    /// The signed click id; `None` where the visit is not a click.
    pub click_id: Option<&'a str>,
    /// The partner, for `{partner_id}`.
    pub partner: PartnerNo,
    /// The partner's readable name, for `{partner_slug}`.
    pub partner_slug: &'a str,
    /// The link, for `{link_id}`.
    pub link: LinkNo,
    /// The time, for `{ts}`.
    pub at: Timestamp,
}

/// Where to send the visitor, and what his link brought along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The address for the `Location` header: ASCII, serialized, on a host of the program.
    pub location: String,
    /// The page of a deep link that was taken: host and the beginning of its path.
    pub page: Option<String>,
    /// The partner's labels.
    pub subs: [Option<String>; SUBS],
    /// How many labels were cut.
    pub subs_cut: u8,
    /// How many labels were hashed or dropped as e-mail addresses.
    pub subs_pii: u8,
    /// The token of a marked advertisement.
    pub erid: Option<String>,
    /// Whether the link was scanned from paper.
    pub qr: bool,
    /// The advertising network that brought the visitor to the link.
    pub paid: Option<AdNetwork>,
    /// Why the page asked for was not taken, if one was asked for and refused.
    pub deep_link_rejected: Option<DeepLinkRefusal>,
}

/// A page's name for people: longer ones are cut.
const PAGE_LEN_MAX: usize = 96;
/// `/category/item` tells pages apart; what follows is the visitor's affair.
const PAGE_STEPS: usize = 2;

/// Says why a deep link was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeepLinkRefusal {
    /// Longer than [`URL_LEN_MAX`] bytes.
    TooLong,
    /// A control character, whitespace or a backslash.
    BadCharacter,
    /// Not an absolute URL with a host.
    NotAUrl,
    /// Not `https`, nor `http` where the program allows it.
    Scheme,
    /// A user name or password, as in `https://shop.example@evil.example/`.
    UserInfo,
    /// A port of its own.
    Port,
    /// An IP address.
    IpHost,
    /// A host that the program does not allow.
    ForeignHost,
}

impl DeepLinkRefusal {
    /// Returns the label of the metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::BadCharacter => "bad_character",
            Self::NotAUrl => "not_a_url",
            Self::Scheme => "scheme",
            Self::UserInfo => "user_info",
            Self::Port => "port",
            Self::IpHost => "ip_host",
            Self::ForeignHost => "foreign_host",
        }
    }
}

/// Decides where a visitor goes.
pub fn destination(landing: &Landing, visit: &Visit<'_>, pii: SubIdPii<'_>) -> Destination {
    let found = Parameters::parse(visit.query, &landing.deep_link_aliases, pii);
    let values = ClickValues { landing, visit, found: &found };
    let (location, page, deep_link_rejected) = match found.deep_link.as_deref() {
        None => (to_landing(&values), None, None),
        Some(text) => match check_deep_link(landing, text) {
            Ok(url) => (to_deep_link(&values, &url), Some(page(&url)), None),
            Err(refusal) => (to_landing(&values), None, Some(refusal)),
        },
    };
    Destination {
        location,
        page,
        subs_cut: found.subs_cut,
        subs_pii: found.subs_pii,
        erid: found.erid.map(Into::into),
        qr: found.qr,
        paid: found.paid,
        subs: found.subs,
        deep_link_rejected,
    }
}

/// Parses a deep link, if it leads to a host of the program.
pub fn check_deep_link(landing: &Landing, text: &str) -> Result<Url, DeepLinkRefusal> {
    if text.len() > URL_LEN_MAX {
        return Err(DeepLinkRefusal::TooLong);
    }
    if text.chars().any(is_unsafe) {
        return Err(DeepLinkRefusal::BadCharacter);
    }
    let url = Url::parse(text).map_err(|_| DeepLinkRefusal::NotAUrl)?;
    if !landing.schemes.allow(url.scheme()) {
        return Err(DeepLinkRefusal::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(DeepLinkRefusal::UserInfo);
    }
    if url.port().is_some() {
        return Err(DeepLinkRefusal::Port);
    }
    match url.host() {
        Some(Host::Domain(host)) if landing.allowed_hosts.allow(host) => Ok(url),
        Some(Host::Domain(_)) => Err(DeepLinkRefusal::ForeignHost),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => Err(DeepLinkRefusal::IpHost),
        None => Err(DeepLinkRefusal::NotAUrl),
    }
}

impl AllowedHosts {
    /// Parses host names, international ones too, into their ASCII form.
    pub fn parse<'a>(hosts: impl IntoIterator<Item = &'a str>) -> Result<Self, BadHost> {
        let mut known = Vec::new();
        for text in hosts {
            let bad = || BadHost(text.chars().take(300).collect());
            let Ok(Host::Domain(host)) = Host::parse(text) else { return Err(bad()) };
            // A single label is a top-level domain: its subdomains belong to everybody.
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
            let labels = || host.split('.');
            if host.len() > 253
                || !host.chars().all(is_name)
                || labels().count() < 2
                || labels().any(str::is_empty)
            {
                return Err(bad());
            }
            if !known.contains(&host) {
                known.push(host);
            }
        }
        Ok(Self(known))
    }

    /// Tells whether `host`, lower-case ASCII, is one of these or below one.
    pub fn allow(&self, host: &str) -> bool {
        self.0.iter().any(|allowed| {
            let above = host.strip_suffix(allowed.as_str());
            above.is_some_and(|sub| sub.is_empty() || sub.ends_with('.'))
        })
    }
}

fn to_landing(values: &ClickValues<'_>) -> String {
    let template = &values.landing.template;
    let mut location = String::with_capacity(256);
    template.base.render(&mut location, values);
    let mut query = Query::of(&mut location);
    for pair in &template.query.0 {
        pair.render(&mut query, values);
    }
    let has = |name: &str| template.query.0.iter().any(|p| p.name.eq_ignore_ascii_case(name));
    if !template.has(Macro::ClickId) {
        push_click_id(&mut query, values);
    }
    push_marks(&mut query, values, template.has(Macro::Erid), &has);
    if let Some(fragment) = &template.fragment {
        location.push('#');
        fragment.render(&mut location, values);
    }
    location
}

/// Names a page as people talk of it: host and at most two steps of its path, without a query.
fn page(url: &Url) -> String {
    let mut page = url.host_str().unwrap_or_default().to_owned();
    for step in url.path_segments().into_iter().flatten().take(PAGE_STEPS) {
        page.push('/');
        page.push_str(step);
    }
    page.truncate(page.floor_char_boundary(PAGE_LEN_MAX));
    page
}

/// Adds what depends on the click to a checked page: the template's parameters with macros, the
/// click id, the marks. A parameter of that name in the deep link gives way, or a partner could
/// slip in a click id of his own.
fn to_deep_link(values: &ClickValues<'_>, url: &Url) -> String {
    let landing = values.landing;
    let is_utm = |pair: &&Pair| pair.name.starts_with("utm_");
    let own: Vec<&Pair> = landing.template.query.0.iter().filter(|p| p.has_macro()).collect();
    let raw_pairs: Vec<(&str, String)> = url
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| (pair, decoded_name(pair)))
        .collect();
    let in_link = |name: &str| raw_pairs.iter().any(|(_, n)| n.eq_ignore_ascii_case(name));
    let is_own = |name: &str| {
        name.eq_ignore_ascii_case(&landing.click_id_param)
            || own.iter().any(|p| !is_utm(p) && p.name.eq_ignore_ascii_case(name))
    };
    let mut location = url[..url::Position::AfterPath].to_owned();
    let mut query = Query::of(&mut location);
    for (pair, name) in &raw_pairs {
        if !is_own(name) {
            query.push_raw(pair);
        }
    }
    // A UTM mark that the page's address has already is never overwritten.
    for pair in own.iter().filter(|p| !(is_utm(p) && in_link(&p.name))) {
        pair.render(&mut query, values);
    }
    if !landing.template.query.has(Macro::ClickId) {
        push_click_id(&mut query, values);
    }
    let has = |name: &str| in_link(name) || own.iter().any(|p| p.name == name);
    push_marks(&mut query, values, landing.template.query.has(Macro::Erid), &has);
    if let Some(fragment) = url.fragment() {
        location.push('#');
        location.push_str(fragment);
    }
    location
}

fn push_click_id(query: &mut Query<'_>, values: &ClickValues<'_>) {
    if let Some(click_id) = values.visit.click_id {
        query.push(&values.landing.click_id_param, click_id);
    }
}

/// Appends the advertisement's token and UTM marks: the visitor's, then the program's defaults.
fn push_marks(
    query: &mut Query<'_>,
    values: &ClickValues<'_>,
    has_erid: bool,
    has: &dyn Fn(&str) -> bool,
) {
    if let (Some(erid), false) = (&values.found.erid, has_erid || has("erid")) {
        query.push("erid", erid);
    }
    for (name, value) in values.found.utm.iter().filter(|(name, _)| !has(name)) {
        query.push(name, value);
    }
    let is_given = |name: &str| values.found.utm.iter().any(|(given, _)| given == name);
    for pair in &values.landing.utm_defaults.0 {
        if !has(&pair.name) && !is_given(&pair.name) {
            pair.render(query, values);
        }
    }
}

struct ClickValues<'a> {
    landing: &'a Landing,
    visit: &'a Visit<'a>,
    found: &'a Parameters<'a>,
}

impl ClickValues<'_> {
    fn text(&self, m: Macro) -> Option<&str> {
        match m {
            Macro::ClickId => self.visit.click_id,
            Macro::PartnerSlug => Some(self.visit.partner_slug),
            Macro::Program => Some(&self.landing.program_slug),
            Macro::Sub(n) => self.found.subs[usize::from(n)].as_deref(),
            Macro::Erid => self.found.erid.as_deref(),
            Macro::PartnerId | Macro::LinkId | Macro::Ts => None,
        }
    }
}

impl Values for ClickValues<'_> {
    fn is_empty(&self, m: Macro) -> bool {
        match m {
            Macro::PartnerId | Macro::LinkId | Macro::Ts => false,
            Macro::ClickId | Macro::PartnerSlug | Macro::Program | Macro::Sub(_) | Macro::Erid => {
                self.text(m).is_none_or(str::is_empty)
            }
        }
    }

    fn write(&self, m: Macro, out: &mut String) {
        let written = match m {
            Macro::PartnerId => write!(out, "{}", self.visit.partner),
            Macro::LinkId => write!(out, "{}", self.visit.link),
            Macro::Ts => write!(out, "{}", self.visit.at.timestamp()),
            Macro::ClickId | Macro::PartnerSlug | Macro::Program | Macro::Sub(_) | Macro::Erid => {
                push_encoded(out, self.text(m).unwrap_or_default());
                Ok(())
            }
        };
        written.expect("writing to a String cannot fail");
    }
}

#[cfg(test)]
#[path = "destination_tests.rs"]
mod tests;
