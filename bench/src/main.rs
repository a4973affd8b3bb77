//! `ftp-bench`: runs scenarios round by round, ours and theirs interleaved, and prints what came out.
//! `cargo xtask bench` builds and starts it. This file holds the command line and the order of things;
//! what is measured is in `scenario/`, who is measured in `server/`.

mod client;
mod cpu;
mod files;
mod kernel;
mod machine;
mod nftables;
mod progress;
mod render;
mod report;
mod row;
mod sandbox;
mod scenario;
mod server;
mod supervise;

use std::{
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;

use crate::{
    machine::Machine,
    progress::Progress,
    report::Report,
    row::Sample,
    scenario::{Bench, Scenario, Wanted},
};

/// With --quick, no scenario begins another round after this, if --longest does not say otherwise.
const LONGEST_QUICK: Duration = Duration::from_secs(75);

/// Measures Pinhole side by side with what people use today.
#[derive(Parser)]
#[command(
    name = "cargo xtask bench",
    bin_name = "cargo xtask bench",
    args_conflicts_with_subcommands = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    /// What to measure; everything if none is named.
    scenarios: Vec<String>,
    /// Also writes the results here, with the machine's facts.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fewer rounds: to see that it works, not to publish.
    #[arg(long)]
    quick: bool,
    /// Begins no other round of a scenario after this many seconds: fewer rounds, whole ones.
    #[arg(long, value_name = "SECONDS")]
    longest: Option<u64>,
    /// Only cases whose name contains this: `RETR 1024 MiB`, `8 streams`. Can be given several times.
    #[arg(long = "case", value_name = "TEXT")]
    cases: Vec<String>,
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

#[derive(clap::Subcommand)]
enum Command {
    /// Renders results that --json has saved, and measures nothing.
    Report {
        /// What --json wrote.
        results: PathBuf,
        /// One page with everything in it.
        #[arg(long, value_name = "FILE", default_value = "report.html")]
        html: PathBuf,
        /// Also writes the tables and plots of this Markdown file: docs/BENCHMARKS.md.
        #[arg(long, value_name = "FILE")]
        docs: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        Some(Command::Report {
            results,
            html,
            docs,
        }) => render(results, html, docs.as_deref()),
        None if arguments.list || supervise::is_run() => run(&arguments),
        None => match supervise::run() {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
    };
    match done {
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
    let memory = sandbox::enter(&folder.join("memory"))?;
    let wanted = Wanted {
        quick: arguments.quick,
        cases: arguments.cases.clone(),
    };
    let bench = Bench::new(pinhole, &folder, &memory, wanted)?;
    for server in bench.servers() {
        eprintln!("{:>12}  {}", server.name(), server.version());
    }

    let mut rows = Vec::new();
    for scenario in chosen {
        let name = scenario.name();
        // One that fails must not take the others' figures with it.
        let measured = scenario.prepare(&bench).and_then(|mut rounds| {
            let quick = || bench.quick().then_some(LONGEST_QUICK);
            let longest = arguments.longest.map(Duration::from_secs).or_else(quick);
            measure(name, scenario.rounds(bench.quick()), longest, |number| {
                let mut samples = rounds.round(number)?;
                samples.retain(|sample| bench.wants(&sample.case));
                // Later rounds may leave cases out that are measured once.
                ensure!(
                    number > 0 || !samples.is_empty(),
                    "no figures: none of its cases is wanted, or could be had"
                );
                Ok(samples)
            })
        });
        match measured {
            Ok(samples) => rows.extend(row::summarise(name, &samples)),
            Err(reason) => bench.leave_out(name, &reason),
        }
    }
    let report = Report {
        machine: Machine::look(&bench)?,
        results: rows,
        left_out: bench.missing(),
    };
    print!("{report}");
    if let Some(path) = &arguments.json {
        write(&report, path).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("{:>12}  {}", "written", path.display());
    }
    Ok(())
}

fn render(results: &Path, html: &Path, docs: Option<&Path>) -> Result<()> {
    let report = render::read(results)?;
    let all = scenario::all();
    let methods: Vec<_> = all
        .iter()
        .map(|scenario| (scenario.name(), scenario.method()))
        .collect();
    render::write_html(&report, &methods, html)?;
    eprintln!("{:>12}  {}", "written", html.display());
    if let Some(docs) = docs {
        render::write_docs(&report, &methods, docs)?;
        eprintln!("{:>12}  {}", "written", docs.display());
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

/// Runs the rounds, and shows how far they are.
fn measure(
    name: &str,
    rounds: u32,
    longest: Option<Duration>,
    mut round: impl FnMut(u32) -> Result<Vec<Sample>>,
) -> Result<Vec<Vec<Sample>>> {
    let progress = Progress::of(name, rounds, longest);
    let mut samples = Vec::new();
    for number in (0..rounds).take_while(|done| progress.has_time(*done)) {
        samples.push(
            round(number).with_context(|| format!("{name}, round {} of {rounds}", number + 1))?,
        );
        progress.done(number + 1);
    }
    Ok(samples)
}

fn write(report: &Report, path: &Path) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    serde_json::to_writer_pretty(&mut file, report)?;
    use std::io::Write as _;
    file.write_all(b"\n")?;
    Ok(file.flush()?)
}
