//! Who brought a conversion: the ladder of its program's policy, from the evidence that came with it.
//!
//! The steps are looked at in the order of the policy that was in force when it happened; the first
//! that counts says whose it is. The others are looked at as well, so that each answer can tell what
//! there was and why it did not count. What is somebody's may bind its customer ([`bond`]).
//!
//! The click id carries program, partner, link and time, so attribution and the window need no
//! click row: a conversion that settles before its click gets the same answer.

pub mod bond;
pub mod known;
pub mod model;
pub mod owner_http;
pub mod store;

use chrono::Duration;

use crate::click::click_id::ClickId;
use crate::clock::Timestamp;
use crate::conversion::candidate::Candidate as CandidateWire;
use crate::conversion::whole_path;
use crate::ids::{LinkNo, PartnerId, PartnerNo};
use crate::program::attribution::{Policy, Step};
use crate::program::coupon::CouponTerms;
use crate::settlement::Share;
use crate::settlement::facts::ProgramFacts;
use crate::settlement::path::Path;
use crate::signing::KeyRing;

/// How far a conversion may lie before its click: the clocks of shop and service differ a little.
const SKEW_MAX: Duration = Duration::minutes(5);

/// What came with a conversion, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The click id as it came.
    pub click_id: Option<&'a str>,
    /// The path to it, where the shop tells.
    pub click_ids: &'a [String],
    /// The coupon as it came.
    pub coupon_code: Option<&'a str>,
    /// Every coupon of the program with that code, whatever its time.
    pub coupons: &'a [CouponTerms],
    /// Whose customer it was when it happened, where one is named and is somebody's.
    pub owner: Option<Owner>,
}

/// Whose customer somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The partner.
    pub partner: PartnerNo,
    /// Since when.
    pub since: Timestamp,
}

/// Why a candidate counts or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It says whose the conversion is.
    Counts,
    /// It would count as well, but stands behind what counts.
    Outranked,
    /// The policy does not look at its kind.
    NotInLadder,
    /// The same click stands in the path before.
    Duplicate,
    /// The click id is not one of ours.
    BadClickId,
    /// The click was for another program.
    OtherProgram,
    /// The click was too long ago.
    OutsideWindow,
    /// The conversion happened before the click.
    BeforeClick,
    /// The conversion came too soon after the click.
    TooSoon,
    /// The partner takes no part in the program.
    NotEnrolled,
    /// The program has no coupon with that code.
    UnknownCoupon,
    /// The coupon was not in force yet.
    CouponNotBegun,
    /// The coupon was in force no longer.
    CouponEnded,
}

impl Finding {
    /// Returns the text form kept in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counts => "counts",
            Self::Outranked => "outranked",
            Self::NotInLadder => "not_in_ladder",
            Self::Duplicate => "duplicate",
            Self::BadClickId => "bad_click_id",
            Self::OtherProgram => "other_program",
            Self::OutsideWindow => "outside_window",
            Self::BeforeClick => "before_click",
            Self::TooSoon => "too_soon",
            Self::NotEnrolled => "not_enrolled",
            Self::UnknownCoupon => "unknown_coupon",
            Self::CouponNotBegun => "coupon_not_begun",
            Self::CouponEnded => "coupon_ended",
        }
    }
}

/// What could have said whose a conversion is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A click id; what it holds, where it is ours and for this program.
    Click(Option<(PartnerNo, LinkNo, Timestamp)>),
    /// A coupon, and whose it is, where that is known.
    Coupon(String, Option<PartnerNo>),
    /// Whose customer it is.
    Customer(Owner),
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What.
    pub evidence: Evidence,
    /// Why it counts or not.
    pub finding: Finding,
}

impl Candidate {
    /// Returns the step of the ladder that it stands on.
    pub fn step(&self) -> Step {
        match self.evidence {
            Evidence::Click(_) => Step::Click,
            Evidence::Coupon(..) => Step::Coupon,
            Evidence::Customer(_) => Step::Customer,
        }
    }

    /// Returns the partner that it speaks for.
    pub fn partner(&self) -> Option<PartnerNo> {
        match self.evidence {
            Evidence::Click(click) => click.map(|click| click.0),
            Evidence::Coupon(_, partner) => partner,
            Evidence::Customer(owner) => Some(owner.partner),
        }
    }
}

