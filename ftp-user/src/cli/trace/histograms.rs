//! How the times from step to step are spread.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::{microseconds, words};
use crate::pinholes::kernel::{Moment, Timeline};

/// One histogram for each step and the one that came before it, in nanoseconds.
#[derive(Default)]
pub(super) struct Histograms(BTreeMap<(Moment, Moment), Histogram<u64>>);

/// Significant digits.
const DIGITS: u8 = 3;
/// The longest bar.
const BAR: u64 = 50;

impl Histograms {
    /// Counts a data connection.
    pub(super) fn add(&mut self, line: &Timeline) -> anyhow::Result<()> {
        for (from, to, nanoseconds) in line.intervals() {
            let histogram = match self.0.entry((from, to)) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(Histogram::new(DIGITS)?)
                }
            };
            histogram.record(nanoseconds)?;
        }
        Ok(())
    }

    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        for ((from, to), histogram) in &self.0 {
            let at = |quantile| microseconds(histogram.value_at_quantile(quantile));
            // Writing to memory does not fail.
            let _ = writeln!(
                out,
                "\n{} to {}: {}, median {:.1} µs, p90 {:.1}, p99 {:.1}, longest {:.1}",
                words(*from),
                words(*to),
                histogram.len(),
                at(0.5),
                at(0.9),
                at(0.99),
                microseconds(histogram.max())
            );
            let buckets = buckets(histogram);
            let most = buckets.iter().map(|(_, count)| *count).max().unwrap_or(1);
            for (below, count) in buckets {
                let bar = "#".repeat((count * BAR).div_ceil(most) as usize);
                let _ = writeln!(out, "  < {:>10} µs  {count:>8}  {bar}", below);
            }
        }
        out
    }

    pub(super) fn json(&self, lost: u64) -> Value {
        let intervals: Vec<Value> = self
            .0
            .iter()
            .map(|((from, to), histogram)| {
                let at = |quantile| microseconds(histogram.value_at_quantile(quantile));
                let buckets: Vec<Value> = buckets(histogram)
                    .into_iter()
                    .map(|(below, count)| json!({"below_us": below, "count": count}))
                    .collect();
                json!({
                    "from": from.name(),
                    "to": to.name(),
                    "count": histogram.len(),
                    "p50_us": at(0.5),
                    "p90_us": at(0.9),
                    "p99_us": at(0.99),
                    "max_us": microseconds(histogram.max()),
                    "histogram": buckets,
                })
            })
            .collect();
        json!({"lost": lost, "intervals": intervals})
    }
}

/// Counts below 1 µs, 2 µs, 4 µs and so on, from the first that is not empty to the last.
fn buckets(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    let all = histogram.iter_log(1_000, 2.0);
    let counted = all.enumerate().map(|(step, bucket)| {
        let below = 1_u64.checked_shl(step as u32).unwrap_or(u64::MAX);
        (below, bucket.count_since_last_iteration())
    });
    counted.skip_while(|(_, count)| *count == 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(nanoseconds: &[u64]) -> Histograms {
        let mut histogram = Histogram::new(DIGITS).unwrap();
        for value in nanoseconds {
            histogram.record(*value).unwrap();
        }
        let interval = (Moment::Accepted, Moment::FirstByte);
        Histograms(BTreeMap::from([(interval, histogram)]))
    }

    #[test]
    fn buckets_double() {
        let all = of(&[3_000, 3_500, 4_500, 30_000]);
        let buckets = buckets(all.0.values().next().unwrap());
        assert_eq!(buckets, [(4, 2), (8, 1), (16, 0), (32, 1)]);
    }

    #[test]
    fn a_bar_stands_for_each() {
        let text = of(&[3_000, 3_500, 4_500]).text();
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert!(
            lines[0].starts_with("accepted to first byte: 3, median 3.5 µs"),
            "{text}"
        );
        assert_eq!(lines[1].matches('#').count() as u64, BAR);
        assert_eq!(lines[2].matches('#').count() as u64, BAR / 2);
        let json = of(&[3_000]).json(2);
        assert_eq!(json["lost"], 2);
        assert_eq!(json["intervals"][0]["to"], "first_byte");
    }
}
