//! Writes the daily mails when a program's morning comes, and hands them to the mail server.
//!
//! Writing and sending are two steps: the row of the day is the fence, so a program gets at most
//! one mail a day whatever runs twice; a mail server that is down only delays the second step.

use chrono::{Days, NaiveDate, TimeDelta, Timelike as _};
use chrono_tz::Tz;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use rand::Rng as _;

use crate::clock::{Clock, Timestamp};
use crate::db::Db;
use crate::metrics as metric;
use crate::outbound::digest::{Digest, Locale};
use crate::outbound::digest_store::{self as store, DueMail, Reader};
use crate::outbound::{ACTIVITY_DECLINED, ActivityDeclined, retry};
use crate::report::period::Window;
use crate::report::{self, Params, ReportError};

/// The mail is written from this hour of the program's time zone: after the night's settling and
/// judging, before the working day.
const HOUR: u32 = 6;
/// For one command of the mail server.
const SMTP_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);
/// A mail takes several commands.
const LEASE: TimeDelta = TimeDelta::minutes(10);
/// An error is told in so many characters.
const ERROR_CHARS_MAX: usize = 300;

/// The way to the mail server.
#[derive(Debug)]
pub struct Post {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Post {
    /// Returns the way to a server given by `smtp://user:password@host:port` or `smtps://…`.
    pub fn new(url: &str, from: Mailbox) -> Result<Self, lettre::transport::smtp::Error> {
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url)?;
        Ok(Self { transport: transport.timeout(Some(SMTP_TIMEOUT)).build(), from })
    }

