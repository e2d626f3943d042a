//! A row's result as SVG: bars to compare servers, lines where something grows.
//!
//! There is no background, and every colour has enough contrast to white and to near-black, so the same file suits
//! light and dark pages.

use std::collections::BTreeMap;

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::outcome::{Column, Outcome};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const WIDTH: u32 = 760;
const MARGIN: i32 = 12;
/// Where the bars start, to the right of the servers' names.
const LEFT: i32 = 160;
/// Space for the value after the longest bar.
const RIGHT: i32 = 190;
const BAR: i32 = 20;
const HEADING: i32 = 26;
const INK: RGBColor = RGBColor(125, 133, 144);

fn colour(server: &str) -> RGBColor {
    match server {
        "chat-server" => RGBColor(232, 89, 12),
        "limit-write" => RGBColor(120, 130, 140),
        "limit-batch" => RGBColor(148, 158, 168),
        "task-per-connection" => RGBColor(76, 110, 245),
        "socketioxide" => RGBColor(174, 62, 201),
        _ => RGBColor(47, 158, 68),
    }
}

/// All plots of `outcome`, each with its file name without the extension.
///
/// # Errors
/// If one cannot be drawn.
pub fn all(outcome: &Outcome) -> anyhow::Result<Vec<(String, String)>> {
    let mut plots = Vec::new();
    // Cases without a point on a line, and cases at one point of several lines, are compared as bars.
    let mut panels: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut axes: BTreeMap<&str, ()> = BTreeMap::new();
    for case in outcome.cases() {
        let at = outcome.samples.iter().find(|sample| sample.case == case).and_then(|sample| sample.at.as_ref());
        let name = at.map_or_else(|| outcome.row.clone(), |at| format!("{}-{}", outcome.row, at.value));
        axes.extend(at.map(|at| (&*at.axis, ())));
        if at.is_none() || outcome.servers().len() > 1 {
            panels.entry(name).or_default().push(case);
        }
    }
    for (name, cases) in panels {
        plots.push((name, bars(outcome, &cases)?));
    }
    let memory = outcome.columns.iter().find(|column| column.figure == "pss_mib");
    for axis in axes.into_keys() {
        let words: String = axis.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        for (column, suffix) in [(Some(&outcome.headline), ""), (memory, "-memory")] {
            let Some(column) = column else { continue };
            let name = format!("{}-by-{}{suffix}", outcome.row, words.replace("--", "-"));
            plots.extend(lines(outcome, axis, column)?.map(|svg| (name, svg)));
        }
    }
    Ok(plots)
}

/// The main figure of `cases`: a panel for each case, a bar for each server.
fn bars(outcome: &Outcome, cases: &[&str]) -> anyhow::Result<String> {
    let mut panels = Vec::new();
    for case in cases {
        let value = |server: &str| Some((server.to_owned(), outcome.spread(server, case, &outcome.headline.figure)?));
        let bars: Vec<_> = outcome.servers().into_iter().filter_map(value).collect();
        panels.push((*case, bars));
    }
    let height: i32 = panels.iter().map(|(_, bars)| HEADING + BAR * bars.len() as i32 + MARGIN).sum();
    draw(height + HEADING + MARGIN, |area| {
        text(area, &format!("{}: {}", outcome.title, outcome.headline.label), (MARGIN, MARGIN + 4), 15, HPos::Left)?;
        let mut top = HEADING + MARGIN;
        for (case, bars) in &panels {
            text(area, case, (MARGIN, top + HEADING / 2), 13, HPos::Left)?;
            top += HEADING;
            let longest = bars.iter().map(|(_, spread)| spread.median).fold(f64::MIN_POSITIVE, f64::max);
            let scale = f64::from(WIDTH as i32 - LEFT - RIGHT) / longest;
            for (server, spread) in bars {
                let (middle, end) = (top + BAR / 2, LEFT + (spread.median.max(0.0) * scale).round() as i32);
                text(area, server, (LEFT - 8, middle), 12, HPos::Right)?;
                let bar =
                    Rectangle::new([(LEFT, top + 3), (end.max(LEFT + 1), top + BAR - 3)], colour(server).filled());
                area.draw(&bar).map_err(failed)?;
                text(area, &spread.show(outcome.headline.digits), (end + 8, middle), 12, HPos::Left)?;
                top += BAR;
            }
            top += MARGIN;
        }
        Ok(())
    })
}

