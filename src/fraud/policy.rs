//! Which rules a program wants, and their thresholds: the wire form and what holds.
//!
//! ```json
//! {"v":1,"self_referral":true,"too_fast_seconds":10,"too_slow_hours":720,"velocity_per_hour":40,
//!  "refund_rate":{"percent":25,"conversions_min":20,"days":30},
//!  "source_share":{"percent":90,"conversions_min":50,"days":30},
//!  "paid_traffic":["gclid","yclid"],"banned_referrers":["spam.example"]}
//! ```

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::link::destination::AllowedHosts;
use crate::link::paid::{AdNetwork, PARAMETERS};

const FAST_MAX_S: u32 = 86_400;
const SLOW_MAX_H: u32 = 87_600;
const VELOCITY_MAX: u32 = 1_000_000;
const CONVERSIONS_MAX: u32 = 1_000_000;
const DAYS_MAX: u16 = 365;
/// Hosts banned, at most: every click of a flagged program is compared with each.
const HOSTS_MAX: usize = 1000;

/// What a program holds for review; what is left out is off, but for `self_referral`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FraudPolicyDocument)]
pub struct PolicyDocument {
    /// The version of this form: 1.
    #[serde(default = "version")]
    pub v: u8,
    /// Hold where the customer is the partner itself; on if left out.
    #[serde(default = "yes")]
    pub self_referral: bool,
    /// Hold orders that come sooner after the click than this, 1 to 86400.
    #[serde(default)]
    pub too_fast_seconds: Option<u32>,
    /// Hold orders that come later after the click than this, 1 to 87600.
    #[serde(default)]
    pub too_slow_hours: Option<u32>,
    /// Hold where a partner earns more often than this in one hour (of UTC).
    #[serde(default)]
    pub velocity_per_hour: Option<u32>,
    /// Hold where more of a partner's conversions than this were refunded.
    #[serde(default)]
    pub refund_rate: Option<RateDocument>,
    /// Hold where more of a partner's conversions than this came from one referring host.
    #[serde(default)]
    pub source_share: Option<RateDocument>,
    /// Hold where the visitor's address carried one of these parameters: `gclid`, `gbraid`,
    /// `wbraid`, `dclid`, `yclid`, `msclkid`, `fbclid`, `ttclid`, `twclid`, `li_fat_id`. Those of
    /// one network are one mark.
    #[serde(default)]
    pub paid_traffic: Vec<String>,
    /// Hold where the visitor came from one of these hosts, or from one below it.
    #[serde(default)]
    pub banned_referrers: Vec<String>,
}

/// A share that is allowed, and from how many conversions it is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RateDocument {
    /// The share allowed, 1 to 99.
    pub percent: u8,
    /// Below so many conversions nothing is said; 20 if left out.
    #[serde(default = "twenty")]
    pub conversions_min: u32,
    /// How many days are looked back, 1 to 365; 30 if left out.
    #[serde(default = "thirty")]
    pub days: u16,
}

fn version() -> u8 {
    1
}

fn yes() -> bool {
    true
}

fn twenty() -> u32 {
    20
}

fn thirty() -> u16 {
    30
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongField {
    /// JSON pointer into the document.
    pub pointer: &'static str,
    /// What is wrong and how to mend it.
    pub detail: String,
}

/// A share that is allowed, and from how many conversions it is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// The share allowed.
    pub percent: u8,
    /// Below so many conversions nothing is said.
    pub conversions_min: u32,
    /// How far back is looked.
    pub days: u16,
}

/// What a program holds for review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether a customer who is the partner is looked for.
    pub self_referral: bool,
    /// An order sooner after its click than this is too fast.
    pub too_fast: Option<TimeDelta>,
    /// An order later after its click than this is too slow.
    pub too_slow: Option<TimeDelta>,
    /// Conversions of a partner in one hour, at most.
    pub velocity_per_hour: Option<u32>,
    /// Share of a partner's conversions that may be refunded.
    pub refund_rate: Option<RateLimit>,
    /// Share of a partner's conversions that may come from one referring host.
    pub source_share: Option<RateLimit>,
    /// Networks whose visitors were paid for.
    pub paid_traffic: Vec<AdNetwork>,
    /// Hosts from which no visitor may come.
    pub banned_referrers: AllowedHosts,
}

impl Default for PolicyDocument {
    fn default() -> Self {
        Self {
            v: version(),
            self_referral: true,
            too_fast_seconds: None,
            too_slow_hours: None,
            velocity_per_hour: None,
            refund_rate: None,
            source_share: None,
            paid_traffic: Vec::new(),
            banned_referrers: Vec::new(),
        }
    }
}

impl Default for Policy {
    /// What holds for a program that has chosen nothing.
    fn default() -> Self {
        Self::try_from(&PolicyDocument::default()).expect("the default is right")
    }
}

impl Policy {
    /// Tells whether it asks for anything about clicks.
    pub fn looks_at_clicks(&self) -> bool {
        !self.paid_traffic.is_empty() || self.banned_referrers != AllowedHosts::default()
    }

    /// Tells whether there is anything to judge when the hold is over.
    pub fn looks_back(&self) -> bool {
        self.looks_at_clicks()
            || self.velocity_per_hour.is_some()
            || self.refund_rate.is_some()
            || self.source_share.is_some()
    }
}

/// Collects what is wrong.
#[derive(Default)]
struct Wrong(Vec<WrongField>);

