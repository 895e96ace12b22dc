//! Decides on the request whether it is a click, and by what kind of browser.
//!
//! A person who follows a link is paid for, so two mistakes cost money: a bot taken for a person,
//! and an in-app browser (Instagram, Telegram, VK) taken for a bot. The list of agents is the
//! curated one of `crawlers.txt`, not fragments such as `bot` or `google`, which hit real people.
//! The agent itself is not kept: class, reason, browser and device are.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;

use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

/// What is looked at of a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestHead<'a> {
    /// The method, upper-case.
    pub method: &'a str,
    /// `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// `Sec-Purpose`: `prefetch`, `prefetch;prerender`.
    pub sec_purpose: Option<&'a str>,
    /// `Purpose`, the older form.
    pub purpose: Option<&'a str>,
    /// `X-Purpose`, the oldest form.
    pub x_purpose: Option<&'a str>,
    /// `X-Moz`, Firefox's old form.
    pub x_moz: Option<&'a str>,
    /// `Sec-Fetch-Dest`: `document` for a navigation.
    pub sec_fetch_dest: Option<&'a str>,
    /// `Sec-GPC`: `1` if the visitor asked not to be recognized.
    pub sec_gpc: Option<&'a str>,
}

macro_rules! coded {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$vdoc:meta])* $variant:ident = $code:literal $text:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant = $code,)+ }

        impl $name {
            /// Every value, in the order of its codes.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Returns the number that is stored and sent; it never changes its meaning.
            pub fn code(self) -> u8 {
                self as u8
            }

            /// Reads a stored number back.
            pub fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// Returns the name in metrics, reports and answers.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

coded! {
    /// What kind of visit it is.
    Class {
        /// A person following a link: the only class that is ever paid.
        Human = 0 "human",
        /// Perhaps a person: gets a click id, is counted, is not paid.
        Suspect = 1 "suspect",
        /// A machine, or a resource loaded by a page: no click id.
        Bot = 2 "bot",
        /// A messenger or network drawing a card of the page: no click id.
        Preview = 3 "preview",
        /// A HEAD request: no click id.
        Head = 4 "head",
        /// Fetched ahead in case somebody clicks: answered by 503, so that the true click arrives.
        Prefetch = 5 "prefetch",
    }
}

coded! {
    /// Why a visit has its class.
    Reason {
        /// Nothing speaks against a person.
        Navigation = 0 "navigation",
        /// There is no `User-Agent`.
        EmptyAgent = 1 "empty_agent",
        /// The agent is on the list of crawlers, monitors and HTTP libraries.
        CrawlerAgent = 2 "crawler_agent",
        /// The agent is on the list of link previews.
        PreviewAgent = 3 "preview_agent",
        /// `Sec-Fetch-Dest` says image, frame, script or the like: no person navigated.
        Embedded = 4 "embedded",
        /// The method is HEAD.
        HeadMethod = 5 "head_method",
        /// A header says that the fetch is speculative.
        Speculative = 6 "speculative",
    }
}

coded! {
    /// The family of a browser; in-app browsers are families of their own.
    Browser {
        /// None of the others.
        Other = 0 "other",
        /// Chrome, Chromium and what calls itself nothing else.
        Chrome = 1 "chrome",
        /// Safari.
        Safari = 2 "safari",
        /// Firefox.
        Firefox = 3 "firefox",
        /// Microsoft Edge.
        Edge = 4 "edge",
        /// Opera.
        Opera = 5 "opera",
        /// Yandex Browser and the Yandex app.
        Yandex = 6 "yandex",
        /// Samsung Internet.
        Samsung = 7 "samsung",
        /// Inside Instagram.
        Instagram = 8 "instagram",
        /// Inside Facebook or Messenger.
        Facebook = 9 "facebook",
        /// Inside Telegram.
        Telegram = 10 "telegram",
        /// Inside VK.
        Vk = 11 "vk",
        /// Inside another app.
        InApp = 12 "in_app",
    }
}

coded! {
    /// The class of a device.
    Device {
        /// None of the others, or not told.
        Other = 0 "other",
        /// A phone.
        Mobile = 1 "mobile",
        /// A computer.
        Desktop = 2 "desktop",
        /// A tablet.
        Tablet = 3 "tablet",
    }
}

/// What is kept of a visit's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The class.
    pub class: Class,
    /// Why.
    pub reason: Reason,
    /// The browser.
    pub browser: Browser,
    /// The device.
    pub device: Device,
}