/// A figure over `axis`, a line for each server; `None` if no server has two points on it.
fn lines(outcome: &Outcome, axis: &str, column: &Column) -> anyhow::Result<Option<String>> {
    let mut lines: Vec<(&str, Vec<(f64, f64)>)> = Vec::new();
    for server in outcome.servers() {
        let mut points = Vec::new();
        for case in outcome.cases() {
            let at = outcome.samples.iter().find(|sample| sample.case == case).and_then(|sample| sample.at.as_ref());
            let Some(at) = at.filter(|at| at.axis == axis) else { continue };
            points.extend(outcome.spread(server, case, &column.figure).map(|spread| (at.value, spread.median)));
        }
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        if points.len() > 1 {
            lines.push((server, points));
        }
    }
    let all = || lines.iter().flat_map(|(_, points)| points);
    let bounds = |of: fn(&(f64, f64)) -> f64| {
        let low = all().map(of).fold(f64::INFINITY, f64::min);
        (low, all().map(of).fold(low, f64::max))
    };
    let ((left, right), (bottom, top)) = (bounds(|point| point.0), bounds(|point| point.1));
    // Both axes are logarithmic: sizes and costs span powers of ten.
    if lines.is_empty() || left <= 0.0 || bottom <= 0.0 {
        return Ok(None);
    }
    let title = format!("{}: {} by {axis}", outcome.title, column.label);
    let svg = draw(360, |area| {
        text(area, &title, (MARGIN, MARGIN + 4), 15, HPos::Left)?;
        let area = area.margin(HEADING + MARGIN, MARGIN, MARGIN, 150);
        let mut chart = ChartBuilder::on(&area)
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d((left * 0.9..right * 1.1).log_scale(), (bottom * 0.7..top * 1.4).log_scale())
            .map_err(failed)?;
        let style = ("sans-serif", 12).into_font().color(&INK);
        chart
            .configure_mesh()
            .axis_style(INK)
            .bold_line_style(INK.mix(0.25))
            .light_line_style(INK.mix(0.08))
            .label_style(style)
            .x_labels(6)
            .y_labels(6)
            .x_desc(axis)
            .y_desc(&*column.label)
            .x_label_formatter(&|value| format!("{value}"))
            .y_label_formatter(&|value| format!("{value}"))
            .draw()
            .map_err(failed)?;
        let mut labelled = i32::MAX;
        lines.sort_by(|(_, a), (_, b)| {
            a.last().map(|p| p.1).partial_cmp(&b.last().map(|p| p.1)).unwrap_or(std::cmp::Ordering::Equal)
        });
        for (server, points) in &lines {
            let colour = colour(server);
            chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2))).map_err(failed)?;
            let dots = points.iter().map(|point| Circle::new(*point, 3, colour.filled()));
            chart.draw_series(dots).map_err(failed)?;
            let Some(end) = points.last() else { continue };
            let (x, y) = chart.backend_coord(end);
            // From the lowest upwards, each label above the last, however close the lines end.
            labelled = y.min(labelled.saturating_sub(15));
            let style = ("sans-serif", 12).into_font().color(&colour).pos(Pos::new(HPos::Left, VPos::Center));
            let (left, top) = area.get_base_pixel();
            area.draw(&Text::new(*server, (x - left + 10, labelled - top), style)).map_err(failed)?;
        }
        Ok(())
    })?;
    Ok(Some(svg))
}

fn draw(height: i32, content: impl FnOnce(&Area<'_>) -> anyhow::Result<()>) -> anyhow::Result<String> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH, u32::try_from(height)?)).into_drawing_area();
    content(&area)?;
    area.present().map_err(failed)?;
    drop(area);
    Ok(svg)
}

fn text(area: &Area<'_>, text: &str, at: (i32, i32), size: i32, side: HPos) -> anyhow::Result<()> {
    let style = ("sans-serif", size).into_font().color(&INK).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style)).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::outcome;

    #[test]
    fn servers_are_bars_and_sizes_are_lines() {
        let mut outcome = outcome();
        let names = |outcome: &Outcome| all(outcome).unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        // One point does not make a line.
        assert_eq!(names(&outcome), ["fanout-10"]);
        let first = outcome.samples[..2].to_vec();
        for (value, case) in [(100.0, "more"), (1000.0, "most")] {
            for mut sample in first.clone() {
                sample.case = case.into();
                if let Some(at) = &mut sample.at {
                    at.value = value;
                }
                outcome.samples.push(sample);
            }
        }
        assert_eq!(names(&outcome), ["fanout-10", "fanout-100", "fanout-1000", "fanout-by-members"]);
        for sample in &mut outcome.samples {
            sample.at = None;
        }
        assert_eq!(names(&outcome), ["fanout"]);
        let (_, svg) = &all(&outcome).unwrap()[0];
        for shown in ["<svg", "saturated", "more", "chat-server", "2.5 (1.0-4.0)"] {
            assert!(svg.contains(shown), "{shown}");
        }
    }
}
