//! The `tributary` program.

use std::process::ExitCode;

use clap::Parser as _;
use mimalloc::MiMalloc;
use tributary::cli::{self, Cli};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // Transparent huge pages hold 2 MiB wherever a few bytes are used: a third of the memory of a
    // redirect under load, for no speed that could be measured. What cannot be changed stays.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_thp_disable(true);
    // One thread for the program itself: servers and background tasks bring their own, and the
    // engines of `dev` must be started from a thread that lives as long as the process.
    actix_web::rt::System::new().block_on(cli::run(Cli::parse()))
}
