//! docs/CONFORMANCE.md tells no more and no less than what is so: every verb and every FEAT line has
//! its row, and every test that a row names is there.

use crate::proto::command::Algorithm;
use crate::proto::{Verb, help};
use std::collections::BTreeSet;
use std::path::Path;

const TABLE: &str = include_str!("../../../../docs/CONFORMANCE.md");

struct Row<'a> {
    name: &'a str,
    tests: Vec<&'a str>,
}

/// The rows of the table under the heading.
fn rows(heading: &str) -> Vec<Row<'static>> {
    let section = TABLE.split(heading).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    section
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
            let (_, tests) = rest.trim_end_matches(" |").rsplit_once(" | ")?;
            let tests = tests.split(", ");
            Some(Row {
                name,
                tests: tests.map(|test| test.trim_matches('`')).collect(),
            })
        })
        .collect()
}

/// Every test there is, as `file::function`; what is in `NAME/tests.rs` is `NAME`'s.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders = vec![
        workspace.join("ftp-user/src"),
        workspace.join("tests/tests"),
    ];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let module = match path.file_stem().unwrap().to_str().unwrap() {
                "tests" => path.parent().unwrap(),
                _ => &path,
            };
            let file = module.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let mut is_test = false;
            for line in text.lines().map(str::trim_start) {
                match line.strip_prefix("fn ").or(line.strip_prefix("async fn ")) {
                    Some(function) if is_test => {
                        let name = function.split('(').next().unwrap();
                        found.insert(format!("{file}::{name}"));
                    }
                    _ => is_test &= line.starts_with("#["),
                }
                is_test |= line == "#[test]" || line == "#[tokio::test]";
                is_test &= line.starts_with("#[");
            }
        }
    }
    found
}

#[test]
fn every_verb_has_its_row() {
    let rows: Vec<_> = rows("## Verbs").iter().map(|row| row.name).collect();
    let verbs: Vec<_> = Verb::ALL.iter().map(|verb| verb.name()).collect();
    assert_eq!(
        rows.iter().collect::<BTreeSet<_>>(),
        verbs.iter().collect::<BTreeSet<_>>()
    );
    assert_eq!(rows.len(), verbs.len(), "a verb has two rows");
}

#[test]
fn every_line_of_feat_has_its_row() {
    let tls = ["AUTH TLS", "CCC", "PBSZ", "PROT"];
    let mut wire = Vec::new();
    help::features("", Algorithm::default(), &tls, true).encode(&mut wire);
    let lines: BTreeSet<String> = String::from_utf8(wire)
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix(' '))
        .map(|line| match line.split_once(' ') {
            // Whose rest changes with OPTS.
            Some((name @ ("MLST" | "HASH"), _)) => name.to_owned(),
            _ => line.to_owned(),
        })
        .collect();
    let rows = rows("## FEAT");
    let rows: BTreeSet<String> = rows.iter().map(|row| row.name.to_owned()).collect();
    assert_eq!(rows, lines);
}

#[test]
fn every_test_that_is_named_is_there() {
    let tests = tests();
    assert!(tests.contains("conformance::every_test_that_is_named_is_there"));
    for row in ["## Verbs", "## FEAT", "## Behaviour"]
        .into_iter()
        .flat_map(rows)
    {
        assert!(!row.tests.is_empty());
        for test in row.tests {
            assert!(tests.contains(test), "{}: no test {test}", row.name);
        }
    }
}
