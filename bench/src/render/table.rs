//! A group of rows as a table of cells, whichever way it is narrower.

use super::Group;
use crate::{report::figure, row::OURS};

/// Cells as text; the first row and the first column are headings.
pub(crate) fn cells(group: &Group<'_>) -> Vec<Vec<String>> {
    let (cases, subjects) = (group.cases(), group.subjects());
    let cell = |case: &str, subject: &str| cell(group, case, subject);
    let across = subjects.len() <= cases.len().max(5);
    let (downwards, sideways) = match across {
        true => (&cases, &subjects),
        false => (&subjects, &cases),
    };
    let head = std::iter::once(group.title()).chain(sideways.iter().map(|name| (*name).to_owned()));
    let mut lines = vec![head.collect::<Vec<_>>()];
    for down in downwards {
        let cells = sideways.iter().map(|side| match across {
            true => cell(down, side),
            false => cell(side, down),
        });
        lines.push(std::iter::once((*down).to_owned()).chain(cells).collect());
    }
    lines
}

/// Median and spread; for the others, what ours is of it; for ours, what it is of a peer that is no subject.
fn cell(group: &Group<'_>, case: &str, subject: &str) -> String {
    let Some(row) = group.find(case, subject) else {
        return "-".to_owned();
    };
    let spread = row.value;
    let mut text = format!(
        "{} ({}-{})",
        figure(spread.median),
        figure(spread.p10),
        figure(spread.p90)
    );
    let subjects = group.subjects();
    if subject.starts_with(OURS) {
        for (peer, ratio) in &row.ratio {
            if !subjects.contains(&peer.as_str()) {
                text += &format!(", {:.2} × {peer}", ratio.median);
            }
        }
        return text;
    }
    let ours = group
        .rows
        .iter()
        .find_map(|row| (row.case == case).then(|| row.ratio.get(subject))?);
    if let Some(ratio) = ours {
        text += &format!(", **{:.2}**", ratio.median);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{super::testing, *};

    #[test]
    fn ratios_stand_with_the_peer() {
        let report = testing::report();
        let cells = cells(&Group::all(&report)[0]);
        assert_eq!(cells[0], ["rate, MB/s", "pinhole", "vsftpd"]);
        assert_eq!(
            cells[1],
            ["RETR <1>", "300 (276-324)", "200 (184-216), **1.50**"]
        );
        assert_eq!(cells[2], ["STOR", "9.00 (8.28-9.72)", "-"]);
    }
}