    async fn send(&self, due: &DueMail, now: Timestamp) -> Result<(), MailError> {
        // The same in every attempt, so that a mail that came twice is shown once.
        let domain = self.from.email.domain();
        let id = format!("<digest.{}.{}@{domain}>", due.program_id, due.day);
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        let mail = Message::builder()
            .from(self.from.clone())
            .to(due.email.parse()?)
            .subject(&due.subject)
            .date(now.into())
            .message_id(Some(id))
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .multipart(MultiPart::alternative_plain_html(due.plain.clone(), due.html.clone()))?;
        self.transport.send(mail).await?;
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
enum MailError {
    #[error("the address cannot be read: {0}")]
    Address(#[from] lettre::address::AddressError),
    #[error("the mail cannot be made: {0}")]
    Message(#[from] lettre::error::Error),
    #[error("the mail server did not take it: {0}")]
    Server(#[from] lettre::transport::smtp::Error),
}

/// Says why a mail could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The report of the day failed.
    #[error("the report of program {program} could not be read")]
    Report {
        /// The program.
        program: crate::ids::ProgramId,
        /// Why.
        #[source]
        source: ReportError,
    },
    /// PostgreSQL failed.
    #[error("the day could not be read or written")]
    Database(#[from] sqlx::Error),
}

/// Writes and sends the daily mails.
#[derive(Debug)]
pub struct Mailer {
    /// PostgreSQL.
    pub db: Db,
    /// The time.
    pub clock: Clock,
    /// The way to the mail server.
    pub post: Post,
}

impl Mailer {
    /// Writes the mail of every program whose morning has come; returns how many days it wrote.
    ///
    /// One program's failure does not keep the others from their mail; the last one is returned.
    pub async fn write_due(&self) -> Result<usize, WriteError> {
        let now = self.clock.now();
        let mut db = self.db.acquire().await?;
        let readers = store::list_readers(&mut db).await?;
        drop(db);
        let (mut n_written, mut trouble) = (0, None);
        for reader in readers {
            let Some((time_zone, day)) = day_to_write(&reader, now) else { continue };
            match self.write(&reader, time_zone, day, now).await {
                Ok(is_written) => n_written += usize::from(is_written),
                Err(error) => trouble = Some(error),
            }
        }
        trouble.map_or(Ok(n_written), Err)
    }

    async fn write(
        &self,
        reader: &Reader,
        time_zone: Tz,
        day: NaiveDate,
        now: Timestamp,
    ) -> Result<bool, WriteError> {
        let program = reader.program_id;
        let failed = |source| WriteError::Report { program, source };
        let bad_figure = || failed(ReportError::BadFigure(reader.currency.clone()));
        let params = Params {
            program_id: program,
            partner_id: None,
            window: Window { from: now - TimeDelta::days(1), to: now, time_zone },
            currency: reader.currency.parse().map_err(|_| bad_figure())?,
            now,
        };
        let report = report::read(&self.db, "activity-decline", params).await.map_err(failed)?;
        let mut db = self.db.begin().await?;
        let since = now - TimeDelta::days(1);
        let payloads = store::list_payloads(&mut db, program, ACTIVITY_DECLINED, since).await?;
        let notices: Vec<ActivityDeclined> =
            payloads.into_iter().filter_map(|p| serde_json::from_value(p).ok()).collect();
        let digest = Digest::join(&reader.name, day, &report, notices);
        let n_partners = i32::try_from(digest.entries.len()).unwrap_or(i32::MAX);
        let mail = digest.write(Locale::parse(&reader.locale).unwrap_or(Locale::En));
        let mail = mail.as_ref().map(|mail| (mail, &reader.emails[..]));
        let is_written = store::insert_day(&mut db, (program, day), mail, n_partners, now).await?;
        db.commit().await?;
        Ok(is_written)
    }

    /// Sends the mails that are due, one after the other, until none is or `is_stopping` says so;
    /// returns how many were taken.
    pub async fn send_due(&self, is_stopping: impl Fn() -> bool) -> Result<usize, sqlx::Error> {
        let mut n_sent = 0;
        while !is_stopping() {
            let now = self.clock.now();
            let mut db = self.db.acquire().await?;
            let Some(due) = store::claim_mail(&mut db, now, now + LEASE).await? else { break };
            drop(db);
            let sent = self.post.send(&due, now).await;
            let result = if sent.is_ok() { "delivered" } else { "failed" };
            metrics::counter!(metric::DELIVERIES, "channel" => "mail", "result" => result)
                .increment(1);
            let (mut db, now) = (self.db.acquire().await?, self.clock.now());
            match sent {
                Ok(()) => {
                    store::mark_sent(&mut db, &due, now).await?;
                    n_sent += 1;
                }
                Err(error) => {
                    let jitter = rand::rng().random_range(0..=retry::JITTER_PERMILLE_MAX);
                    let next = retry::next_attempt(due.attempts, now, jitter, None);
                    let told: String = error.to_string().chars().take(ERROR_CHARS_MAX).collect();
                    // The server's words may hold an address, so they go to the row alone.
                    tracing::warn!("a daily mail of {} was not sent", due.program_id);
                    store::mark_unsent(&mut db, &due, &told, next).await?;
                }
            }
        }
        Ok(n_sent)
    }
}

/// Returns the last whole day of a program if its morning has come and it is not written yet.
fn day_to_write(reader: &Reader, now: Timestamp) -> Option<(Tz, NaiveDate)> {
    let time_zone: Tz = reader.time_zone.parse().unwrap_or(Tz::UTC);
    let local = now.with_timezone(&time_zone);
    let day = local.date_naive().checked_sub_days(Days::new(1))?;
    let is_due = local.hour() >= HOUR && reader.last_day.is_none_or(|last| last < day);
    is_due.then_some((time_zone, day))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ProgramId;

    #[test]
    fn a_day_is_written_once_from_six_in_the_morning_of_the_program() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        for (time_zone, now, last, expected) in [
            ("UTC", "2026-11-22T05:59:59Z", None, None),
            ("UTC", "2026-11-22T06:00:00Z", None, Some("2026-11-21")),
            ("UTC", "2026-11-22T23:59:59Z", Some("2026-11-21"), None),
            ("UTC", "2026-11-23T06:00:00Z", Some("2026-11-21"), Some("2026-11-22")),
            ("Asia/Vladivostok", "2026-11-21T20:00:00Z", None, Some("2026-11-21")),
            ("America/New_York", "2026-11-22T10:59:59Z", None, None),
            ("America/New_York", "2026-11-22T11:00:00Z", None, Some("2026-11-21")),
        ] {
            let reader = Reader {
                program_id: ProgramId::new(),
                name: String::new(),
                currency: "EUR".to_owned(),
                time_zone: time_zone.to_owned(),
                emails: Vec::new(),
                locale: "en".to_owned(),
                last_day: last.map(day),
            };
            let found = day_to_write(&reader, now.parse().unwrap()).map(|(_, day)| day);
            assert_eq!(found, expected.map(day), "{time_zone} {now} {last:?}");
        }
    }
}
