//! Draws a contradiction: panels side by side, published ratios in the margin of each.

use super::{Claim, CrossingRow, PanelSpec, RatioRow, Spec};
use crate::axis::Axis;
use crate::canvas::{Align, Canvas, Rect, Stroke, draw};
use crate::font;
use crate::legend::{Key, Legend};
use crate::panel::{Labels, Panel, TICK_ROW, TITLE_ROW, left_margin};
use crate::theme::{Dash, INK, LINE, MARKER, PAGE, Rgb, SOFT, Style, series_styles};

/// Height of a panel \[pt\].
const DEPTH: f64 = 150.0;
/// Room of one published ratio beside a panel \[pt\].
const CLAIM: f64 = 15.0;
/// Size of notes in a panel \[pt\].
const NOTE: f64 = 7.0;
/// Room that the y axis leaves beyond the data: a factor.
const AIR: f64 = 1.15;

/// The SVG of the table.
pub(super) fn svg(spec: &Spec, rows: &[RatioRow], crossings: &[CrossingRow]) -> String {
    let styles = series_styles(spec.series.len());
    let mut entries: Vec<(Key, String)> = spec
        .series
        .iter()
        .zip(&styles)
        .map(|(series, style)| (Key::Policy(*style), series.label.to_owned()))
        .collect();
    if !crossings.is_empty() {
        let key = Key::Line(Stroke::solid(INK, 3.0));
        entries.push((key, "crossing, 95 % interval".to_owned()));
    }
    let legend = Legend::new(entries, PAGE - 8.0);
    let axes: Vec<(Axis, Axis)> = spec
        .panels
        .iter()
        .map(|panel| (x_axis(panel, rows), y_axis(panel, rows)))
        .collect();
    let label_width = axes
        .iter()
        .map(|(_, y)| y.label_width())
        .fold(0.0, f64::max);
    let left = left_margin(label_width) + 2.0;
    let margins: f64 = spec.panels.iter().map(|p| margin(p.claims)).sum();
    let count = spec.panels.len() as f64;
    let width = (PAGE - count * (left + 6.0) - margins) / count;
    let top = legend.height() + 16.0;
    let height = top + DEPTH + TICK_ROW + TITLE_ROW + 3.0;

    draw(PAGE, height, |canvas| {
        legend.draw(canvas, 2.0, PAGE - 2.0, 2.0);
        let mut start = left;
        for (panel_spec, (x, y)) in spec.panels.iter().zip(axes) {
            let rect = Rect {
                left: start,
                top,
                right: start + width,
                bottom: top + DEPTH,
            };
            let panel = Panel { rect, x, y };
            let own = of_panel(panel_spec, rows);
            panel.grid(canvas, false);
            for (series, style) in spec.series.iter().zip(&styles) {
                band(canvas, &panel, &of_policy(&own, series.policy), *style);
            }
            one(canvas, &panel);
            room(canvas, &panel, &own);
            for (series, style) in spec.series.iter().zip(&styles) {
                line(canvas, &panel, &of_policy(&own, series.policy), *style);
            }
            for (series, style) in spec.series.iter().zip(&styles) {
                let own = crossings.iter().filter(|crossing| {
                    crossing.panel == panel_spec.folder
                        && crossing.metric == panel_spec.metric.title()
                        && crossing.policy == series.policy
                });
                for crossing in own {
                    flip(canvas, &panel, crossing, style.color);
                }
            }
            sides(canvas, &panel, panel_spec);
            let title = format!(
                "{} over {}",
                panel_spec.metric.title(),
                short(spec.reference)
            );
            let labels = Labels {
                x: Some(panel_spec.x_title),
                y: Some(&title),
                ..Labels::default()
            };
            panel.frame(canvas, labels, label_width);
            for (index, claim) in panel_spec.claims.iter().enumerate() {
                published(canvas, &panel, claim, index);
            }
            if !panel_spec.claims.is_empty() {
                let right = panel.rect.right + margin(panel_spec.claims) + 4.0;
                canvas.text("published", (right, top - 4.0), Align::Right, NOTE, SOFT);
            }
            start += width + left + 6.0 + margin(panel_spec.claims);
        }
    })
}

