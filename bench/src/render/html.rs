//! One page with everything in it: no script, no font, no picture from elsewhere.

use std::fmt::Write as _;

use anyhow::Result;

use super::{Group, distinct, goals, plot, table};
use crate::report::Report;

const STYLE: &str = "body{font:15px/1.45 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse;margin:1em 0;font-size:13px}td,th{border:1px solid #ccc;padding:.25em .6em;\
text-align:right}td:first-child,th{text-align:left}pre{white-space:pre-wrap;color:#555;font-size:13px}\
svg{max-width:100%;height:auto}";

/// The page's text.
pub(super) fn page(report: &Report, methods: &[(&str, &str)]) -> Result<String> {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Pinhole: benchmarks</title>\n\
         <style>{STYLE}</style>\n<h1>Pinhole side by side with what people use today</h1>\n\
         <p>{}</p>\n<p>Median (p10-p90) of the rounds; in bold, ours divided by theirs, round by round.</p>\n",
        escape(&report.machine.to_string()).replace('\n', "<br>")
    );
    page += &table_of(&goals::cells(report));
    let groups = Group::all(report);
    for scenario in distinct(groups.iter().map(|group| group.scenario)) {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(page, "<h2>{}</h2>", escape(scenario));
        if let Some((_, method)) = methods.iter().find(|(name, _)| *name == scenario) {
            let _ = writeln!(page, "<pre>{}</pre>", escape(method));
        }
        for group in groups.iter().filter(|group| group.scenario == scenario) {
            page += &plot::svg(group)?;
            page += &table_of(&table::cells(group));
        }
    }
    if !report.left_out.is_empty() {
        page += "<h2>Left out</h2>\n<ul>\n";
        for (what, reason) in &report.left_out {
            let _ = writeln!(page, "<li>{}: {}</li>", escape(what), escape(reason));
        }
        page += "</ul>\n";
    }
    page += "</html>\n";
    Ok(page)
}

fn table_of(cells: &[Vec<String>]) -> String {
    let mut text = "<table>\n".to_owned();
    for (number, line) in cells.iter().enumerate() {
        let tag = if number == 0 { "th" } else { "td" };
        let line: String = line
            .iter()
            .map(|cell| format!("<{tag}>{}</{tag}>", bold(&escape(cell))))
            .collect();
        let _ = writeln!(text, "<tr>{line}</tr>");
    }
    text + "</table>\n"
}

/// Markdown's bold, the only mark that cells have.
fn bold(cell: &str) -> String {
    let mut parts = cell.split("**");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for (number, part) in parts.enumerate() {
        text += if number % 2 == 0 { "<b>" } else { "</b>" };
        text += part;
    }
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::{super::testing, *};

    #[test]
    fn the_page_holds_all_and_refers_to_nothing() {
        let page = page(&testing::report(), &[("transfer", "how it is <done>")]).unwrap();
        for word in [
            "<svg",
            "<b>1.50</b>",
            "how it is &lt;done&gt;",
            "RETR &lt;1&gt;",
            "said 550",
        ] {
            assert!(page.contains(word), "{word} is missing");
        }
        for outside in ["<script", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside} is there");
        }
    }
}
