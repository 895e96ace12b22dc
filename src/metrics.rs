//! Every metric the service exports, in one list.
//!
//! Prometheus naming: application prefix, base units, counters end in `_total`. No label ever
//! names a partner, a link or a click, so that the number of series stays small; money is no
//! metric either, because these are floats.

use std::sync::OnceLock;

use metrics::Unit;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// The name Prometheus sees.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What one means.
    pub unit: Unit,
    /// One sentence for the reader of a dashboard.
    pub help: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
}

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only up.
    Counter,
    /// Up and down.
    Gauge,
    /// A distribution over these upper bounds.
    Histogram(&'static [f64]),
}

/// Upper bounds in seconds. They begin at 100 µs: a redirect takes less than a millisecond.
const SECONDS: Kind = Kind::Histogram(&[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
]);

/// Upper bounds for the size of a batch.
const EVENTS: Kind =
    Kind::Histogram(&[1.0, 5.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0]);

use Kind::{Counter, Gauge};
use Unit::{Bytes, Count, Seconds};

/// Writes down each metric once, as a constant for its name and as a row of [`METRICS`].
macro_rules! metrics {
    ($($id:ident = $name:literal, $kind:expr, $unit:expr, $labels:expr, $help:literal;)+) => {
        $(#[doc = $help] pub const $id: &str = $name;)+

        /// Every metric.
        pub const METRICS: &[Metric] =
            &[$(Metric { name: $name, kind: $kind, unit: $unit, help: $help, labels: &$labels }),+];
    };
}

#[rustfmt::skip]
metrics! {
    BUILD_INFO = "tributary_build_info", Gauge, Count, ["version", "revision"], "The build that runs; always 1.";
    HTTP_REQUEST_DURATION = "tributary_http_request_duration_seconds", SECONDS, Seconds, ["route", "method", "code"], "Time to answer a request, by route template.";
    HTTP_REQUESTS_IN_FLIGHT = "tributary_http_requests_in_flight", Gauge, Count, [], "Requests being answered now.";
    CLICKS = "tributary_clicks_total", Counter, Count, ["class"], "Visits of valid links: human, suspect, bot, preview, head, prefetch.";
    LINK_TOKENS_REJECTED = "tributary_link_tokens_rejected_total", Counter, Count, ["reason"], "Visits of links that could not be followed: malformed, mac, kid, expired, blocked, program.";
    DEEPLINK_REJECTED = "tributary_deeplink_rejected_total", Counter, Count, ["reason"], "Deep links that fell back to the landing page.";
    CONVERSIONS = "tributary_conversions_total", Counter, Count, ["channel", "result"], "Conversions by way in (webhook, batch, postback, manual) and result (accepted, duplicate, conflict, rejected, unattributed).";
    WEBHOOK_VERIFY_FAILURES = "tributary_webhook_verify_failures_total", Counter, Count, ["reason"], "Webhooks refused before their body was read.";
    STREAM_APPEND_DURATION = "tributary_stream_append_duration_seconds", SECONDS, Seconds, [], "Time until an event was durable.";
    STREAM_LAG_ENTRIES = "tributary_stream_lag_entries", Gauge, Count, ["shard"], "Entries of the stream that are not settled yet, each a batch of events; told by who settles the shard.";
    STREAM_LAG_SECONDS = "tributary_stream_lag_seconds", Gauge, Seconds, ["shard"], "Age of the oldest event in the stream that is not settled yet.";
    SPOOL_BYTES = "tributary_spool_bytes", Gauge, Bytes, [], "Size of the spool.";
    SPOOL_EVENTS = "tributary_spool_events", Gauge, Count, [], "Events that wait in the spool.";
    HELD_MESSAGES = "tributary_held_messages", Gauge, Count, [], "Conversions held on disk until they are settled; on a Redis Cluster only.";
    EVENTS_DROPPED = "tributary_events_dropped_total", Counter, Count, ["reason"], "Clicks that found neither Redis nor room in the spool; must stay 0.";
    SETTLE_BATCH_DURATION = "tributary_settle_batch_duration_seconds", SECONDS, Seconds, [], "Time to settle a batch.";
    SETTLE_BATCH_EVENTS = "tributary_settle_batch_events", EVENTS, Count, [], "Events in a settled batch.";
    SETTLE_ERRORS = "tributary_settle_errors_total", Counter, Count, ["kind"], "Batches that failed and were tried again.";
    COMMISSIONS_TRANSITIONS = "tributary_commissions_transitions_total", Counter, Count, ["from", "to"], "Commissions that changed state.";
    LEDGER_TRANSACTIONS = "tributary_ledger_transactions_total", Counter, Count, ["code"], "Ledger transactions posted.";
    LEDGER_IMBALANCE = "tributary_ledger_imbalance_count", Gauge, Count, [], "Ledger transactions and accounts that do not balance; must be 0.";
    PAYOUTS = "tributary_payouts_total", Counter, Count, ["status", "currency"], "Payouts that reached a status.";
    SNAPSHOT_AGE = "tributary_snapshot_age_seconds", Gauge, Seconds, [], "Age of the copy the redirect works from.";
    REDIS_UP = "tributary_redis_up", Gauge, Count, [], "1 while Redis answers and is safe, else 0.";
    SHARDS_DOWN = "tributary_shards_down", Gauge, Count, [], "Shards of the stream that take nothing at present; others take their events.";
    SHARDS_HELD = "tributary_shards_held", Gauge, Count, [], "Shards of the stream that this process settles.";
    TIMERS_HELD = "tributary_timers_held", Gauge, Count, [], "1 while this process is the one that runs the timers, else 0.";
    POSTGRES_UP = "tributary_postgres_up", Gauge, Count, [], "1 while PostgreSQL answers, else 0.";
    DB_POOL_CONNECTIONS = "tributary_db_pool_connections", Gauge, Count, ["state"], "Connections to PostgreSQL, idle and used.";
    WAITING_ROOM_MESSAGES = "tributary_waiting_room_messages", Gauge, Count, [], "Messages that wait for their conversion.";
    WAITING_ROOM_OLDEST = "tributary_waiting_room_oldest_seconds", Gauge, Seconds, [], "How long the oldest of them waits.";
    WAITING_ROOM_VERDICTS = "tributary_waiting_room_verdicts_total", Counter, Count, ["result"], "Messages that wait no longer: admitted (the conversion came), given_up (it did not), turned_away (no place).";
    DEAD_LETTERS = "tributary_dead_letters", Gauge, Count, [], "Events that could not be settled and wait for a person.";
    DELIVERIES = "tributary_deliveries_total", Counter, Count, ["channel", "result"], "Attempts to tell others, by channel (webhook, mail) and result (delivered, failed).";
    AUDIT_VIOLATIONS = "tributary_audit_violations", Gauge, Count, ["invariant"], "Broken rows that the last audit found, by invariant; must be 0.";
    AUDIT_LAST_RUN = "tributary_audit_last_run_timestamp_seconds", Gauge, Seconds, [], "When the last audit ended; one that is two hours old is an alarm.";
    CLICK_DAYS_DROPPED = "tributary_click_days_dropped_total", Counter, Count, [], "Days whose raw clicks this process dropped because they were older than the retention.";
    CLICKS_KEPT_SINCE = "tributary_clicks_kept_since_timestamp_seconds", Gauge, Seconds, [], "Begin of the oldest day whose raw clicks are kept; 0 where the timers do not run.";
    PARTNERS_DECLINING = "tributary_partners_declining", Gauge, Count, ["severity"], "Partners whose activity declines.";
}

/// Reads the metrics out. Cloning is cheap; all clones read the same metrics.
#[derive(Clone)]
pub struct Handle(PrometheusHandle);

impl Handle {
    /// Returns every metric in the Prometheus text format.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds what histograms have collected into their buckets. Call it every few seconds:
    /// without it, memory grows for as long as nobody asks for `/metrics`.
    pub fn run_upkeep(&self) {
        self.0.run_upkeep();
    }
}

/// Starts collecting for the whole process; later calls return the same handle.
///
/// # Panics
/// If something else in the process has installed a recorder of its own.
pub fn install() -> Handle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    let handle = HANDLE.get_or_init(|| {
        let mut builder = PrometheusBuilder::new();
        for metric in METRICS {
            if let Kind::Histogram(bounds) = metric.kind {
                builder = builder
                    .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), bounds)
                    .expect("the bounds of the list are not empty");
            }
        }
        let handle = builder.install_recorder().expect("this is the only recorder of the process");
        METRICS.iter().for_each(declare);
        handle
    });
    Handle(handle.clone())
}