/// Whose conversion it is and why, or why it is nobody's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attribution {
    /// Everything that was looked at, in the order of the ladder; at most one counts.
    pub candidates: Vec<Candidate>,
    /// The clicks that led to it, where the shop named more than the last.
    pub path: Option<Path>,
}

impl Asked<'_> {
    /// Returns every click id that came.
    pub fn path(&self) -> impl Iterator<Item = &str> {
        whole_path(self.click_ids, self.click_id)
    }
}

impl Attribution {
    /// Returns what says whose it is.
    pub fn decisive(&self) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| candidate.finding == Finding::Counts)
    }

    /// Returns whose it is.
    pub fn partner(&self) -> Option<PartnerNo> {
        self.decisive().and_then(Candidate::partner)
    }

    /// Returns who shares it; nobody where nothing counts.
    pub fn shares(&self) -> Vec<Share> {
        match (self.decisive(), &self.path) {
            (Some(decisive), Some(path)) if decisive.step() == Step::Click => path.shares(),
            (Some(decisive), _) => decisive.partner().map(Share::whole).into_iter().collect(),
            (None, _) => Vec::new(),
        }
    }

    /// Returns the text form kept in the database: the step that decided, or why nothing counts.
    pub fn as_str(&self) -> &'static str {
        match (self.decisive(), self.candidates.first()) {
            (Some(decisive), _) => decisive.step().as_str(),
            (None, Some(first)) => first.finding.as_str(),
            (None, None) => "no_click",
        }
    }

    /// Returns the click that was found, also when it does not count; none where something else
    /// says whose it is.
    pub fn click(&self) -> Option<(PartnerNo, LinkNo, Timestamp)> {
        let has_other = self.decisive().is_some_and(|decisive| decisive.step() != Step::Click);
        let is_told = |c: &&Candidate| !has_other && c.finding != Finding::NotEnrolled;
        self.candidates.iter().filter(is_told).find_map(|candidate| match candidate.evidence {
            Evidence::Click(click) => click,
            Evidence::Coupon(..) | Evidence::Customer(_) => None,
        })
    }

    /// Returns the partner that it is shown with: whose it is, or whose click did not count.
    pub fn shown_partner(&self) -> Option<PartnerNo> {
        self.partner().or_else(|| self.click().map(|click| click.0))
    }

    /// Returns every partner that anything speaks for.
    pub fn partners(&self) -> impl Iterator<Item = PartnerNo> {
        let touches = self.path.iter().flat_map(|path| &path.touches);
        let touched = touches.filter_map(|touch| Some(touch.click?.partner));
        self.candidates.iter().filter_map(Candidate::partner).chain(touched)
    }

    /// Tells whether a click is all there was; then its columns say everything.
    pub fn is_plain(&self) -> bool {
        match &self.candidates[..] {
            [] => true,
            [one] => one.step() == Step::Click,
            _ => false,
        }
    }

    /// Returns the candidates as they are kept and shown.
    pub fn to_wire(&self, id_of: impl Fn(PartnerNo) -> Option<PartnerId>) -> Vec<CandidateWire> {
        let told = |candidate: &Candidate| CandidateWire {
            step: candidate.step().as_str().to_owned(),
            finding: candidate.finding.as_str().to_owned(),
            partner_id: candidate.partner().and_then(&id_of),
            link_number: match candidate.evidence {
                Evidence::Click(click) => click.map(|click| click.1.0),
                Evidence::Coupon(..) | Evidence::Customer(_) => None,
            },
            at: match candidate.evidence {
                Evidence::Click(click) => click.map(|click| click.2),
                Evidence::Coupon(..) => None,
                Evidence::Customer(owner) => Some(owner.since),
            },
            coupon_code: match &candidate.evidence {
                Evidence::Coupon(code, _) => Some(code.clone()),
                Evidence::Click(_) | Evidence::Customer(_) => None,
            },
        };
        self.candidates.iter().map(told).collect()
    }
}

