//! The curve of a run as an SVG: events a second above, latencies below, over one axis of time.
//!
//! Owns its layout. Must not measure.

use std::path::{Path, PathBuf};

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::report::{Latency, Report, millis, shown};

/// Width and height, in pixels.
const SIZE: (u32, u32) = (960, 640);
/// The colours of the three latencies: distinct for the colour-blind, too (Okabe and Ito).
const CURVES: [(&str, RGBColor); 3] =
    [("p99", RGBColor(213, 94, 0)), ("p90", RGBColor(230, 159, 0)), ("p50", RGBColor(0, 114, 178))];
const EVENTS: RGBColor = RGBColor(0, 158, 115);
const INK: RGBColor = RGBColor(60, 60, 60);
const FONT: &str = "sans-serif";

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[error("--svg {path:?}: {reason}; choose a file that can be written")]
pub(crate) struct PlotError {
    path: PathBuf,
    reason: String,
}

type Area<'b> = DrawingArea<SVGBackend<'b>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// Draws a run into a file.
pub(crate) fn draw(path: &Path, report: &Report) -> Result<(), PlotError> {
    let failed = |reason: String| PlotError { path: path.to_owned(), reason };
    let mut text = String::new();
    picture(&mut text, report).map_err(|error| failed(error.to_string()))?;
    std::fs::write(path, text).map_err(|error| failed(error.to_string()))
}

fn picture(text: &mut String, report: &Report) -> Drawn {
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (head, body) = root.split_vertically(64);
    heading(&head, report)?;
    let (upper, lower) = body.split_evenly((2, 1)).into_iter().fold((None, None), |pair, area| match pair {
        (None, _) => (Some(area), None),
        (upper, _) => (upper, Some(area)),
    });
    let end = report.slices.last().map_or(1.0, |slice| slice.seconds).max(0.1);
    if let Some(area) = upper {
        events(&area, report, end)?;
    }
    if let Some(area) = lower {
        latencies(&area, report, end)?;
    }
    root.present()
}

fn heading(area: &Area<'_>, report: &Report) -> Drawn {
    let title = (FONT, 20).into_font().color(&INK);
    let small = (FONT, 14).into_font().color(&INK);
    let agents = format!("{} agents", shown(report.agents as f64).trim_end_matches(".0"));
    area.draw_text(&format!("mock-brain load: {agents} at {}", report.url), &title, (20, 14))?;
    let rate = shown(report.events_per_second);
    let told = report.ack_latency.map_or_else(String::new, |Latency { p50, p99, max, .. }| {
        format!(", ack p50 {}, p99 {}, max {}", millis(p50), millis(p99), millis(max))
    });
    area.draw_text(&format!("{rate} events/s acknowledged{told}"), &small, (20, 42))
}

fn events(area: &Area<'_>, report: &Report, end: f64) -> Drawn {
    let most = report.slices.iter().map(|slice| slice.events_per_second).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .x_label_area_size(24)
        .y_label_area_size(84)
        .build_cartesian_2d(0.0..end, 0.0..most * 1.1)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(INK.mix(0.15))
        .axis_style(INK)
        .label_style((FONT, 13).into_font().color(&INK))
        .axis_desc_style((FONT, 14).into_font().color(&INK))
        .y_desc("events/s acknowledged")
        .y_label_formatter(&|rate| shown(*rate).trim_end_matches(".0").to_owned())
        .x_labels(11)
        .x_label_formatter(&|seconds| round(*seconds).to_string())
        .y_labels(6)
        .draw()?;
    let points: Vec<_> = report.slices.iter().map(|slice| (slice.seconds, slice.events_per_second)).collect();
    let style = ShapeStyle { stroke_width: 2, ..EVENTS.to_rgba().into() };
    chart.draw_series(LineSeries::new(points, style))?;
    Ok(())
}

