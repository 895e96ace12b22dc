//! Typed identifiers: a prefix that says what it is, and a UUIDv7 that sorts by time.
//!
//! In the database a key is a plain `uuid`; at the edge it is `pt_` + 26 characters of lower-case
//! Crockford base32 (no `i l o u`), so that a double click selects it whole and nobody can pass a
//! partner where a program is meant. Numbers ([`ProgramNo`] and so on) are the short forms that
//! fit into a link token.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

const CROCKFORD: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const BODY_LEN: usize = 26;

/// Says why a text is not an identifier of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an identifier like {prefix}_01jd3v5e8n9q4r7t2w6x1y3z5b, found {found:?}")]
pub struct BadId {
    /// The prefix that was expected, without underscore.
    pub prefix: &'static str,
    /// What stood there instead, cut to 64 characters.
    pub found: String,
}

fn encode(id: Uuid) -> String {
    let mut n = id.as_u128();
    let mut out = [0u8; BODY_LEN];
    for c in out.iter_mut().rev() {
        *c = CROCKFORD[(n & 31) as usize];
        n >>= 5;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn decode(body: &str) -> Option<Uuid> {
    // 26 characters hold 130 bits: the first may use only its lower three.
    if body.len() != BODY_LEN || !body.as_bytes().first().is_some_and(|c| (b'0'..=b'7').contains(c))
    {
        return None;
    }
    let mut n: u128 = 0;
    for c in body.bytes() {
        let v = CROCKFORD.iter().position(|&k| k == c)?;
        n = (n << 5) | v as u128;
    }
    Some(Uuid::from_u128(n))
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, sqlx::Type)]
        #[sqlx(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The prefix at the edge, without underscore.
            pub const PREFIX: &'static str = $prefix;

            /// Returns a fresh identifier that sorts after earlier ones.
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}_{}", $prefix, encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(s: &str) -> Result<Self, BadId> {
                s.strip_prefix(concat!($prefix, "_")).and_then(decode).map(Self).ok_or_else(|| BadId {
                    prefix: $prefix,
                    found: s.chars().take(64).collect(),
                })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let s = std::borrow::Cow::<'de, str>::deserialize(d)?;
                s.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

typed_id!(/** A program: the merchant's terms. */ ProgramId, "pg");
typed_id!(/** A partner: who promotes. */ PartnerId, "pt");
typed_id!(/** A link's row. */ LinkId, "lk");
typed_id!(/** A conversion source: who may report conversions. */ SourceId, "src");
typed_id!(/** One signing secret of a source. */ SecretId, "sec");
typed_id!(/** A conversion. */ ConversionId, "cv");
typed_id!(/** A commission. */ CommissionId, "cm");
typed_id!(/** An immutable edition of a commission plan. */ PlanVersionId, "pl");
typed_id!(/** One partner's money in a payout batch. */ PayoutId, "po");
typed_id!(/** A payout batch. */ PayoutBatchId, "pb");
typed_id!(/** A statement. */ StatementId, "st");
typed_id!(/** An edition of a program's attribution policy. */ AttributionPolicyId, "ap");
typed_id!(/** A coupon of a partner. */ CouponId, "co");
typed_id!(/** A ledger transaction. */ LedgerTransactionId, "tx");
typed_id!(/** A ledger account. */ LedgerAccountId, "la");
typed_id!(/** The receipt of an accepted message. */ ReceiptId, "msg");
typed_id!(/** A notice: what endpoints are told, and the `webhook-id` of its messages. */ NoticeId, "msg");
typed_id!(/** An endpoint that is told of notices. */ EndpointId, "we");
typed_id!(/** A message that waits for the name of its event. */ ParkedId, "pk");
typed_id!(/** A file of conversions. */ ImportId, "im");
typed_id!(/** A request, in logs and problems. */ RequestId, "req");
typed_id!(/** A dead letter. */ DeadLetterId, "dl");
typed_id!(/** A user: a person or a system that owns keys. */ UserId, "us");
typed_id!(/** An API key. */ ApiKeyId, "ak");
typed_id!(/** A partner's declared absence. */ AbsenceId, "ab");
typed_id!(/** A talk with a partner. */ InteractionId, "in");
typed_id!(/** A partner's goal. */ GoalId, "gl");
typed_id!(/** A contest. */ ContestId, "ct");
typed_id!(/** A partner's claim of an order. */ ClaimId, "cl");
typed_id!(/** A case of a partner that declined. */ CaseId, "ca");
typed_id!(/** A fall that many partners share. */ IncidentId, "inc");
typed_id!(/** A bonus, a clawback or a write-off. */ AdjustmentId, "aj");

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(/** A program's number in tokens: 24 bits, deployment-wide. */ ProgramNo);
number!(/** A partner's number in tokens: 32 bits, deployment-wide. */ PartnerNo);
number!(/** A link's number in tokens: 32 bits, per program and partner; from 2^31 partner-minted. */ LinkNo);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_round_trip_and_sort_by_time() {
        let a = PartnerId::new();
        assert_eq!(a.to_string().parse::<PartnerId>().unwrap(), a);
        assert_eq!(a.to_string().len(), 29);
        assert!(
            PartnerId(Uuid::from_u128(1)).to_string()
                < PartnerId(Uuid::from_u128(1 << 90)).to_string()
        );
    }

    #[test]
    fn another_kind_a_foreign_letter_or_a_too_large_body_is_refused() {
        let id = PartnerId::new().to_string();
        assert!(id.parse::<ProgramId>().is_err());
        assert!(id.to_uppercase().parse::<PartnerId>().is_err());
        assert!(format!("pt_8{}", &id[4..]).parse::<PartnerId>().is_err(), "130 bits do not fit");
        assert!("pt_".parse::<PartnerId>().is_err());
        assert!("pt_01jd3v5e8n9q4r7t2w6x1y3z5ü".parse::<PartnerId>().is_err());
    }
}
