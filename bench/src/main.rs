//! `ftp-bench`: runs scenarios round by round, ours and theirs interleaved, and prints what came out.
//! `cargo xtask bench` builds and starts it. This file holds the command line and the order of things;
//! what is measured is in `scenario/`, who is measured in `server/`.

mod bpf;
mod client;
mod machine;
mod report;
mod row;
mod scenario;
mod server;

use std::{
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    machine::Machine,
    report::Report,
    row::Sample,
    scenario::{Bench, Scenario},
};

/// Measures Pinhole side by side with what people use today.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Arguments {
    /// What to measure; everything if none is named.
    scenarios: Vec<String>,
    /// Also writes the results here, with the machine's facts.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fewer rounds: to see that it works, not to publish.
    #[arg(long)]
    quick: bool,
    /// Says what each scenario measures and how, and runs nothing.
    #[arg(long)]
    list: bool,
    /// The `pinhole` program under test.
    #[arg(long, env = "PINHOLE_BIN", hide = true)]
    pinhole: Option<PathBuf>,
    /// Where peers are unpacked and files to serve are kept.
    #[arg(
        long,
        env = "PINHOLE_BENCH_DIR",
        default_value = "target/bench",
        hide = true
    )]
    folder: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let all = scenario::all();
    if arguments.list {
        for scenario in &all {
            println!("{}\n{}\n", scenario.name(), scenario.method());
        }
        return Ok(());
    }
    let chosen = choose(&all, &arguments.scenarios)?;
    if !rustix::process::geteuid().is_root() {
        bail!(
            "benchmarks load eBPF programs and make network namespaces, which takes root; type: \
             sudo -E env PATH=$PATH cargo xtask bench"
        );
    }
    let Some(pinhole) = arguments.pinhole.clone() else {
        bail!("no program to measure: `cargo xtask bench` builds it, or name one in PINHOLE_BIN");
    };
    let folder = std::path::absolute(&arguments.folder)
        .with_context(|| format!("cannot resolve {}", arguments.folder.display()))?;
    let bench = Bench::new(pinhole, folder, arguments.quick)?;
    for server in bench.servers() {
        eprintln!("{:>12}  {}", server.name(), server.version());
    }
    for reason in bench.absent() {
        eprintln!("{:>12}  {reason}", "absent");
    }

    let mut rows = Vec::new();
    for scenario in chosen {
        let name = scenario.name();
        let mut rounds = scenario
            .prepare(&bench)
            .with_context(|| format!("cannot prepare {name}"))?;
        let samples = measure(name, scenario.rounds(bench.quick()), |number| {
            rounds.round(number)
        })?;
        rows.extend(row::summarise(name, &samples));
    }
    let report = Report {
        machine: Machine::look(&bench)?,
        results: rows,
    };
    print!("{report}");
    if let Some(path) = &arguments.json {
        write(&report, path).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("{:>12}  {}", "written", path.display());
    }
    Ok(())
}

fn choose<'a>(all: &'a [Box<dyn Scenario>], names: &[String]) -> Result<Vec<&'a dyn Scenario>> {
    if names.is_empty() {
        return Ok(all.iter().map(AsRef::as_ref).collect());
    }
    let find = |name: &String| match all.iter().find(|scenario| scenario.name() == name) {
        Some(scenario) => Ok(scenario.as_ref()),
        None => {
            let known: Vec<_> = all.iter().map(|scenario| scenario.name()).collect();
            bail!(
                "there is no scenario {name}; there are {}",
                known.join(", ")
            )
        }
    };
    names.iter().map(find).collect()
}

/// Runs the rounds under a progress bar with the time left.
fn measure(
    name: &str,
    rounds: u32,
    mut round: impl FnMut(u32) -> Result<Vec<Sample>>,
) -> Result<Vec<Vec<Sample>>> {
    let bar = ProgressBar::new(u64::from(rounds));
    if let Ok(style) =
        ProgressStyle::with_template("{prefix:>12}  {bar:30} round {pos} of {len}, {eta} left")
    {
        bar.set_style(style);
    }
    bar.set_prefix(name.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut samples = Vec::new();
    for number in 0..rounds {
        samples.push(
            round(number).with_context(|| format!("{name}, round {} of {rounds}", number + 1))?,
        );
        bar.inc(1);
        if bar.is_hidden() {
            eprintln!(
                "{name:>12}  round {} of {rounds}, {} s left",
                number + 1,
                bar.eta().as_secs()
            );
        }
    }
    bar.finish_and_clear();
    Ok(samples)
}

fn write(report: &Report, path: &Path) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    serde_json::to_writer_pretty(&mut file, report)?;
    use std::io::Write as _;
    file.write_all(b"\n")?;
    Ok(file.flush()?)
}
