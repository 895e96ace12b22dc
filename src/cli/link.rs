//! `link sign`, `link mint` and `link inspect`: tokens without a service, from the keys alone.

use anyhow::{Context as _, anyhow, bail};
use chrono::NaiveDate;
use clap::{Args, Subcommand};

use super::print;
use crate::clock::Clock;
use crate::config;
use crate::ids::{LinkNo, PartnerNo, ProgramNo};
use crate::link::token::{LinkKeys, LinkToken, MintEpochs, MintKey, TokenError, claimed};
use crate::signing::KeyRing;

/// Commands about links.
#[derive(Debug, Subcommand)]
pub(super) enum LinkCommand {
    /// Sign a token with the newest key of TRIBUTARY_LINK_KEYS.
    Sign(SignArgs),
    /// Sign a link with a partner's own key, as partners do offline.
    Mint(MintArgs),
    /// Tell whether a token is ours, and what it says.
    Inspect(InspectArgs),
}

#[derive(Debug, Args)]
pub(super) struct SignArgs {
    /// Number of the program, 1 to 16,777,215.
    #[arg(long)]
    program: u32,
    /// Number of the partner.
    #[arg(long)]
    partner: u32,
    /// Number of the link, below 2,147,483,648.
    #[arg(long)]
    link: u32,
    /// Last day on which the link works, UTC.
    #[arg(long, value_name = "YYYY-MM-DD")]
    expires_on: Option<NaiveDate>,
}

#[derive(Debug, Args)]
pub(super) struct MintArgs {
    /// The partner's key, trbm_…; better given in TRIBUTARY_MINT_KEY, which no list of processes shows.
    #[arg(long)]
    key: Option<String>,
    /// Number of the link, from 2,147,483,648.
    #[arg(long)]
    link: u32,
    /// Last day on which the link works, UTC.
    #[arg(long, value_name = "YYYY-MM-DD")]
    expires_on: Option<NaiveDate>,
}

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// The token, or a whole link.
    token: String,
    /// Epoch of the partner's own key, for links that a partner signed.
    #[arg(long, default_value_t = 1)]
    epoch: u16,
}

/// Runs a command about links.
pub(super) fn run(command: LinkCommand) -> anyhow::Result<()> {
    match command {
        LinkCommand::Sign(args) => sign(&args),
        LinkCommand::Mint(args) => mint(args),
        LinkCommand::Inspect(args) => inspect(&args),
    }
}

fn key_ring(name: &str) -> anyhow::Result<Option<KeyRing>> {
    config::environment(name).map(|text| KeyRing::parse(&text).context(name.to_owned())).transpose()
}

fn link_keys() -> anyhow::Result<LinkKeys> {
    let issued = key_ring("TRIBUTARY_LINK_KEYS")?.ok_or_else(|| {
        anyhow!("TRIBUTARY_LINK_KEYS is not set: it holds the keys that sign links")
    })?;
    Ok(LinkKeys { issued, mint: key_ring("TRIBUTARY_MINT_KEYS")? })
}

fn sign(args: &SignArgs) -> anyhow::Result<()> {
    let token = LinkToken {
        program: ProgramNo(args.program),
        partner: PartnerNo(args.partner),
        link: LinkNo(args.link),
        expires_on: args.expires_on,
    };
    print_link(&token.sign(&link_keys()?.issued)?);
    Ok(())
}

fn mint(args: MintArgs) -> anyhow::Result<()> {
    let text = args.key.or_else(|| config::environment("TRIBUTARY_MINT_KEY"));
    let text = text.context("give the partner's key by TRIBUTARY_MINT_KEY or --key")?;
    let key = MintKey::parse(text.trim())
        .context("that is no partner's key: it begins with trbm_ and has 59 characters")?;
    print_link(&key.sign(LinkNo(args.link), args.expires_on)?);
    Ok(())
}

/// Prints a link where the address of the service is known, else the token alone.
fn print_link(token: &str) {
    match config::environment("TRIBUTARY_PUBLIC_URL") {
        Some(base) => print(format!("{}/r/{token}", base.trim_end_matches('/'))),
        None => print(token),
    }
}

fn inspect(args: &InspectArgs) -> anyhow::Result<()> {
    let text = args.token.rsplit_once("/r/").map_or(args.token.as_str(), |(_, token)| token);
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let today = Clock::system().now().date_naive();
    let epochs = |_, _| Some(MintEpochs { current: args.epoch, previous: None });
    match LinkToken::verify(&link_keys()?, text, today, epochs) {
        Ok(token) => {
            print("valid       yes");
            print(format!("signed by   {}", if token.is_minted() { "the partner" } else { "us" }));
            print(format!("program     {}", token.program));
            print(format!("partner     {}", token.partner));
            print(format!("link        {}", token.link));
            let until = token.expires_on.map_or("for ever".to_owned(), |d| format!("until {d}"));
            print(format!("works       {until}"));
            Ok(())
        }
        Err(error) => {
            let says = claimed(text);
            let number = |n: Option<u32>| n.map_or("unreadable".to_owned(), |n| n.to_string());
            print("valid       no");
            print(format!("claims      program {}", number(says.program.map(|p| p.0))));
            print(format!("claims      partner {}", number(says.partner.map(|p| p.0))));
            if error == TokenError::Malformed {
                print(format!("length      {} of 40 characters", text.chars().count()));
            }
            bail!("{error}")
        }
    }
}
