//! A saved result file as pages for people: tables and plots. Everything here is made from the file alone.

mod docs;
mod goals;
mod html;
mod plot;
mod table;

use std::{
    fs::{self, File},
    io::BufReader,
    path::Path,
};

use anyhow::{Context as _, Result};

use crate::{report::Report, row::Row};

/// Rows of one scenario and metric: a table and a plot.
pub(crate) struct Group<'a> {
    pub(crate) scenario: &'a str,
    pub(crate) metric: &'a str,
    pub(crate) unit: &'a str,
    pub(crate) rows: Vec<&'a Row>,
}

impl<'a> Group<'a> {
    /// In the order of the file.
    fn all(report: &'a Report) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for row in &report.results {
            let same =
                |group: &&mut Self| group.scenario == row.scenario && group.metric == row.metric;
            match groups.iter_mut().find(same) {
                Some(group) => group.rows.push(row),
                None => groups.push(Self {
                    scenario: &row.scenario,
                    metric: &row.metric,
                    unit: &row.unit,
                    rows: vec![row],
                }),
            }
        }
        groups
    }

    /// Cases, in order of appearance.
    fn cases(&self) -> Vec<&'a str> {
        distinct(self.rows.iter().map(|row| row.case.as_str()))
    }

    /// Subjects, in order of appearance.
    fn subjects(&self) -> Vec<&'a str> {
        distinct(self.rows.iter().map(|row| row.subject.as_str()))
    }

    fn find(&self, case: &str, subject: &str) -> Option<&'a Row> {
        let mut rows = self.rows.iter();
        rows.find(|row| row.case == case && row.subject == subject)
            .copied()
    }

    /// What is measured, with its unit.
    fn title(&self) -> String {
        match self.unit {
            "" => self.metric.to_owned(),
            unit => format!("{}, {unit}", self.metric),
        }
    }
}

fn distinct<'a>(values: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for value in values {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}

/// Reads a file that `--json` wrote.
pub(crate) fn read(path: &Path) -> Result<Report> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    serde_json::from_reader(BufReader::new(file)).with_context(|| {
        format!(
            "{} is not what `cargo xtask bench --json` writes",
            path.display()
        )
    })
}

/// Writes one page that needs nothing beside it. `methods`: a scenario's name and method.
pub(crate) fn write_html(report: &Report, methods: &[(&str, &str)], path: &Path) -> Result<()> {
    let page = html::page(report, methods)?;
    fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))
}

/// Replaces what is between the markers of a Markdown file, and the plots in the folder beside it.
pub(crate) fn write_docs(report: &Report, methods: &[(&str, &str)], path: &Path) -> Result<()> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let made = docs::section(report, methods)?;
    let changed = docs::replace(&text, &made.text)
        .with_context(|| format!("{} has no place for results", path.display()))?;
    let folder = path.with_extension("");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (name, plot) in &made.plots {
        let file = folder.join(name);
        fs::write(&file, plot).with_context(|| format!("cannot write {}", file.display()))?;
    }
    fs::write(path, changed).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
pub(crate) mod testing {
    //! A small result file.

    use crate::{
        machine::Machine,
        report::Report,
        row::{Sample, compare, summarise},
    };

    pub(crate) fn report() -> Report {
        let round = |speed: f64| {
            compare(vec![
                Sample::new("RETR <1>", "pinhole", "rate", "MB/s", 300.0 * speed),
                Sample::new("RETR <1>", "vsftpd", "rate", "MB/s", 200.0 * speed),
                Sample::new("STOR", "pinhole", "rate", "MB/s", 9.0 * speed),
            ])
        };
        Report {
            machine: Machine::for_tests(),
            results: summarise("transfer", &[round(1.0), round(1.1), round(0.9)]),
            left_out: [("transfer, STOR, vsftpd".to_owned(), "said 550".to_owned())].into(),
        }
    }

    #[test]
    fn a_report_survives_its_file() {
        let report = report();
        let text = serde_json::to_string(&report).unwrap();
        let again: Report = serde_json::from_str(&text).unwrap();
        assert_eq!(again.results, report.results);
        assert_eq!(again.left_out, report.left_out);
    }
}
