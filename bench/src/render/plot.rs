//! A group of rows as bars with their spread, in SVG.

use anyhow::{Result, anyhow};
use plotters::{
    coord::{
        Shift,
        ranged1d::{AsRangedCoord, ValueFormatter},
    },
    prelude::*,
};

use super::Group;
use crate::row::OURS;

const WIDTH: u32 = 860;
const BAR: u32 = 15;
const CASE: u32 = 24;
const MARGIN: u32 = 62;
/// Between the largest and the smallest value, from where on a linear axis shows only the largest.
const LOGARITHMIC: f64 = 30.0;

const OUR_COLOR: RGBColor = RGBColor(0, 114, 178);
const OTHERS_COLOR: RGBColor = RGBColor(170, 170, 170);
const INK: RGBColor = RGBColor(40, 40, 40);

/// One line of the plot, from the top.
enum Line<'a> {
    Case(&'a str),
    Bar {
        subject: &'a str,
        median: f64,
        low: f64,
        high: f64,
    },
}

/// The plot as a whole SVG document.
pub(crate) fn svg(group: &Group<'_>) -> Result<String> {
    let lines = lines(group);
    let height: u32 = MARGIN + lines.iter().map(Line::height).sum::<u32>();
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        draw(&area, group, &lines, height).map_err(|error| anyhow!("cannot plot: {error}"))?;
    }
    Ok(text)
}

impl Line<'_> {
    fn height(&self) -> u32 {
        match self {
            Self::Case(_) => CASE,
            Self::Bar { .. } => BAR,
        }
    }
}

fn lines<'a>(group: &Group<'a>) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    for case in group.cases() {
        lines.push(Line::Case(case));
        let rows = group.rows.iter().filter(|row| row.case == case);
        lines.extend(rows.map(|row| Line::Bar {
            subject: &row.subject,
            median: row.value.median,
            low: row.value.p10,
            high: row.value.p90,
        }));
    }
    lines
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

fn draw(area: &Area<'_>, group: &Group<'_>, lines: &[Line<'_>], height: u32) -> Drawn {
    area.fill(&WHITE)?;
    let values = || {
        group
            .rows
            .iter()
            .flat_map(|row| [row.value.median, row.value.p90])
    };
    let largest = values().fold(0.0, f64::max);
    let smallest = values()
        .filter(|value| *value > 0.0)
        .fold(f64::MAX, f64::min);
    let logarithmic = largest > smallest * LOGARITHMIC;
    let title = match logarithmic {
        true => format!("{}: {} (logarithmic)", group.scenario, group.title()),
        false => format!("{}: {}", group.scenario, group.title()),
    };
    match logarithmic {
        true => bars(
            area,
            &title,
            (smallest / 2.0..largest * 1.3).log_scale(),
            smallest / 2.0,
            lines,
            height,
        ),
        false => bars(
            area,
            &title,
            0.0..largest.max(f64::MIN_POSITIVE) * 1.05,
            0.0,
            lines,
            height,
        ),
    }
}

fn bars<X>(
    area: &Area<'_>,
    title: &str,
    x: X,
    origin: f64,
    lines: &[Line<'_>],
    height: u32,
) -> Drawn
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
{
    let total = height - MARGIN;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 15).into_font().color(&INK))
        .margin(8)
        .set_label_area_size(LabelAreaPosition::Bottom, 24)
        .set_label_area_size(LabelAreaPosition::Left, 200)
        .build_cartesian_2d(x, f64::from(total)..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_labels(8)
        .label_style(("sans-serif", 11).into_font().color(&INK))
        .light_line_style(WHITE)
        .draw()?;
    let mut top = 0.0;
    for line in lines {
        let height = f64::from(line.height());
        let (_, y) = chart.backend_coord(&(origin.max(f64::MIN_POSITIVE), top + height / 2.0));
        match line {
            Line::Case(name) => label(area, name, y + 4, 12, INK)?,
            Line::Bar {
                subject,
                median,
                low,
                high,
            } => {
                let ours = subject.starts_with(OURS);
                let color = if ours { OUR_COLOR } else { OTHERS_COLOR };
                let clamp = |value: f64| value.max(origin);
                let corners = [(origin, top + 2.0), (clamp(*median), top + height - 2.0)];
                chart.draw_series([Rectangle::new(corners, color.filled())])?;
                let middle = top + height / 2.0;
                let spread = vec![(clamp(*low), middle), (clamp(*high), middle)];
                chart.draw_series([PathElement::new(spread, INK.stroke_width(1))])?;
                label(area, &format!("    {subject}"), y, 11, INK)?;
            }
        }
        top += height;
    }
    Ok(())
}

fn label(area: &Area<'_>, text: &str, y: i32, size: i32, color: RGBColor) -> Drawn {
    let indent = 12 + 10 * i32::from(text.starts_with(' '));
    let style = ("sans-serif", size).into_font().color(&color);
    area.draw(&Text::new(
        text.trim().to_owned(),
        (indent, y - size / 2),
        style,
    ))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::testing, *};

    #[test]
    fn every_subject_and_case_is_in_the_plot() {
        let report = testing::report();
        let svg = svg(&Group::all(&report)[0]).unwrap();
        assert!(svg.starts_with("<svg"), "{svg}");
        for word in ["pinhole", "vsftpd", "STOR", "rate, MB/s", "logarithmic"] {
            assert!(svg.contains(word), "{word} is missing");
        }
        assert!(svg.contains("RETR &lt;1&gt;"), "names are not escaped");
    }
}
