//! Tributary: signed referral links, durable clicks, exactly-once commissions, a ledger that ties out.
//!
//! The folders follow the data. A [`partner`] promotes a [`program`] with a [`link`]; a visitor's
//! [`click`] and a shop's [`conversion`] enter through HTTP ([`intake`] for conversions) and become
//! durable in the [`stream`]; [`settlement`] carries them into PostgreSQL, where each conversion
//! earns a [`commission`], each commission moves the [`ledger`], and a [`payout`] pays it.
//! [`report`]s only read; an [`incident`] or a case is what is done about a decline that they tell. Everything above the line "ground" below may name ground, never the
//! other way round; `tests/it/tidy.rs` holds the full table of directions.

// Ground: names nothing above it.
pub mod address;
pub mod clock;
pub mod config;
pub mod db;
pub mod ids;
pub mod language;
pub mod metrics;
pub mod money;
pub mod progress;
pub mod sealing;
pub mod signing;
pub mod telemetry;
pub mod web;

// The way of the data.
pub mod account;
pub mod audit;
pub mod claim;
pub mod click;
pub mod commission;
pub mod conversion;
pub mod fraud;
pub mod incident;
pub mod intake;
pub mod lease;
pub mod ledger;
pub mod link;
pub mod outbound;
pub mod partner;
pub mod payout;
pub mod program;
pub mod report;
pub mod retention;
pub mod settlement;
pub mod snapshot;
pub mod stream;

// What holds it together.
pub mod app;
pub mod cli;
pub mod demo;
pub mod dev;
pub mod engines;
pub mod roles;
pub mod server;
