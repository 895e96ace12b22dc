//! A program's landing address with macros, compiled when the program is saved.
//!
//! `https://shop.example/?cid={click_id}&src={partner_slug}`: literals are kept as the URL
//! standard serializes them, values are percent-encoded down to the unreserved characters, so a
//! rendered address needs no second look. A macro may never choose the host, and free text from
//! a stranger may never become part of the path.

use url::{Host, Url};

/// The longest template and, with the same reason, the longest deep link: what browsers, mail
/// programs and shops carry safely.
pub const URL_LEN_MAX: usize = 2048;

/// Stands for a value that is known only at the click.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Macro {
    /// `{click_id}`: the signed click id.
    ClickId,
    /// `{partner_id}`: the partner's number, as in the token.
    PartnerId,
    /// `{partner_slug}`: the partner's readable name.
    PartnerSlug,
    /// `{program}`: the program's readable name.
    Program,
    /// `{link_id}`: the link's number, as in the token.
    LinkId,
    /// `{sub1}` to `{sub5}`, as 0 to 4.
    Sub(u8),
    /// `{erid}`: the token of a marked advertisement.
    Erid,
    /// `{ts}`: seconds since 1970.
    Ts,
}

/// Says what is wrong with a landing template, in words for its author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTemplate {
    /// Longer than [`URL_LEN_MAX`] bytes.
    #[error("the address is longer than {URL_LEN_MAX} bytes")]
    TooLong,
    /// A control character, a space or a backslash.
    #[error("the address holds a space, a control character or a backslash")]
    BadCharacter,
    /// Not an absolute URL.
    #[error("not an absolute URL such as https://shop.example/?click_id={{click_id}}: {0}")]
    NotAUrl(#[from] url::ParseError),
    /// Neither https nor, where the program allows it, http.
    #[error("the address must begin with https:// (http:// only if the program allows it)")]
    Scheme,
    /// No host name, an IP address, a user name or a port of its own.
    #[error("the address must name a host: no IP address, no user name, no port, no macro in it")]
    Host,
    /// A brace without its partner.
    #[error("a brace is not closed, or closed without being opened")]
    Brace,
    /// A name that is no macro.
    #[error(
        "{{{0}}} is no macro; known are click_id, partner_id, partner_slug, program, link_id, \
         sub1 to sub5, erid, ts"
    )]
    UnknownMacro(String),
    /// Free text in the path could climb out of it with `..`.
    #[error("{{sub1}} to {{sub5}} and {{erid}} may stand only after \"?\" or \"#\"")]
    FreeTextInPath,
    /// A macro in the name of a parameter.
    #[error("a macro may stand only in the value of a parameter, not in its name: {0}")]
    MacroInName(String),
}

/// A landing address, ready to be rendered for each click.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LandingTemplate {
    /// Scheme, host and path.
    pub(super) base: Text,
    pub(super) query: QueryTemplate,
    /// What stands after `#`, if anything does.
    pub(super) fragment: Option<Text>,
}

/// The parameters of an address, some with macros.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryTemplate(pub(super) Vec<Pair>);

/// One parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    /// Its name, decoded, for comparison.
    pub(super) name: String,
    /// Its name as it stands in the address; with `=` if it has one.
    raw_name: String,
    value: Text,
}

/// Literals and macros in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Macro(Macro),
}

impl LandingTemplate {
    /// Compiles a template; `http://` passes only with [`Schemes::HttpToo`].
    pub fn parse(text: &str, schemes: Schemes) -> Result<Self, BadTemplate> {
        if text.len() > URL_LEN_MAX {
            return Err(BadTemplate::TooLong);
        }
        if text.chars().any(is_unsafe) {
            return Err(BadTemplate::BadCharacter);
        }
        let url = Url::parse(text)?;
        if !schemes.allow(url.scheme()) {
            return Err(BadTemplate::Scheme);
        }
        let has_user = !url.username().is_empty() || url.password().is_some();
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.contains(['{', '}']) => name,
            Some(Host::Domain(_) | Host::Ipv4(_) | Host::Ipv6(_)) | None => {
                return Err(BadTemplate::Host);
            }
        };
        if has_user || url.port().is_some() {
            return Err(BadTemplate::Host);
        }
        // The URL standard escapes braces in a path, and only there.
        let path = url.path().replace("%7B", "{").replace("%7D", "}");
        let base = Text::parse(&format!("{}://{host}{path}", url.scheme()))?;
        if base.macros().any(Macro::is_free_text) {
            return Err(BadTemplate::FreeTextInPath);
        }
        Ok(Self {
            base,
            query: QueryTemplate::parse(url.query().unwrap_or_default())?,
            fragment: url.fragment().map(Text::parse).transpose()?,
        })
    }

    /// Tells whether `wanted` stands anywhere in the template.
    pub fn has(&self, wanted: Macro) -> bool {
        let fragment = self.fragment.iter().flat_map(Text::macros);
        self.base.macros().chain(fragment).any(|m| m == wanted) || self.query.has(wanted)
    }
}

/// The schemes that a program's addresses may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schemes {
    /// The default.
    HttpsOnly,
    /// For a shop that has no certificate.
    HttpToo,
}

impl Schemes {
    pub(super) fn allow(self, scheme: &str) -> bool {
        match self {
            Self::HttpsOnly => scheme == "https",
            Self::HttpToo => matches!(scheme, "https" | "http"),
        }
    }
}