impl Wrong {
    fn refuse(&mut self, pointer: &'static str, detail: impl Into<String>) {
        self.0.push(WrongField { pointer, detail: detail.into() });
    }

    fn range<N: Copy + PartialOrd + std::fmt::Display>(
        &mut self,
        pointer: &'static str,
        value: Option<N>,
        max: N,
        one: N,
    ) {
        if let Some(value) = value
            && !(one..=max).contains(&value)
        {
            self.refuse(pointer, format!("must be 1 to {max}, is {value}; leave it out for off"));
        }
    }

    fn rate(&mut self, at: [&'static str; 3], rate: Option<RateDocument>) -> Option<RateLimit> {
        let RateDocument { percent, conversions_min, days } = rate?;
        self.range(at[0], Some(percent), 99, 1);
        self.range(at[1], Some(conversions_min), CONVERSIONS_MAX, 1);
        self.range(at[2], Some(days), DAYS_MAX, 1);
        Some(RateLimit { percent, conversions_min, days })
    }

    fn networks(&mut self, names: &[String]) -> Vec<AdNetwork> {
        let mut networks: Vec<AdNetwork> = Vec::new();
        for name in names {
            match AdNetwork::of_parameter(name) {
                Some(network) if networks.contains(&network) => {}
                Some(network) => networks.push(network),
                None => {
                    let known: Vec<&str> = PARAMETERS.iter().map(|(name, _)| *name).collect();
                    let found: String = name.chars().take(40).collect();
                    let detail = format!("must be of {}, found {found:?}", known.join(", "));
                    self.refuse("/paid_traffic", detail);
                }
            }
        }
        networks
    }

    fn hosts(&mut self, hosts: &[String]) -> AllowedHosts {
        if hosts.len() > HOSTS_MAX {
            self.refuse("/banned_referrers", format!("must be {HOSTS_MAX} hosts at most"));
            return AllowedHosts::default();
        }
        AllowedHosts::parse(hosts.iter().map(String::as_str)).unwrap_or_else(|e| {
            self.refuse("/banned_referrers", e.to_string());
            AllowedHosts::default()
        })
    }
}

impl TryFrom<&PolicyDocument> for Policy {
    type Error = Vec<WrongField>;

    fn try_from(d: &PolicyDocument) -> Result<Self, Vec<WrongField>> {
        let mut wrong = Wrong::default();
        if d.v != version() {
            wrong.refuse("/v", "must be 1");
        }
        wrong.range("/too_fast_seconds", d.too_fast_seconds, FAST_MAX_S, 1);
        wrong.range("/too_slow_hours", d.too_slow_hours, SLOW_MAX_H, 1);
        wrong.range("/velocity_per_hour", d.velocity_per_hour, VELOCITY_MAX, 1);
        let too_fast = d.too_fast_seconds.map(|s| TimeDelta::seconds(s.into()));
        let too_slow = d.too_slow_hours.map(|h| TimeDelta::hours(h.into()));
        if let (Some(fast), Some(slow)) = (too_fast, too_slow)
            && fast >= slow
        {
            wrong.refuse("/too_slow_hours", "must be longer than too_fast_seconds");
        }
        let refund_rate = wrong.rate(
            ["/refund_rate/percent", "/refund_rate/conversions_min", "/refund_rate/days"],
            d.refund_rate,
        );
        let source_share = wrong.rate(
            ["/source_share/percent", "/source_share/conversions_min", "/source_share/days"],
            d.source_share,
        );
        let policy = Self {
            self_referral: d.self_referral,
            too_fast,
            too_slow,
            velocity_per_hour: d.velocity_per_hour,
            refund_rate,
            source_share,
            paid_traffic: wrong.networks(&d.paid_traffic),
            banned_referrers: wrong.hosts(&d.banned_referrers),
        };
        if wrong.0.is_empty() { Ok(policy) } else { Err(wrong.0) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pointers(document: Value) -> Vec<&'static str> {
        let document: PolicyDocument = serde_json::from_value(document).unwrap();
        let wrong = Policy::try_from(&document).err().unwrap_or_default();
        wrong.into_iter().map(|w| w.pointer).collect()
    }

    #[test]
    fn every_mistake_is_told_at_its_place() {
        assert_eq!(pointers(json!({})), [""; 0]);
        let found = pointers(json!({"v": 2, "too_fast_seconds": 0, "too_slow_hours": 87_601,
            "velocity_per_hour": 0, "refund_rate": {"percent": 100, "days": 0},
            "source_share": {"percent": 0, "conversions_min": 0},
            "paid_traffic": ["gclid", "GCLID"], "banned_referrers": ["https://spam.example/x"]}));
        assert_eq!(
            found,
            [
                "/v",
                "/too_fast_seconds",
                "/too_slow_hours",
                "/velocity_per_hour",
                "/refund_rate/percent",
                "/refund_rate/days",
                "/source_share/percent",
                "/source_share/conversions_min",
                "/paid_traffic",
                "/banned_referrers"
            ]
        );
        let crossed = json!({"too_fast_seconds": 3600, "too_slow_hours": 1});
        assert_eq!(pointers(crossed), ["/too_slow_hours"]);
    }

    #[test]
    fn a_program_that_chose_nothing_looks_for_self_referral_alone() {
        let policy = Policy::default();
        assert!(policy.self_referral && !policy.looks_back() && !policy.looks_at_clicks());
        assert_eq!((policy.too_fast, policy.too_slow), (None, None));
    }
}