/// Tells the recorder about a metric. Those without labels start at zero, so that an alert on
/// their growth sees the first step.
fn declare(metric: &Metric) {
    let Metric { name, unit, help, labels, .. } = *metric;
    match metric.kind {
        Counter => {
            metrics::describe_counter!(name, unit, help);
            if labels.is_empty() {
                metrics::counter!(name).increment(0);
            }
        }
        Gauge => {
            metrics::describe_gauge!(name, unit, help);
            if labels.is_empty() {
                metrics::gauge!(name).set(0.0);
            }
        }
        Kind::Histogram(_) => metrics::describe_histogram!(name, unit, help),
    }
    if name == BUILD_INFO {
        let revision = option_env!("TRIBUTARY_REVISION").unwrap_or("unknown");
        let version = env!("CARGO_PKG_VERSION");
        metrics::gauge!(name, "version" => version, "revision" => revision).set(1.0);
    }
}

/// Returns the table of metrics for the documentation, in Markdown.
pub fn markdown_table() -> String {
    let rows = METRICS.iter().map(|m| {
        let kind = match m.kind {
            Counter => "counter",
            Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let labels =
            if m.labels.is_empty() { String::new() } else { format!("{{{}}}", m.labels.join(",")) };
        format!("| `{}{labels}` | {kind} | {} |\n", m.name, m.help)
    });
    let head = "| Metric | Kind | Meaning |\n|---|---|---|\n".to_owned();
    std::iter::once(head).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_follow_the_rules_and_are_unique() {
        let mut seen = HashSet::new();
        for m in METRICS {
            assert!(seen.insert(m.name), "{} is listed twice", m.name);
            assert!(m.name.starts_with("tributary_"), "{}", m.name);
            assert_eq!(m.name.ends_with("_total"), m.kind == Counter, "{}", m.name);
            assert_eq!(m.name.ends_with("_seconds"), m.unit == Seconds, "{}", m.name);
            assert!(m.help.ends_with('.'), "{}", m.name);
            for forbidden in ["partner", "link", "click", "program"] {
                assert!(!m.labels.contains(&forbidden), "{} would have many series", m.name);
            }
            if let Kind::Histogram(bounds) = m.kind {
                assert!(bounds.is_sorted(), "{}", m.name);
            }
        }
    }

    #[test]
    fn what_is_counted_is_rendered_with_its_help_and_buckets() {
        let handle = install();
        metrics::counter!(SETTLE_ERRORS, "kind" => "metrics_test").increment(2);
        metrics::histogram!(SETTLE_BATCH_EVENTS).record(7.0);
        let text = install().render();
        assert!(handle.render().contains("metrics_test"), "both handles read the same metrics");
        for line in [
            "tributary_settle_errors_total{kind=\"metrics_test\"} 2",
            "tributary_settle_batch_events_bucket{le=\"10\"} 1",
            "# TYPE tributary_ledger_imbalance_count gauge",
            "tributary_ledger_imbalance_count 0",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(text.contains(concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"")), "{text}");
    }
}