impl QueryTemplate {
    /// Compiles `name=value&name={macro}`; the text is taken as already percent-encoded.
    pub fn parse(text: &str) -> Result<Self, BadTemplate> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        pairs.map(Pair::parse).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn has(&self, wanted: Macro) -> bool {
        self.0.iter().any(|pair| pair.value.macros().any(|m| m == wanted))
    }
}

impl Pair {
    fn parse(text: &str) -> Result<Self, BadTemplate> {
        let (name, value) = match text.find('=') {
            Some(at) => text.split_at(at + 1),
            None => (text, ""),
        };
        if name.contains(['{', '}']) {
            return Err(BadTemplate::MacroInName(name.to_owned()));
        }
        Ok(Self { name: decoded_name(name), raw_name: name.to_owned(), value: Text::parse(value)? })
    }

    /// Tells whether the value depends on the click.
    pub(super) fn has_macro(&self) -> bool {
        self.value.macros().next().is_some()
    }

    /// Appends the pair to `out`; nothing if it is made of macros alone and all are empty, so
    /// that no shop sees `erid=` where nothing was marked.
    pub(super) fn render(&self, out: &mut Query<'_>, values: &impl Values) {
        let pieces = &self.value.0;
        let is_empty = |piece: &Piece| match piece {
            Piece::Literal(_) => false,
            Piece::Macro(m) => values.is_empty(*m),
        };
        if pieces.is_empty() || !pieces.iter().all(is_empty) {
            out.start_pair();
            out.text.push_str(&self.raw_name);
            self.value.render(out.text, values);
        }
    }
}

impl Text {
    fn parse(mut rest: &str) -> Result<Self, BadTemplate> {
        let mut pieces = Vec::new();
        while let Some(open) = rest.find(['{', '}']) {
            let (literal, tail) = rest.split_at(open);
            let body = tail.strip_prefix('{').ok_or(BadTemplate::Brace)?;
            let (name, after) = body.split_once('}').ok_or(BadTemplate::Brace)?;
            let found = Macro::from_name(name);
            if !literal.is_empty() {
                pieces.push(Piece::Literal(literal.to_owned()));
            }
            pieces.push(Piece::Macro(
                found.ok_or_else(|| BadTemplate::UnknownMacro(name.to_owned()))?,
            ));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    fn macros(&self) -> impl Iterator<Item = Macro> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Literal(_) => None,
            Piece::Macro(m) => Some(*m),
        })
    }

    pub(super) fn render(&self, out: &mut String, values: &impl Values) {
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Macro(m) => values.write(*m, out),
            }
        }
    }
}

impl Macro {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "click_id" => Self::ClickId,
            "partner_id" => Self::PartnerId,
            "partner_slug" => Self::PartnerSlug,
            "program" => Self::Program,
            "link_id" => Self::LinkId,
            "sub1" => Self::Sub(0),
            "sub2" => Self::Sub(1),
            "sub3" => Self::Sub(2),
            "sub4" => Self::Sub(3),
            "sub5" => Self::Sub(4),
            "erid" => Self::Erid,
            "ts" => Self::Ts,
            _ => return None,
        })
    }

    fn is_free_text(self) -> bool {
        matches!(self, Self::Sub(_) | Self::Erid)
    }
}

/// The values of one click.
pub(super) trait Values {
    fn is_empty(&self, m: Macro) -> bool;
    /// Appends the value, percent-encoded.
    fn write(&self, m: Macro, out: &mut String);
}

/// The growing query of an address: knows whether `?` or `&` is due.
pub(super) struct Query<'a> {
    pub(super) text: &'a mut String,
    is_begun: bool,
}

impl<'a> Query<'a> {
    pub(super) fn of(text: &'a mut String) -> Self {
        Self { text, is_begun: false }
    }

    fn start_pair(&mut self) {
        self.text.push(if self.is_begun { '&' } else { '?' });
        self.is_begun = true;
    }

    /// Appends a pair that is already encoded.
    pub(super) fn push_raw(&mut self, pair: &str) {
        self.start_pair();
        self.text.push_str(pair);
    }

    /// Appends a pair, encoding both sides.
    pub(super) fn push(&mut self, name: &str, value: &str) {
        self.start_pair();
        push_encoded(self.text, name);
        self.text.push('=');
        push_encoded(self.text, value);
    }
}

/// The unreserved characters of RFC 3986, 2.3.
const UNRESERVED: [bool; 256] = {
    let mut unreserved = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let is_mark = matches!(byte, b'-' | b'.' | b'_' | b'~');
        unreserved[byte as usize] = byte.is_ascii_alphanumeric() || is_mark;
        byte += 1;
    }
    unreserved
};

/// Appends `value` with everything but the unreserved characters of RFC 3986 percent-encoded.
pub(super) fn push_encoded(out: &mut String, value: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let is_unreserved = |byte: u8| UNRESERVED[usize::from(byte)];
    if value.bytes().all(is_unreserved) {
        out.push_str(value);
        return;
    }
    for byte in value.bytes() {
        if is_unreserved(byte) {
            out.push(char::from(byte));
        } else {
            let digit = |n: u8| char::from(HEX[usize::from(n)]);
            out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

/// Returns the name of a raw `name=value` pair as the shop will read it.
pub(super) fn decoded_name(pair: &str) -> String {
    let name = url::form_urlencoded::parse(pair.as_bytes()).next();
    name.map(|(name, _)| name.into_owned()).unwrap_or_default()
}

/// Tells whether a character has no place in an address before parsing: URL parsers drop or
/// rewrite these, and that is how two readers of one address come to see two hosts.
pub(super) fn is_unsafe(c: char) -> bool {
    c.is_control() || c.is_whitespace() || c == '\\'
}
