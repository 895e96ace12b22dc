//! The `tributary` program.

use std::process::ExitCode;

use clap::Parser as _;
use mimalloc::MiMalloc;
use tributary::cli::{self, Cli};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // One thread for the program itself: servers and background tasks bring their own, and the
    // engines of `dev` must be started from a thread that lives as long as the process.
    actix_web::rt::System::new().block_on(cli::run(Cli::parse()))
}
