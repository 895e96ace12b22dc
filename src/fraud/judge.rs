//! The rules themselves: what is known of a commission in, flags out. Pure.

use chrono::TimeDelta;
use serde_json::json;

use crate::fraud::policy::{Policy, RateLimit};
use crate::fraud::{Flag, Rule};
use crate::link::paid::AdNetwork;

/// By what a customer was recognized as the partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelfMatch {
    /// The shop's name of the customer is the partner's contact address.
    Email,
    /// The shop's name of the customer was registered as the partner's own.
    OwnCustomer,
}

/// What is kept of a click that suspicion looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClickMarks {
    /// Host of the referring page.
    pub referrer_host: Option<String>,
    /// The advertising network that the visitor's address named.
    pub paid: Option<AdNetwork>,
}

/// How many of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Those that count.
    pub n_part: u32,
    /// All.
    pub n_all: u32,
}

/// One partner's part in a conversion. What is not given is not judged now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suspect {
    /// How the customer was recognized as the partner, if it was.
    pub self_match: Option<SelfMatch>,
    /// Time from the click to the conversion.
    pub since_click: Option<TimeDelta>,
    /// What is known of the click.
    pub click: Option<ClickMarks>,
    /// Conversions of the partner in the same hour, this one included.
    pub n_in_hour: Option<u32>,
    /// The partner's conversions that were refunded, of those looked back at.
    pub refunded: Option<Rate>,
    /// The referring host that brought most of the partner's conversions looked back at; an empty
    /// one stands for visitors without.
    pub top_source: Option<(String, Rate)>,
}

/// Returns everything that looks wrong, in the order of [`Rule::ALL`].
pub fn judge(policy: &Policy, suspect: &Suspect) -> Vec<Flag> {
    let flags = [
        self_referral(policy, suspect),
        too_fast(policy, suspect),
        too_slow(policy, suspect),
        velocity(policy, suspect),
        refund_rate(policy, suspect),
        source_share(policy, suspect),
        paid_traffic(policy, suspect),
        banned_referrer(policy, suspect),
    ];
    flags.into_iter().flatten().collect()
}

fn self_referral(policy: &Policy, suspect: &Suspect) -> Option<Flag> {
    let by = suspect.self_match.filter(|_| policy.self_referral)?;
    let (code, what) = match by {
        SelfMatch::Email => ("email", "the partner's contact address"),
        SelfMatch::OwnCustomer => ("own_customer", "a customer registered as the partner's own"),
    };
    Some(Flag {
        rule: Rule::SelfReferral,
        figures: json!({"matched": code}),
        sentence: format!("The shop's name of the customer is {what}."),
    })
}

fn too_fast(policy: &Policy, suspect: &Suspect) -> Option<Flag> {
    let (limit, since) = (policy.too_fast?, suspect.since_click?);
    // The shop's clock may lag: an order before its click came at once.
    let since = since.max(TimeDelta::zero());
    (since < limit).then(|| Flag {
        rule: Rule::TooFast,
        figures: json!({"seconds": since.num_seconds(), "limit_seconds": limit.num_seconds()}),
        sentence: format!(
            "It came {} after the click; below {} nobody buys here.",
            span(since),
            span(limit)
        ),
    })
}

fn too_slow(policy: &Policy, suspect: &Suspect) -> Option<Flag> {
    let (limit, since) = (policy.too_slow?, suspect.since_click?);
    (since > limit).then(|| Flag {
        rule: Rule::TooSlow,
        figures: json!({"seconds": since.num_seconds(), "limit_seconds": limit.num_seconds()}),
        sentence: format!(
            "It came {} after the click; the program looks at what takes longer than {}.",
            span(since),
            span(limit)
        ),
    })
}

fn velocity(policy: &Policy, suspect: &Suspect) -> Option<Flag> {
    let (limit, n) = (policy.velocity_per_hour?, suspect.n_in_hour?);
    (n > limit).then(|| Flag {
        rule: Rule::Velocity,
        figures: json!({"conversions": n, "limit": limit}),
        sentence: format!("The partner earned {n} times in this hour; {limit} are usual at most."),
    })
}

fn refund_rate(policy: &Policy, suspect: &Suspect) -> Option<Flag> {
    let (limit, rate) = (policy.refund_rate?, suspect.refunded?);
    is_beyond(limit, rate).then(|| Flag {
        rule: Rule::RefundRate,
        figures: json!({"refunded": rate.n_part, "conversions": rate.n_all, "days": limit.days,
            "limit_percent": limit.percent}),
        sentence: format!(
            "Of the partner's {} conversions of {} days {} ({}) were refunded; {} % are allowed.",
            rate.n_all,
            limit.days,
            rate.n_part,
            percent(rate),
            limit.percent
        ),
    })
}

fn source_share(policy: &Policy, suspect: &Suspect) -> Option<Flag> {
    let (limit, (host, rate)) = (policy.source_share?, suspect.top_source.as_ref()?);
    let name = if host.is_empty() { "pages that name no host" } else { host };
    is_beyond(limit, *rate).then(|| Flag {
        rule: Rule::SourceShare,
        figures: json!({"host": host, "conversions_of_host": rate.n_part,
            "conversions": rate.n_all, "days": limit.days, "limit_percent": limit.percent}),
        sentence: format!(
            "Of the partner's {} conversions of {} days {} ({}) came from {name}; {} % are allowed.",
            rate.n_all,
            limit.days,
            rate.n_part,
            percent(*rate),
            limit.percent
        ),
    })
}