fn margin(claims: &[Claim]) -> f64 {
    claims.len() as f64 * CLAIM
}

/// How the axis title names what everything is divided by.
fn short(reference: &str) -> &str {
    match reference {
        "vllm-recompute" => "vLLM's",
        "thunderagent-release" => "ThunderAgent's",
        other => other,
    }
}

fn of_panel<'a>(panel: &PanelSpec, rows: &'a [RatioRow]) -> Vec<&'a RatioRow> {
    let own = |row: &&RatioRow| row.panel == panel.folder && row.metric == panel.metric.title();
    rows.iter().filter(own).collect()
}

fn of_policy<'a>(rows: &[&'a RatioRow], policy: &str) -> Vec<&'a RatioRow> {
    let own = rows.iter().copied();
    own.filter(|row| row.policy == policy).collect()
}

fn x_axis(panel: &PanelSpec, rows: &[RatioRow]) -> Axis {
    let mut values: Vec<f64> = of_panel(panel, rows).iter().map(|row| row.x).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    let (low, high) = match values[..] {
        [] => (1.0, 10.0),
        [first, ..] => (first, values[values.len() - 1].max(first * 1.1)),
    };
    let edge = (high / low).powf(0.04);
    Axis::log_range(low / edge, high * edge).with_ticks(&values)
}

fn y_axis(panel: &PanelSpec, rows: &[RatioRow]) -> Axis {
    let own = of_panel(panel, rows);
    let drawn = own
        .iter()
        .flat_map(|row| [row.low.unwrap_or(row.ratio), row.high.unwrap_or(row.ratio)]);
    let published = panel
        .claims
        .iter()
        .flat_map(|claim| [claim.low, claim.high]);
    let (low, high) = drawn
        .chain(published)
        .chain([1.0])
        .filter(|v| *v > 0.0 && v.is_finite())
        .fold((1.0_f64, 1.0_f64), |(low, high), v| {
            (low.min(v), high.max(v))
        });
    let (low, high) = (low / AIR, high * AIR);
    let round: &[f64] = if high / low < 4.0 {
        &[0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0, 3.0]
    } else {
        &[0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0]
    };
    let ticks: Vec<f64> = round
        .iter()
        .copied()
        .filter(|v| (low..=high).contains(v))
        .collect();
    Axis::log_range(low, high).with_ticks(&ticks)
}

/// The line at which neither is ahead.
fn one(canvas: &mut Canvas<'_>, panel: &Panel) {
    let (low, high) = panel.x.range();
    panel.line(canvas, &[(low, 1.0), (high, 1.0)], Stroke::solid(INK, 0.8));
}

/// Where the KV of all live sessions would just fit into HBM and host memory, if that lies in the panel.
fn room(canvas: &mut Canvas<'_>, panel: &Panel, rows: &[&RatioRow]) {
    let mut points: Vec<(f64, f64)> = rows.iter().map(|row| (row.x, row.demand_both)).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points.dedup_by(|a, b| a.0.total_cmp(&b.0).is_eq());
    let Some(x) = full_at(&points) else { return };
    let at = panel.x_at(x);
    let Rect { top, bottom, .. } = panel.rect;
    let stroke = Stroke {
        color: SOFT,
        width: 0.9,
        dash: Dash(&[1.2, 1.6]),
    };
    // Clear of the notes in the corners.
    canvas.line(&[(at, top + 10.0), (at, bottom - 12.0)], stroke);
    canvas.text("all KV fits", (at, top - 4.0), Align::Center, NOTE, SOFT);
}

