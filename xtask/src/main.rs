//! The project's own commands: `cargo xtask setup | build | run | test | lint`. What they take and
//! in which order they run; the work is in the modules. No product code here or below.

mod progress;
mod setup;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Pinhole's build, from a fresh machine to a tested server.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Finds or installs what the eBPF object is built with; the other commands do this by themselves.
    Setup {
        /// Also installs the FTP clients and network tools that the tests drive.
        #[arg(long)]
        tests: bool,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Setup { tests: false } => setup::build_tools().map(drop),
        Command::Setup { tests: true } => setup::build_tools().and_then(|_| setup::test_tools()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
