//! All results of a run, as a table for people and as JSON for later.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    machine::Machine,
    row::{Row, Spread},
};

/// What `--json` writes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) results: Vec<Row>,
    /// What could not be measured, and why.
    #[serde(default)]
    pub(crate) left_out: BTreeMap<String, String>,
}

const HEAD: [&str; 6] = [
    "scenario",
    "case",
    "subject",
    "metric",
    "median (p10-p90)",
    "ratio, pair by pair (p10-p90)",
];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<[String; 6]> = [HEAD.map(str::to_owned)]
            .into_iter()
            .chain(self.results.iter().map(cells))
            .collect();
        let mut widths = [0; 6];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        writeln!(f)?;
        for line in &lines {
            let padded: Vec<String> = line
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            writeln!(f, "{}", padded.join("  ").trim_end())?;
        }
        for (what, reason) in &self.left_out {
            writeln!(f, "left out: {what}: {reason}")?;
        }
        writeln!(f, "\n{}", self.machine)
    }
}

fn cells(row: &Row) -> [String; 6] {
    let ratios: Vec<String> = row
        .ratio
        .iter()
        .map(|(peer, Spread { median, p10, p90 })| {
            format!("{median:.2} x {peer} ({p10:.2}-{p90:.2})")
        })
        .collect();
    let Spread { median, p10, p90 } = row.value;
    [
        row.scenario.clone(),
        row.case.clone(),
        row.subject.clone(),
        row.metric.clone(),
        format!(
            "{} {} ({}-{})",
            figure(median),
            row.unit,
            figure(p10),
            figure(p90)
        ),
        ratios.join(", "),
    ]
}

/// Three significant digits or more: nobody reads further.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_three_digits() {
        assert_eq!(figure(3295.4), "3295");
        assert_eq!(figure(22.04), "22.0");
        assert_eq!(figure(1.234), "1.23");
    }
}