fn paid_traffic(policy: &Policy, suspect: &Suspect) -> Option<Flag> {
    let network = suspect.click.as_ref()?.paid?;
    policy.paid_traffic.contains(&network).then(|| Flag {
        rule: Rule::PaidTraffic,
        figures: json!({"network": network.name()}),
        sentence: format!(
            "The visitor came from an advertisement on {}, which the program does not pay for.",
            network.name()
        ),
    })
}

fn banned_referrer(policy: &Policy, suspect: &Suspect) -> Option<Flag> {
    let host = suspect.click.as_ref()?.referrer_host.as_ref()?;
    policy.banned_referrers.allow(host).then(|| Flag {
        rule: Rule::BannedReferrer,
        figures: json!({"host": host}),
        sentence: format!("The visitor came from {host}, which the program has banned."),
    })
}

fn is_beyond(limit: RateLimit, rate: Rate) -> bool {
    let (part, all) = (u64::from(rate.n_part), u64::from(rate.n_all));
    rate.n_all >= limit.conversions_min && part * 100 > all * u64::from(limit.percent)
}

/// Returns a share with one decimal, rounded down: what is shown as the limit is within it.
fn percent(rate: Rate) -> String {
    let tenths = u64::from(rate.n_part) * 1000 / u64::from(rate.n_all.max(1));
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// Returns a length of time in the unit that people would choose.
fn span(time: TimeDelta) -> String {
    match time.num_seconds() {
        s if s < 120 => format!("{s} s"),
        s if s < 7200 => format!("{} min", s / 60),
        s if s < 3 * 86_400 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fraud::PolicyDocument;

    fn strict() -> Policy {
        let document: PolicyDocument = serde_json::from_value(json!({
            "too_fast_seconds": 10, "too_slow_hours": 720, "velocity_per_hour": 40,
            "refund_rate": {"percent": 25, "conversions_min": 20},
            "source_share": {"percent": 90, "conversions_min": 50},
            "paid_traffic": ["gclid"], "banned_referrers": ["spam.example"]}))
        .unwrap();
        Policy::try_from(&document).unwrap()
    }

    fn clicked(host: &str, paid: Option<AdNetwork>) -> Suspect {
        let click = Some(ClickMarks { referrer_host: Some(host.to_owned()), paid });
        Suspect { click, ..Suspect::default() }
    }

    fn after(seconds: i64) -> Suspect {
        Suspect { since_click: Some(TimeDelta::seconds(seconds)), ..Suspect::default() }
    }

    fn refunded(n_part: u32, n_all: u32) -> Suspect {
        Suspect { refunded: Some(Rate { n_part, n_all }), ..Suspect::default() }
    }

    fn from_one(n_part: u32, n_all: u32) -> Suspect {
        let top_source = Some(("blog.example".to_owned(), Rate { n_part, n_all }));
        Suspect { top_source, ..Suspect::default() }
    }

    #[test]
    fn each_rule_speaks_beyond_its_limit_and_not_at_it() {
        let itself = |by| Suspect { self_match: Some(by), ..Suspect::default() };
        let in_hour = |n| Suspect { n_in_hour: Some(n), ..Suspect::default() };
        for (suspect, expected) in [
            (Suspect::default(), ""),
            (itself(SelfMatch::Email), "self_referral"),
            (itself(SelfMatch::OwnCustomer), "self_referral"),
            (after(-240), "too_fast"),
            (after(9), "too_fast"),
            (after(10), ""),
            (after(720 * 3600), ""),
            (after(720 * 3600 + 1), "too_slow"),
            (in_hour(40), ""),
            (in_hour(41), "velocity"),
            (refunded(5, 20), ""),
            (refunded(6, 20), "refund_rate"),
            (refunded(19, 19), ""),
            (from_one(45, 50), ""),
            (from_one(46, 50), "source_share"),
            (from_one(49, 49), ""),
            (clicked("blog.example", None), ""),
            (clicked("blog.example", Some(AdNetwork::Yandex)), ""),
            (clicked("blog.example", Some(AdNetwork::Google)), "paid_traffic"),
            (clicked("spam.example", None), "banned_referrer"),
            (clicked("www.spam.example", None), "banned_referrer"),
            (clicked("notspam.example", None), ""),
            (clicked("a.spam.example", Some(AdNetwork::Google)), "paid_traffic, banned_referrer"),
        ] {
            let flags = judge(&strict(), &suspect);
            assert_eq!(crate::fraud::reason(&flags), expected, "{suspect:?}");
        }
    }

    #[test]
    fn a_rule_that_is_off_says_nothing() {
        let all = Suspect {
            self_match: Some(SelfMatch::Email),
            n_in_hour: Some(9999),
            ..clicked("spam.example", Some(AdNetwork::Google))
        };
        assert_eq!(crate::fraud::reason(&judge(&Policy::default(), &all)), "self_referral");
        let off = Policy { self_referral: false, ..Policy::default() };
        assert_eq!(judge(&off, &all), []);
    }

    #[test]
    fn a_sentence_names_what_was_seen_and_what_is_allowed() {
        for (suspect, sentence) in [
            (after(3), "It came 3 s after the click; below 10 s nobody buys here."),
            (
                after(40 * 86_400),
                "It came 40 days after the click; the program looks at what takes longer than 30 \
                 days.",
            ),
            (
                refunded(7, 20),
                "Of the partner's 20 conversions of 30 days 7 (35.0 %) were refunded; 25 % are \
                 allowed.",
            ),
            (
                from_one(47, 51),
                "Of the partner's 51 conversions of 30 days 47 (92.1 %) came from blog.example; \
                 90 % are allowed.",
            ),
        ] {
            assert_eq!(judge(&strict(), &suspect)[0].sentence, sentence);
        }
    }
}
