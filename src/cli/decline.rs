//! `decline score`: the detector on the files of its benchmark.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::print;
use crate::report::decline::score;

/// Commands about decline.
#[derive(Debug, Subcommand)]
pub(super) enum DeclineCommand {
    /// Replay the benchmark's series day by day and write which partners would have been listed.
    Score(ScoreArgs),
}

#[derive(Debug, Args)]
pub(super) struct ScoreArgs {
    /// Folder with series.csv and partners.csv, as `load-tests/decline/generate.py` writes them.
    #[arg(long, value_name = "DIR")]
    series: PathBuf,
    /// File to write the listings to.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// File to write the standing states to.
    #[arg(long, value_name = "FILE")]
    states: Option<PathBuf>,
}

/// Runs a command about decline.
pub(super) fn run(command: DeclineCommand) -> anyhow::Result<()> {
    match command {
        DeclineCommand::Score(args) => {
            print(score::run(&args.series, &args.out, args.states.as_deref())?);
            Ok(())
        }
    }
}