/// Decides whose a conversion is.
pub fn attribute(
    asked: &Asked<'_>,
    program: &ProgramFacts,
    click_keys: &KeyRing,
    is_enrolled: impl Fn(PartnerNo) -> bool,
) -> Attribution {
    let policy = &program.policies.at(asked.occurred_at).policy;
    let has_path = !asked.click_ids.is_empty();
    let mut path = has_path.then(|| Path::look(asked, program, policy, click_keys, &is_enrolled));
    let by_path = path.as_ref().and_then(Path::candidate);
    let looked_at = |step: Step| {
        let mut candidate = match step {
            Step::Click if has_path => by_path.clone(),
            Step::Click => click(asked, program, policy, click_keys),
            Step::Coupon => coupon(asked),
            Step::Customer => asked.owner.map(|owner| Candidate {
                evidence: Evidence::Customer(owner),
                finding: Finding::Counts,
            }),
        }?;
        let is_stranger = candidate.partner().is_some_and(|partner| !is_enrolled(partner));
        if candidate.finding == Finding::Counts && is_stranger {
            candidate.finding = Finding::NotEnrolled;
        }
        Some(candidate)
    };
    let mut candidates: Vec<Candidate> =
        policy.ladder.iter().filter_map(|step| looked_at(*step)).collect();
    let counting = candidates.iter_mut().filter(|candidate| candidate.finding == Finding::Counts);
    counting.skip(1).for_each(|candidate| candidate.finding = Finding::Outranked);
    let others = Step::ALL.into_iter().filter(|step| !policy.ladder.contains(step));
    candidates.extend(
        others
            .filter_map(looked_at)
            .map(|candidate| Candidate { finding: Finding::NotInLadder, ..candidate }),
    );
    let decisive = candidates.iter().find(|candidate| candidate.finding == Finding::Counts);
    let decides = decisive.is_some_and(|candidate| candidate.step() == Step::Click);
    if let Some(path) = path.as_mut().filter(|_| !decides) {
        path.yield_to_others();
    }
    Attribution { candidates, path }
}

fn click(
    asked: &Asked<'_>,
    program: &ProgramFacts,
    policy: &Policy,
    click_keys: &KeyRing,
) -> Option<Candidate> {
    let (finding, click) = look_at(asked.click_id?, asked.occurred_at, program, policy, click_keys);
    // Whose click for another program it was is nothing to this one.
    let click = click.filter(|_| finding != Finding::OtherProgram);
    let click = click.map(|click| (click.partner, click.link, click.at));
    Some(Candidate { evidence: Evidence::Click(click), finding })
}

/// Returns what a click id says, where it is ours, and whether it counts, as far as it can tell
/// itself.
pub fn look_at(
    text: &str,
    occurred_at: Timestamp,
    program: &ProgramFacts,
    policy: &Policy,
    click_keys: &KeyRing,
) -> (Finding, Option<ClickId>) {
    let Ok(click) = ClickId::verify(click_keys, text) else { return (Finding::BadClickId, None) };
    if click.program != program.number {
        return (Finding::OtherProgram, Some(click));
    }
    let since = occurred_at - click.at;
    let finding = if since + SKEW_MAX < Duration::zero() {
        Finding::BeforeClick
    } else if since > policy.window {
        Finding::OutsideWindow
    } else if since.max(Duration::zero()) < policy.min {
        Finding::TooSoon
    } else {
        Finding::Counts
    };
    (finding, Some(click))
}

fn coupon(asked: &Asked<'_>) -> Option<Candidate> {
    let told = |finding, partner| Candidate {
        evidence: Evidence::Coupon(asked.coupon_code.unwrap_or_default().to_owned(), partner),
        finding,
    };
    asked.coupon_code?;
    let at = asked.occurred_at;
    if let Some(terms) = asked.coupons.iter().find(|coupon| coupon.is_in_force(at)) {
        return Some(told(Finding::Counts, Some(terms.partner)));
    }
    // Of several, the last one that had ended, or the next one to begin, is what people mean.
    let ended = asked.coupons.iter().filter(|coupon| coupon.starts_at <= at);
    let next = asked.coupons.iter().filter(|coupon| coupon.starts_at > at);
    Some(match (ended.max_by_key(|c| c.starts_at), next.min_by_key(|c| c.starts_at)) {
        (Some(ended), _) => told(Finding::CouponEnded, Some(ended.partner)),
        (None, Some(next)) => told(Finding::CouponNotBegun, Some(next.partner)),
        (None, None) => told(Finding::UnknownCoupon, None),
    })
}

#[cfg(test)]
mod tests;
