//! The project's own commands: `cargo xtask setup | build | dist | run | test | bench | lint`. What they take; the
//! work is in the modules. No product code here or below.

mod bench;
mod build;
mod dist;
mod ebpf;
mod lint;
mod progress;
mod run;
mod setup;
mod test;
mod tidy;
mod workspace;

use std::{ffi::OsString, process::ExitCode};

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
    /// Builds the `pinhole` program, eBPF object inside.
    Build {
        /// With optimisation, as it is to be installed.
        #[arg(long)]
        release: bool,
        /// With system accounts by PAM; takes libpam0g-dev or pam-devel.
        #[arg(long)]
        pam: bool,
    },
    /// Builds a Debian package, with units, in target/dist.
    Dist {
        /// With system accounts by PAM; takes libpam0g-dev.
        #[arg(long)]
        pam: bool,
    },
    /// Builds, makes a demo folder and serves it at ftp://127.0.0.1:2121/; needs root.
    Run {
        /// Runs `pinhole ARGS` instead.
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// Builds and runs every test; as root also those of the kernel half and with real clients.
    Test {
        /// Only tests with this in their name.
        filter: Option<String>,
        /// Takes 10,000 sessions through each guarded server, not a few hundred (`a_row_of_sessions`).
        #[arg(long)]
        soak: bool,
        /// Also builds the daemon with PAM, and tests that; takes libpam0g-dev or pam-devel.
        #[arg(long)]
        pam: bool,
    },
    /// Measures Pinhole side by side with what people use today; --help and --list say more.
    #[command(disable_help_flag = true)]
    Bench {
        /// What ftp-bench takes: `[SCENARIO]... [--json FILE] [--quick]`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Checks format, clippy for both halves, and the house rules.
    Lint,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Setup { tests } => {
            setup::build_tools().and_then(|_| if tests { setup::test_tools() } else { Ok(()) })
        }
        Command::Build { release, pam } => {
            let profile = match release {
                false => build::Profile::Dev,
                true => build::Profile::Release,
            };
            let features: &[&str] = if pam { &["pam"] } else { &[] };
            build::daemon(profile, features).map(drop)
        }
        Command::Dist { pam } => dist::dist(pam),
        Command::Run { args } => run::run(args),
        Command::Test { filter, soak, pam } => test::run(filter.as_deref(), soak, pam),
        Command::Bench { args } => bench::bench(args),
        Command::Lint => lint::lint(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
