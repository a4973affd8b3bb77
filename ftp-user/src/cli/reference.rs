//! `pinhole reference`: the manual pages and the shells' completions, from the definition of the
//! command line itself. For whoever makes packages; nothing else uses it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap_complete::Shell;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// An existing directory
    directory: PathBuf,
}

pub(super) fn run(args: &Args, command: clap::Command) -> anyhow::Result<()> {
    write(&args.directory, command)
        .with_context(|| format!("cannot write into {}", args.directory.display()))
}

fn write(directory: &Path, command: clap::Command) -> std::io::Result<()> {
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        // A copy: `help` is added to it, whose pages nobody needs.
        clap_complete::generate_to(shell, &mut command.clone(), "pinhole", directory)?;
    }
    clap_mangen::generate_to(command, directory)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_has_a_page_but_this() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), super::super::Cli::command()).unwrap();
        let page = |name: &str| fs::read_to_string(folder.path().join(name));
        let commands = super::super::Cli::command();
        let mut commands: Vec<_> = commands
            .get_subcommands()
            .map(clap::Command::get_name)
            .collect();
        commands.retain(|name| *name != "reference");
        assert!(commands.len() >= 6, "{commands:?}");
        for name in commands {
            assert!(page(&format!("pinhole-{name}.1")).is_ok(), "{name}");
            assert!(
                page("pinhole.1")
                    .unwrap()
                    .contains(&format!("pinhole\\-{name}(1)"))
            );
        }
        for name in ["reference", "help", "user-help"] {
            assert!(page(&format!("pinhole-{name}.1")).is_err(), "{name}");
        }
        for completion in ["pinhole.bash", "_pinhole", "pinhole.fish"] {
            assert!(page(completion).unwrap().contains("guard"), "{completion}");
        }
    }
}
