//! What a manager can do about each probable cause.

use super::cause::Cause;

/// Returns the advice for a cause, in sentences a manager can act on.
pub fn remedy(cause: Cause) -> &'static str {
    match cause {
        Cause::LocalMarket => {
            "Ask the partner to describe the region: level of automation, favorite competing \
             products, why clients there do or do not want yours; adapt the offer."
        }
        Cause::Organization => {
            "Offer a basic organization for the start (call center, remote team, schedule) and \
             share the services you use."
        }
        Cause::LossOfInterest => {
            "Have support advise the partner actively: own chat or call-back line, at all hours \
             of the partner's time zone."
        }
        Cause::ContentMarketing => {
            "Send marketing rules, texts, brand pictures; introduce specialists; invite to \
             webinars."
        }
        Cause::Technical => {
            "Repair the links or pages named, then tell the partner; do not ask the partner for \
             more activity before that."
        }
        Cause::Unknown => "Ask the partner what changed, and record the answer as the cause.",
    }
}