fn latencies(area: &Area<'_>, report: &Report, end: f64) -> Drawn {
    let (names, area) = area.split_vertically(12);
    let all = || report.slices.iter().filter_map(|slice| slice.latency);
    let low = all().map(|latency| latency.p50).min().unwrap_or(1_000) as f64;
    let high = all().map(|latency| latency.p99).max().unwrap_or(1_000) as f64;
    // Microseconds, from power to power of ten, one at least.
    let (low, high) = (10_f64.powf(low.log10().floor()), 10_f64.powf((high * 1.01).log10().ceil()));
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(84)
        .build_cartesian_2d(0.0..end, (low..high.max(low * 10.0)).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(INK.mix(0.06))
        .bold_line_style(INK.mix(0.15))
        .axis_style(INK)
        .label_style((FONT, 13).into_font().color(&INK))
        .axis_desc_style((FONT, 14).into_font().color(&INK))
        .x_desc("seconds since the first batch")
        .y_desc("ack latency (log scale)")
        .y_label_formatter(&|latency| tick(*latency))
        .x_labels(11)
        .x_label_formatter(&|seconds| round(*seconds).to_string())
        .draw()?;
    for (index, (name, colour)) in CURVES.into_iter().enumerate() {
        let points = report.slices.iter().filter_map(|slice| {
            let Latency { p50, p90, p99, .. } = slice.latency?;
            Some((slice.seconds, [p99, p90, p50][index] as f64))
        });
        let style = ShapeStyle { stroke_width: 2, ..colour.to_rgba().into() };
        chart.draw_series(LineSeries::new(points, style))?;
        legend(&names, index, name, style)?;
    }
    Ok(())
}

/// A curve's name, the so-manieth from the left.
fn legend(area: &Area<'_>, index: usize, name: &str, style: ShapeStyle) -> Drawn {
    let (x, y) = (i32::try_from(100 + index * 64).unwrap_or_default(), 14);
    area.draw(&PathElement::new([(x, y), (x + 20, y)], style))?;
    area.draw_text(name, &(FONT, 13).into_font().color(&INK), (x + 26, y - 6))
}

/// A latency at the axis, from microseconds.
fn tick(latency: f64) -> String {
    if latency >= 1e6 {
        format!("{} s", round(latency / 1e6))
    } else {
        format!("{} ms", round(latency / 1e3))
    }
}

/// Without the digits that a power of ten picks up.
fn round(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::report::Slice;
    use super::*;

    fn report(slices: Vec<Slice>) -> Report {
        let none = BTreeMap::new;
        Report {
            url: "http://127.0.0.1:1/".to_owned(),
            agents: 2,
            wanted_events_per_second: None,
            batch: 1,
            duration_seconds: 1.0,
            connected: 2,
            connects_per_second: 2.0,
            connect_latency: None,
            sent: 1,
            acked: 1,
            accepted: 1,
            unacked: 0,
            events_per_second: 1.0,
            ack_latency: slices.first().and_then(|slice| slice.latency),
            heartbeats: 0,
            refused: none(),
            ended: none(),
            odd: none(),
            slices,
        }
    }

    #[test]
    fn a_picture_has_both_curves_and_their_units() {
        let latency = Some(Latency { p50: 900, p90: 2_000, p99: 40_000, max: 50_000 });
        let slice = |seconds| Slice { seconds, events_per_second: 1e5, agents: 2, latency };
        let mut text = String::new();
        picture(&mut text, &report(vec![slice(0.5), slice(1.0)])).unwrap();
        for part in
            ["events/s acknowledged", "seconds since the first batch", "100 ms", "0.1 ms", "p99", "polyline"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_run_in_which_nothing_came_is_drawn_too() {
        let mut text = String::new();
        picture(&mut text, &report(Vec::new())).unwrap();
        let slice = Slice { seconds: 0.0, events_per_second: 0.0, agents: 0, latency: None };
        picture(&mut text, &report(vec![slice])).unwrap();
    }
}
