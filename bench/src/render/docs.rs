//! The results in docs/BENCHMARKS.md: between two markers everything is written from a result file, so that no
//! number is typed; what stands outside is people's.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use super::{Group, distinct, goals, plot, table};
use crate::report::Report;

const BEGIN: &str = "<!-- Written by `cargo xtask bench report`; edits here are lost. -->\n";
const END: &str = "<!-- End of what is written. -->\n";

/// What goes between the markers, and the plots that it names.
pub(super) struct Section {
    pub(super) text: String,
    /// File names and contents.
    pub(super) plots: Vec<(String, String)>,
}

/// Puts `made` between the markers.
pub(super) fn replace(text: &str, made: &str) -> Result<String> {
    let (before, rest) = text
        .split_once(BEGIN)
        .with_context(|| format!("no line {}", BEGIN.trim_end()))?;
    let (_, after) = rest
        .split_once(END)
        .with_context(|| format!("no line {}", END.trim_end()))?;
    Ok(format!("{before}{BEGIN}{made}{END}{after}"))
}

pub(super) fn section(report: &Report, methods: &[(&str, &str)]) -> Result<Section> {
    let machine = report.machine.to_string().replace('\n', "; ");
    let mut text = format!(
        "\n{machine}\n\nMedian (p10-p90) of the rounds. In bold, ours divided by theirs, round by round: for times and\n\
         costs less than 1 is better, for rates more.\n\n## Goals\n\n"
    );
    text += &table_of(&goals::cells(report));
    let mut plots = Vec::new();
    let groups = Group::all(report);
    for scenario in distinct(groups.iter().map(|group| group.scenario)) {
        // Writing to a String cannot fail, here and below.
        let _ = write!(
            text,
            "\n## {scenario}\n\n    cargo xtask bench {scenario}\n"
        );
        for group in groups.iter().filter(|group| group.scenario == scenario) {
            let name = format!("{scenario}-{}.svg", file_name(group.metric));
            let title = group.title();
            let _ = write!(text, "\n![{scenario}: {title}](BENCHMARKS/{name})\n\n");
            text += &table_of(&table::cells(group));
            plots.push((name, plot::svg(group)?));
        }
        if let Some((_, method)) = methods.iter().find(|(name, _)| *name == scenario) {
            let _ = write!(
                text,
                "\n<details><summary>Method</summary>\n\n{method}\n\n</details>\n"
            );
        }
    }
    if !report.left_out.is_empty() {
        text += "\n## Left out in that run\n\n";
        for (what, reason) in &report.left_out {
            let _ = writeln!(text, "* {what}: {reason}");
        }
    }
    text.push('\n');
    Ok(Section { text, plots })
}

fn table_of(cells: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (number, line) in cells.iter().enumerate() {
        let line: Vec<String> = line.iter().map(|cell| cell.replace('|', "\\|")).collect();
        let _ = writeln!(text, "| {} |", line.join(" | "));
        if number == 0 {
            let rule: Vec<&str> = line.iter().map(|_| "---").collect();
            let _ = writeln!(text, "|{}|", rule.join("|"));
        }
    }
    text
}

fn file_name(metric: &str) -> String {
    metric.replace(|character: char| !character.is_ascii_alphanumeric(), "-")
}

#[cfg(test)]
mod tests {
    use super::{super::testing, *};

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let text = format!("before\n{BEGIN}old\n{END}after\n");
        let once = replace(&text, "new\n").unwrap();
        assert_eq!(once, format!("before\n{BEGIN}new\n{END}after\n"));
        assert_eq!(replace(&once, "new\n").unwrap(), once);
        assert!(replace("no markers", "new").is_err());
    }

    #[test]
    fn a_section_has_its_tables_plots_and_method() {
        let section = section(&testing::report(), &[("transfer", "how it is done")]).unwrap();
        for word in [
            "| RETR <1> | 300 (276-324) | 200 (184-216), **1.50** |",
            "![transfer: rate, MB/s](BENCHMARKS/transfer-rate.svg)",
            "how it is done",
            "transfer, STOR, vsftpd: said 550",
        ] {
            assert!(
                section.text.contains(word),
                "{word} is not in {}",
                section.text
            );
        }
        assert_eq!(section.plots[0].0, "transfer-rate.svg");
    }
}
