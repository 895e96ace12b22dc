//! A click as it comes out of the stream, ready to be written.

mod name_store;
mod names;
mod row_store;
pub mod store;
pub mod sum_store;
mod visitor_file;
mod visitor_filter;
pub mod visitor_store;
pub mod visitors;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::NaiveDate;
use foldhash::HashMap;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::click::classify::Class;
use crate::click::click_id::ClickId;
use crate::clock::Timestamp;
use crate::ids::{LinkNo, PartnerNo, ProgramNo};
use crate::link::token::FIRST_MINTED;
use crate::settlement::click::names::Names;
use crate::settlement::click::visitors::Visitors;
use crate::stream::ClickRecord;

/// From which PostgreSQL counts days.
const DAY_0: NaiveDate = NaiveDate::from_ymd_opt(2000, 1, 1).expect("it is a day");
const FLAG_QR: i16 = 1;
const FLAG_GPC: i16 = 2;
/// Where the code of the advertising network begins.
const PAID_SHIFT: u32 = 2;

/// What a process knows of those whom clicks name and of those who clicked.
#[derive(Debug)]
pub struct ClickMemory {
    names: Names,
    visitors: Arc<Visitors>,
}

impl ClickMemory {
    /// Knows these visitors and nobody who is named.
    pub fn new(visitors: Visitors) -> Self {
        Self { names: Names::default(), visitors: Arc::new(visitors) }
    }
}

/// When the sums of a batch by hour are added to those that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adding {
    /// With the batch.
    Now,
    /// With those of other batches, by [`sum_store::add_waiting`]: for those that have many.
    Later,
}

/// A click to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Click {
    /// The program clicked for, by its number in tokens.
    pub program: ProgramNo,
    /// Whose link it was.
    pub partner: PartnerNo,
    /// Which link.
    pub link: LinkNo,
    /// The same on every reading of the event.
    pub click_id: Uuid,
    /// When.
    pub at: Timestamp,
    /// The day of `at`, UTC: the partition.
    pub day: NaiveDate,
    /// Code of the class.
    pub class: i16,
    /// Code of the reason for the class.
    pub reason: i16,
    /// Code of the device class.
    pub device: i16,
    /// Code of the browser family.
    pub browser: i16,
    /// Bit 0: scanned from paper. Bit 1: Global Privacy Control. Bits 2 to 4: the advertising
    /// network that the visitor's address named, 0 for none.
    pub flags: i16,
    /// Recognizes a repeat while the day's salt lives.
    pub visitor: Option<[u8; 8]>,
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// Host of the referring page.
    pub referrer_host: Option<String>,
    /// The partner's labels.
    pub subs: [Option<String>; 5],
    /// Advertising mark.
    pub erid: Option<String>,
    /// Host and path of a deep link.
    pub landing: Option<String>,
}

impl Click {
    /// Reads a click out of its record.
    pub fn from_record(record: ClickRecord) -> Self {
        let id = ClickId::from_payload(&record.payload);
        let flag = |is_set: bool, bit: i16| if is_set { bit } else { 0 };
        Self {
            program: id.program,
            partner: id.partner,
            link: id.link,
            click_id: id.to_uuid(),
            at: id.at,
            day: id.day(),
            class: i16::from(record.class),
            reason: i16::from(record.reason),
            device: i16::from(record.device),
            browser: i16::from(record.browser),
            flags: flag(record.is_qr, FLAG_QR)
                | flag(record.is_gpc, FLAG_GPC)
                | i16::from(record.paid) << PAID_SHIFT,
            visitor: record.visitor,
            country: record.country.map(|c| c.iter().map(|&b| char::from(b)).collect()),
            referrer_host: record.referrer_host.map(without_nul),
            subs: record.subs.map(|s| s.map(without_nul)),
            erid: record.erid.map(without_nul),
            landing: record.landing.map(without_nul),
        }
    }

    /// Returns whether a person clicked.
    fn is_human(&self) -> bool {
        self.class == i16::from(Class::Human.code())
    }

    /// Returns whether a person clicked who may be recognized that day.
    fn may_be_recognized(&self) -> bool {
        self.visitor.is_some() && self.is_human()
    }

    /// Returns what names a person's visit to a link on a day, if the visitor may be recognized: the
    /// first eight bytes of a hash of program, partner, link and day, exclusive-or the eight that name
    /// the visitor. Two of a link and day never meet; of ten million any others, once in 370,000 days.
    fn seen(&self, places: &mut Places) -> Option<i64> {
        let visitor = self.visitor.filter(|_| self.is_human())?;
        Some(places.of(self) ^ i64::from_be_bytes(visitor))
    }
}

/// What names a link on a day, kept for a batch: most of its clicks are of the same links.
#[derive(Debug, Default)]
struct Places(HashMap<(ProgramNo, PartnerNo, LinkNo, NaiveDate), i64>);

impl Places {
    fn of(&mut self, click: &Click) -> i64 {
        let link = (click.program, click.partner, click.link, click.day);
        *self.0.entry(link).or_insert_with(|| {
            let numbers = [click.program.0, click.partner.0, click.link.0].map(i64::from);
            let days = (click.day - DAY_0).num_days();
            let mut hash = Sha256::new();
            numbers.into_iter().chain([days]).for_each(|number| hash.update(number.to_be_bytes()));
            hash.finalize().first_chunk().copied().map_or(0, i64::from_be_bytes)
        })
    }
}

/// Returns the links of clicks that partners signed themselves, each once: the service made no row
/// for them.
pub fn minted_links(clicks: &[&Click]) -> Vec<(ProgramNo, PartnerNo, LinkNo)> {
    let minted = clicks.iter().filter(|c| c.link >= FIRST_MINTED);
    let links: BTreeSet<_> = minted.map(|c| (c.program, c.partner, c.link)).collect();
    links.into_iter().collect()
}

/// PostgreSQL's text cannot hold NUL, and one such byte must not stop a shard.
fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "") } else { text }
}