/// Where a demand crosses 1, on a straight line in both logarithms.
fn full_at(points: &[(f64, f64)]) -> Option<f64> {
    points.windows(2).find_map(|pair| {
        let [(x0, d0), (x1, d1)] = [pair[0], pair[1]];
        let [l0, l1] = [d0.ln(), d1.ln()];
        let crosses = l0.is_finite() && l1.is_finite() && (l0 > 0.0) != (l1 > 0.0);
        crosses.then(|| (x0.ln() + (x1 / x0).ln() * l0 / (l0 - l1)).exp())
    })
}

fn band(canvas: &mut Canvas<'_>, panel: &Panel, rows: &[&RatioRow], style: Style) {
    let edge = |row: &&RatioRow| Some((row.x, row.low?, row.high?));
    let points: Vec<_> = rows.iter().filter_map(edge).collect();
    if points.len() > 1 {
        panel.band(canvas, &points, style.color.pale(0.18));
        let edge = Stroke::solid(style.color.pale(0.45), 0.4);
        for low in [true, false] {
            let end = |&(x, l, h): &(f64, f64, f64)| (x, if low { l } else { h });
            panel.line(canvas, &points.iter().map(end).collect::<Vec<_>>(), edge);
        }
    }
}

fn line(canvas: &mut Canvas<'_>, panel: &Panel, rows: &[&RatioRow], style: Style) {
    let points: Vec<(f64, f64)> = rows.iter().map(|row| (row.x, row.ratio)).collect();
    let stroke = Stroke {
        color: style.color,
        width: LINE,
        dash: style.dash,
    };
    panel.line(canvas, &points, stroke);
    for (x, y) in points {
        canvas.marker(panel.at(x, y), style.marker, MARKER, style.color, false);
    }
}

/// A crossing: its interval as a bar on the line at 1, and where it is.
fn flip(canvas: &mut Canvas<'_>, panel: &Panel, crossing: &CrossingRow, color: Rgb) {
    let ends = [(crossing.low, 1.0), (crossing.high, 1.0)];
    panel.line(canvas, &ends, Stroke::solid(color, 3.0));
    let (x, y) = panel.at(crossing.x, 1.0);
    canvas.line(&[(x, y - 4.5), (x, y + 4.5)], Stroke::solid(color, 1.4));
}

/// Who is ahead above and below the line at 1.
fn sides(canvas: &mut Canvas<'_>, panel: &Panel, spec: &PanelSpec) {
    let Rect {
        left, top, bottom, ..
    } = panel.rect;
    canvas.text(spec.above, (left + 5.0, top + 4.0), Align::Left, NOTE, SOFT);
    canvas.text(
        spec.below,
        (left + 5.0, bottom - 6.0),
        Align::Left,
        NOTE,
        SOFT,
    );
}

/// A published range beside the panel, with its source.
fn published(canvas: &mut Canvas<'_>, panel: &Panel, claim: &Claim, index: usize) {
    let x = panel.rect.right + 5.0 + index as f64 * CLAIM;
    let (top, bottom) = (panel.y_at(claim.high), panel.y_at(claim.low));
    canvas.line(&[(x, top), (x, bottom)], Stroke::solid(INK, 1.6));
    for y in [top, bottom] {
        canvas.line(&[(x - 2.5, y), (x + 2.5, y)], Stroke::solid(INK, 1.2));
    }
    let half = font::width(claim.source, NOTE) / 2.0;
    let Rect { top, bottom, .. } = panel.rect;
    let y = (panel.y_at((claim.low * claim.high).sqrt())).clamp(top + half, bottom - half);
    canvas.text_upwards(claim.source, (x + NOTE * 0.85, y), NOTE, SOFT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_full_where_the_demand_is_one() {
        // From 1/2 at 10 to 2 at 40: half-way in both logarithms, at 20.
        let at = full_at(&[(10.0, 0.5), (40.0, 2.0), (80.0, 4.0)]).unwrap();
        assert!((at - 20.0).abs() < 1e-9);
        assert_eq!(full_at(&[(10.0, 2.0), (40.0, 3.0)]), None);
        assert_eq!(full_at(&[(10.0, 0.0), (40.0, 2.0)]), None);
    }
}
