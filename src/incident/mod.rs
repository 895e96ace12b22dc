//! What is done about partners that decline: cases with an owner and a date, and incidents.
//!
//! Once a day for each program [`daily`] asks the detector about the last whole day. Our own fault
//! comes first: a fall that most partners of a country, or of the whole network, began together is
//! one incident ([`shared`]), and the partners that it explains get no case. Every other partner
//! that is newly listed at `warning` or above, or whose visitors stopped buying, gets one
//! [`case`]; [`plan`] decides which. A case is closed by a person with an outcome, never by the
//! machine, which only notes a recovery. What people find out comes back as figures: how often
//! the guessed cause was right, and whether a remedy helped ([`effect`]).
//!
//! Always true: a partner has at most one open case, an incident's subject at most one open
//! incident, and a day of a program is acted on once; all three are keys in the database.

pub mod case;
pub mod daily;
pub mod effect;
pub mod finding;
pub mod http;
pub mod incident_store;
pub mod landing;
pub mod learned_store;
pub mod notice_store;
pub mod plan;
pub mod shared;
pub mod store;
pub mod wire_http;
