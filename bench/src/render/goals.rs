//! What the project wants of itself, beside what a result file has of it.

mod wanted;

use self::wanted::ALL;
use crate::{
    report::{Report, figure},
    row::{CEILING, Row},
};

/// Which way is good.
#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// What of a row is held against the bound.
#[derive(Clone, Copy)]
enum Of {
    Median,
    /// Ours divided by this peer's.
    Ratio(&'static str),
    /// Ours divided by the best peer's: the worst of all ratios.
    EveryPeer,
}

struct Goal {
    scenario: &'static str,
    /// The beginning of the case's name; every case of it counts.
    case: &'static str,
    /// Not these.
    except: &'static [&'static str],
    subject: &'static str,
    metric: &'static str,
    of: Of,
    bound: Bound,
}

impl Goal {
    const fn except(mut self, except: &'static [&'static str]) -> Self {
        self.except = except;
        self
    }

    /// The rows that it is about.
    fn rows<'a>(&self, report: &'a Report) -> Vec<&'a Row> {
        let about = |row: &&Row| {
            row.scenario == self.scenario
                && row.subject == self.subject
                && row.metric == self.metric
                && row.case.starts_with(self.case)
                && !self.except.contains(&row.case.as_str())
        };
        report.results.iter().filter(about).collect()
    }

    /// What a row has, if it has what is asked for.
    fn value(&self, row: &Row) -> Option<f64> {
        match self.of {
            Of::Median => Some(row.value.median),
            Of::Ratio(peer) => Some(row.ratio.get(peer)?.median),
            Of::EveryPeer => {
                let none = ["own NOOP", CEILING];
                let peers = row
                    .ratio
                    .iter()
                    .filter(|(peer, _)| !none.contains(&peer.as_str()));
                self.worst(peers.map(|(_, ratio)| ratio.median))
            }
        }
    }

    fn worst(&self, values: impl Iterator<Item = f64>) -> Option<f64> {
        match self.bound {
            Bound::AtMost(_) => values.reduce(f64::max),
            Bound::AtLeast(_) => values.reduce(f64::min),
        }
    }

    fn words(&self) -> String {
        let case = match self.case {
            "" => "every case".to_owned(),
            case => case.to_owned(),
        };
        let except = match self.except {
            [] => String::new(),
            cases => format!(" but {}", cases.join(" and ")),
        };
        let of = match self.of {
            Of::Median => String::new(),
            Of::Ratio(peer) => format!(" / {peer}"),
            Of::EveryPeer => " / the best peer".to_owned(),
        };
        format!("{}: {case}{except}, {}{of}", self.scenario, self.metric)
    }
}

/// Cells as text, the first line being headings; goals that the file says nothing of are left out.
pub(super) fn cells(report: &Report) -> Vec<Vec<String>> {
    let mut lines = vec![
        ["goal", "wanted", "measured", ""]
            .map(str::to_owned)
            .to_vec(),
    ];
    for goal in ALL {
        let rows = goal.rows(report);
        let Some(measured) = goal.worst(rows.iter().filter_map(|row| goal.value(row))) else {
            continue;
        };
        let (wanted, holds) = match goal.bound {
            Bound::AtMost(bound) => (format!("≤ {}", short(bound)), measured <= bound),
            Bound::AtLeast(bound) => (format!("≥ {}", short(bound)), measured >= bound),
        };
        let unit = match (goal.of, rows.first()) {
            (Of::Median, Some(row)) => row.unit.as_str(),
            (Of::Median | Of::Ratio(_) | Of::EveryPeer, _) => "",
        };
        let with_unit = |text: String| format!("{text} {unit}").trim_end().to_owned();
        lines.push(vec![
            goal.words(),
            with_unit(wanted),
            with_unit(short(measured)),
            if holds { "holds" } else { "**missed**" }.to_owned(),
        ]);
    }
    lines
}

/// Small ratios need more digits than other figures.
fn short(value: f64) -> String {
    match value.abs() < 0.1 {
        true => format!("{value:.3}"),
        false => figure(value),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing, *};
    use crate::row::{Sample, compare, summarise};

    #[test]
    fn a_goal_is_held_against_the_best_peer() {
        let samples = |ours: f64| {
            compare(vec![
                Sample::new("8 at once", "pinhole", "sessions", "1/s", ours),
                Sample::new("8 at once", "slow", "sessions", "1/s", 1.0),
                Sample::new("8 at once", "fast", "sessions", "1/s", 2.0),
            ])
        };
        for (ours, word) in [(10.0, "holds"), (9.0, "**missed**")] {
            let mut report = testing::report();
            report.results = summarise("sessions", &[samples(ours)]);
            let cells = cells(&report);
            assert_eq!(cells.len(), 2, "{cells:?}");
            assert_eq!(cells[1][2], figure(ours / 2.0));
            assert_eq!(cells[1][3], word);
        }
    }

    #[test]
    fn the_worst_case_counts() {
        let sample =
            |case: &str, value| Sample::new(case, "pinhole xdp", "above empty", "ns", value);
        let mut report = testing::report();
        report.results = summarise(
            "verdict",
            &[vec![
                sample("closed", 5.0),
                sample("established", 9.0),
                sample("stray", 30.0),
            ]],
        );
        let cells = cells(&report);
        assert_eq!(cells[1][1..], ["≤ 8.00 ns", "9.00 ns", "**missed**"]);
        assert_eq!(cells[2][1..], ["≤ 90.0 ns", "30.0 ns", "holds"]);
    }
}
