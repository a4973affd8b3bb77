//! From samples to result rows: medians, spreads, and ratios taken pair by pair. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the names of our subjects begin with.
pub(crate) const OURS: &str = "pinhole";

/// The subject that is no contestant, but what the machine can do.
pub(crate) const CEILING: &str = "ceiling";

/// One figure of one round.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    /// What was done: `PASV`, `RETR 1 GiB`.
    pub(crate) case: String,
    /// Who did it.
    pub(crate) subject: String,
    /// What was counted: `median`, `p99`, `rate`.
    pub(crate) metric: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
    /// The same figure of others in the same round.
    pub(crate) against: Vec<(String, f64)>,
}

impl Sample {
    pub(crate) fn new(
        case: &str,
        subject: &str,
        metric: &'static str,
        unit: &'static str,
        value: f64,
    ) -> Self {
        Self {
            case: case.to_owned(),
            subject: subject.to_owned(),
            metric,
            unit,
            value,
            against: Vec::new(),
        }
    }

    /// Compares with another's figure, taken in the same round.
    pub(crate) fn against(mut self, peer: &str, value: f64) -> Self {
        self.against.push((peer.to_owned(), value));
        self
    }
}

/// A median, and the range that holds eight of ten values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) p10: f64,
    pub(crate) p90: f64,
}

/// A line of the results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) scenario: String,
    pub(crate) case: String,
    pub(crate) subject: String,
    pub(crate) metric: String,
    pub(crate) unit: String,
    #[serde(flatten)]
    pub(crate) value: Spread,
    /// Rounds that gave a value.
    pub(crate) runs: usize,
    /// Ours divided by theirs, round by round.
    pub(crate) ratio: BTreeMap<String, Spread>,
}

/// Compares each figure of ours with every other's of the same case and metric, taken in the same round.
pub(crate) fn compare(samples: Vec<Sample>) -> Vec<Sample> {
    let all = samples.clone();
    let same = |a: &Sample, b: &Sample| a.case == b.case && a.metric == b.metric;
    let is_ours = |sample: &Sample| sample.subject.starts_with(OURS);
    samples
        .into_iter()
        .map(|sample| {
            let others = all
                .iter()
                .filter(|other| is_ours(&sample) && !is_ours(other) && same(other, &sample));
            others.fold(sample.clone(), |sample, other| {
                sample.against(&other.subject, other.value)
            })
        })
        .collect()
}

/// One row per case, subject and metric, in the order of first appearance.
pub(crate) fn summarise(scenario: &str, rounds: &[Vec<Sample>]) -> Vec<Row> {
    let mut groups: Vec<Vec<&Sample>> = Vec::new();
    let key = |sample: &Sample| (sample.case.clone(), sample.subject.clone(), sample.metric);
    for sample in rounds.iter().flatten() {
        match groups.iter_mut().find(|group| key(group[0]) == key(sample)) {
            Some(group) => group.push(sample),
            None => groups.push(vec![sample]),
        }
    }
    groups
        .into_iter()
        .filter_map(|group| summarise_one(scenario, &group))
        .collect()
}

fn summarise_one(scenario: &str, group: &[&Sample]) -> Option<Row> {
    let first = group.first()?;
    let mut ratios: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for sample in group {
        // To nothing there is no ratio, and JSON has no word for one.
        for (peer, theirs) in sample.against.iter().filter(|(_, theirs)| *theirs != 0.0) {
            ratios
                .entry(peer.clone())
                .or_default()
                .push(sample.value / theirs);
        }
    }
    Some(Row {
        scenario: scenario.to_owned(),
        case: first.case.clone(),
        subject: first.subject.clone(),
        metric: first.metric.to_owned(),
        unit: first.unit.to_owned(),
        value: spread(group.iter().map(|sample| sample.value).collect())?,
        runs: group.len(),
        ratio: ratios
            .into_iter()
            .filter_map(|(peer, values)| Some((peer, spread(values)?)))
            .collect(),
    })
}

/// Median, p10 and p90; `None` of nothing.
pub(crate) fn spread(mut values: Vec<f64>) -> Option<Spread> {
    values.sort_by(f64::total_cmp);
    Some(Spread {
        median: quantile(&values, 0.5)?,
        p10: quantile(&values, 0.1)?,
        p90: quantile(&values, 0.9)?,
    })
}

/// The value below which a fraction of the sorted values lies, between two by their distance.
pub(crate) fn quantile(sorted: &[f64], fraction: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = fraction * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    Some(sorted[below] + (sorted[above] - sorted[below]) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_values() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[7.0], 0.9), Some(7.0));
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.5), Some(2.5));
        assert_eq!(spread(vec![3.0, 1.0, 2.0]).map(|s| s.median), Some(2.0));
    }

    #[test]
    fn ours_is_compared_with_each_other_of_its_kind() {
        let sample =
            |case: &str, subject: &str, value| Sample::new(case, subject, "rate", "1/s", value);
        let compared = compare(vec![
            sample("one", "theirs", 2.0),
            sample("one", "pinhole xdp", 4.0),
            sample("two", "theirs", 8.0),
            sample("one", "pinhole tcx", 3.0),
        ]);
        assert_eq!(compared[1].against, [("theirs".to_owned(), 2.0)]);
        assert_eq!(compared[3].against, [("theirs".to_owned(), 2.0)]);
        assert!(compared[0].against.is_empty() && compared[2].against.is_empty());
    }

    #[test]
    fn there_is_no_ratio_to_nothing() {
        let sample = Sample::new("RETR", "pinhole", "share", "%", 0.0);
        let rows = summarise("timeline", &[vec![sample.against("theirs", 0.0)]]);
        assert!(rows[0].ratio.is_empty());
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        // The machine gets four times slower from round to round; the ratio does not.
        let rounds: Vec<Vec<Sample>> = [1.0, 4.0, 16.0]
            .iter()
            .map(|speed| {
                vec![
                    Sample::new("RETR", "ours", "rate", "MB/s", 3.0 * speed)
                        .against("theirs", 2.0 * speed),
                    Sample::new("RETR", "theirs", "rate", "MB/s", 2.0 * speed),
                ]
            })
            .collect();
        let rows = summarise("transfer", &rounds);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].runs, 3);
        assert_eq!(rows[0].value.median, 12.0);
        assert_eq!(
            rows[0].ratio["theirs"],
            Spread {
                median: 1.5,
                p10: 1.5,
                p90: 1.5
            }
        );
        assert!(rows[1].ratio.is_empty());
    }
}