impl Class {
    /// Tells whether a visit of this class gets a click id.
    pub fn is_click(self) -> bool {
        matches!(self, Self::Human | Self::Suspect)
    }
}

impl RequestHead<'_> {
    /// Tells whether the visitor asked not to be recognized (Global Privacy Control).
    pub fn is_gpc(&self) -> bool {
        self.sec_gpc.is_some_and(|value| value.trim() == "1")
    }

    /// Tells whether a browser fetched ahead of its person: nothing may happen then.
    pub fn is_speculative(&self) -> bool {
        // `preview` is what Safari's Top Sites said in `X-Purpose`.
        const WORDS: [&str; 3] = ["prefetch", "prerender", "preview"];
        [self.sec_purpose, self.purpose, self.x_purpose, self.x_moz].into_iter().flatten().any(
            |value| {
                value
                    .split([';', ','])
                    .any(|w| WORDS.iter().any(|k| w.trim().eq_ignore_ascii_case(k)))
            },
        )
    }

    fn is_embedded(&self) -> bool {
        self.sec_fetch_dest.is_some_and(|dest| !dest.is_empty() && dest != "document")
    }
}

/// Classifies requests, remembering the agents seen last.
///
/// One per worker thread. It remembers hashes under a random seed, not agents, so nothing of a
/// person outlives the request; a newcomer takes the slot of the agent that was there.
#[derive(Debug)]
pub struct Classifier {
    slots: Box<[Option<(u64, Agent)>]>,
    seed: RandomState,
}

/// Some thousand different agents make nearly all traffic of a site; 24 bytes each.
const SLOTS: usize = 4096;

impl Default for Classifier {
    fn default() -> Self {
        Self { slots: vec![None; SLOTS].into(), seed: RandomState::new() }
    }
}

impl Classifier {
    /// Returns the verdict on a request; the same as [`classify`], but fast for known agents.
    pub fn classify(&mut self, head: &RequestHead<'_>) -> Verdict {
        let text = head.user_agent.unwrap_or_default();
        let hash = self.seed.hash_one(text);
        let slot = &mut self.slots[hash as usize % SLOTS];
        let agent = match slot {
            Some((known, agent)) if *known == hash => *agent,
            Some(_) | None => slot.insert((hash, Agent::read(text))).1,
        };
        decide(head, agent)
    }
}

/// Returns the verdict on a request.
pub fn classify(head: &RequestHead<'_>) -> Verdict {
    decide(head, Agent::read(head.user_agent.unwrap_or_default()))
}

fn decide(head: &RequestHead<'_>, agent: Agent) -> Verdict {
    let (class, reason) = if head.method == "HEAD" {
        (Class::Head, Reason::HeadMethod)
    } else if head.is_speculative() {
        (Class::Prefetch, Reason::Speculative)
    } else {
        match agent.kind {
            Kind::Crawler => (Class::Bot, Reason::CrawlerAgent),
            Kind::Preview => (Class::Preview, Reason::PreviewAgent),
            Kind::Empty | Kind::Person if head.is_embedded() => (Class::Bot, Reason::Embedded),
            Kind::Empty => (Class::Suspect, Reason::EmptyAgent),
            Kind::Person => (Class::Human, Reason::Navigation),
        }
    };
    Verdict { class, reason, browser: agent.browser, device: agent.device }
}

/// What an agent says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Agent {
    kind: Kind,
    browser: Browser,
    device: Device,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Person,
    Empty,
    Crawler,
    Preview,
}

/// Agents are cut here before they are read; the longest in-app browsers have about 500 bytes.
const AGENT_LEN_MAX: usize = 2048;

impl Agent {
    fn read(text: &str) -> Self {
        let text = &text[..text.floor_char_boundary(AGENT_LEN_MAX)];
        let bytes = text.as_bytes();
        let kind = if text.trim().is_empty() {
            Kind::Empty
        } else if PLAIN_BROWSER.is_match(bytes) {
            Kind::Person
        } else if CRAWLERS.previews.is_match(bytes) {
            Kind::Preview
        } else if CRAWLERS.bots.is_match(bytes) {
            Kind::Crawler
        } else {
            Kind::Person
        };
        Self { kind, browser: browser(text), device: device(text) }
    }
}

/// The agents that browsers send by default: no room in them for a name on the list, so the long
/// list need not be asked. A test holds this to be true.
static PLAIN_BROWSER: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"^Mozilla/5\.0 \((?:Windows NT [0-9.]+; Win64; x64|Macintosh; Intel Mac OS X [0-9_.]+|X11; Linux x86_64|Linux; Android [0-9.]+; K|iPhone; CPU iPhone OS [0-9_]+ like Mac OS X|iPad; CPU OS [0-9_]+ like Mac OS X)(?:; rv:[0-9.]+)?\)(?: (?:AppleWebKit|Gecko|Chrome|Safari|Firefox|Version|Mobile|Edg|EdgA|EdgiOS|OPR|YaBrowser|SamsungBrowser|CriOS|FxiOS)/[0-9A-Z.]+| \(KHTML, like Gecko\)| Mobile)+$";
    RegexBuilder::new(pattern).unicode(false).build().expect("the pattern is tested")
});

/// Listed as a preview, but it is the browser inside Facebook's apps: a customer.
const PEOPLE_ON_THE_LIST: [&str; 1] = ["MetaIAB Facebook"];

struct Crawlers {
    previews: RegexSet,
    bots: RegexSet,
}

static CRAWLERS: LazyLock<Crawlers> = LazyLock::new(|| {
    let compile = |kind: &str| {
        let patterns = crawler_patterns().filter(|(k, _)| *k == kind).map(|(_, p)| p);
        RegexSetBuilder::new(patterns)
            .unicode(false)
            .size_limit(64 << 20)
            .dfa_size_limit(32 << 20)
            .build()
            .expect("the list is compiled by a test")
    };
    Crawlers { previews: compile("preview"), bots: compile("bot") }
});

/// Compiles the list now, so that the first visitor does not wait for it.
pub fn prepare() {
    LazyLock::force(&CRAWLERS);
    LazyLock::force(&PLAIN_BROWSER);
}

/// Returns kind and pattern of each line; patterns may end in a space that counts.
fn crawler_patterns() -> impl Iterator<Item = (&'static str, &'static str)> {
    include_str!("crawlers.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('\t'))
        .filter(|(_, pattern)| !PEOPLE_ON_THE_LIST.contains(pattern))
}

/// The first word found decides: nearly everybody also claims to be Chrome and Safari.
const BROWSERS: [(&str, Browser); 34] = [
    ("Instagram", Browser::Instagram),
    ("FBAN/", Browser::Facebook),
    ("FBAV/", Browser::Facebook),
    ("FB_IAB", Browser::Facebook),
    ("MetaIAB", Browser::Facebook),
    ("Telegram-", Browser::Telegram),
    ("VKAndroidApp", Browser::Vk),
    ("com.vk.", Browser::Vk),
    ("VKClient", Browser::Vk),
    ("Odnoklassniki", Browser::InApp),
    ("Snapchat", Browser::InApp),
    ("Pinterest/", Browser::InApp),
    ("BytedanceWebview", Browser::InApp),
    ("musical_ly", Browser::InApp),
    ("LinkedInApp", Browser::InApp),
    ("Twitter for", Browser::InApp),
    ("MicroMessenger", Browser::InApp),
    ("Line/", Browser::InApp),
    ("YaBrowser/", Browser::Yandex),
    ("YaSearchBrowser", Browser::Yandex),
    ("YaApp_", Browser::Yandex),
    ("SamsungBrowser/", Browser::Samsung),
    ("Edg/", Browser::Edge),
    ("EdgA/", Browser::Edge),
    ("EdgiOS/", Browser::Edge),
    ("OPR/", Browser::Opera),
    ("OPT/", Browser::Opera),
    ("FxiOS/", Browser::Firefox),
    ("Firefox/", Browser::Firefox),
    ("CriOS/", Browser::Chrome),
    ("; wv)", Browser::InApp),
    ("Chrome/", Browser::Chrome),
    ("Version/", Browser::Safari),
    ("AppleWebKit/", Browser::InApp),
];

fn browser(agent: &str) -> Browser {
    let found = BROWSERS.iter().find(|(word, _)| agent.contains(word));
    found.map_or(Browser::Other, |(_, browser)| *browser)
}

fn device(agent: &str) -> Device {
    let has = |word: &str| agent.contains(word);
    if has("TV") || has("Tizen") || has("Web0S") || has("PlayStation") || has("Xbox") {
        Device::Other
    } else if has("iPad") || has("Tablet") || (has("Android") && !has("Mobile")) {
        Device::Tablet
    } else if has("Mobile") || has("iPhone") || has("Mobi") {
        Device::Mobile
    } else if has("Windows NT") || has("Macintosh") || has("X11;") || has("CrOS") {
        Device::Desktop
    } else {
        Device::Other
    }
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
