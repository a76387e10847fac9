//! Figure: what one run did to the memories and the link over time.
//!
//! Runs:   each run below the folder that kept `samples.csv`
//! Output: `timeline.{svg,pdf,png}`, `timeline.csv`; with several such runs `timeline_<run>...`
//! Shows:  HBM by use against its capacity, the host pool, the share of time each direction of the link
//!         was busy, and the turns that run and queue; means over intervals of equal length
//!
//! Between two samples levels are taken as constant (what the first says) and the counters of busy time
//! as growing evenly.

use crate::FigureError;
use crate::axis::Axis;
use crate::canvas::{Canvas, Rect, Stroke, draw};
use crate::legend::{Key, Legend};
use crate::panel::{Labels, Panel, TICK_ROW, TITLE_ROW, left_margin};
use crate::render::write_with_table;
use crate::runs;
use crate::theme::{Dash, PAGE, Rgb};
use results::folder::{RunFolder, SAMPLES, find_stored};
use results::manifest::Manifest;
use results::rows::SampleRow;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Name of the figure and stem of its files.
pub const NAME: &str = "timeline";
/// What it is made from.
pub const NEEDS: &str = "a run folder with `samples.csv`";

/// Makes the figure of every run at or below `folder` that kept samples.
///
/// # Errors
/// If no run did, one has no sample in its file, or a file cannot be read or written.
pub fn make(folder: &Path, out: &Path) -> Result<Vec<PathBuf>, FigureError> {
    let mut paths = runs::find(folder)?;
    paths.retain(|path| find_stored(path, SAMPLES).is_some());
    if paths.is_empty() {
        let remedy = "repeat one run with `--samples`";
        return Err(FigureError::Missing {
            figure: NAME,
            needs: NEEDS,
            folder: folder.into(),
            remedy,
        });
    }
    let mut files = Vec::new();
    for path in &paths {
        let run = RunFolder::open(path)?;
        let samples = run.samples()?.collect::<Result<Vec<_>, _>>()?;
        let rows = table(&samples, INTERVALS);
        if rows.is_empty() {
            let path = run.file(SAMPLES);
            return Err(FigureError::Empty {
                figure: NAME,
                why: "there is no sample",
                path,
            });
        }
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let stem = runs::stem(NAME, if paths.len() > 1 { &name } else { "" });
        let Manifest { model, spec, .. } = run.manifest();
        let block_bytes = model.kv_token_bytes * u64::from(spec.memory.block_tokens);
        files.extend(write_with_table(
            out,
            &stem,
            &svg(&rows, block_bytes),
            &rows,
        )?);
    }
    Ok(files)
}

/// Intervals of the table.
pub const INTERVALS: u64 = 240;

/// Means over one interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IntervalRow {
    /// Start of the interval \[ns\].
    pub start_ns: u64,
    /// Its end \[ns\].
    pub end_ns: u64,
    /// Blocks of HBM held by running turns.
    pub hbm_running_blocks: f64,
    /// Blocks of HBM held for idle sessions.
    pub hbm_idle_blocks: f64,
    /// Free blocks of HBM that still hold content.
    pub hbm_cached_blocks: f64,
    /// Usable blocks of HBM.
    pub hbm_capacity_blocks: f64,
    /// Blocks of the host pool in use.
    pub host_used_blocks: f64,
    /// Usable blocks of the host pool.
    pub host_capacity_blocks: f64,
    /// Running turns.
    pub running: f64,
    /// Ready turns that do not run.
    pub queued: f64,
    /// Share of the interval in which the D2H lane was busy, 0 to 1.
    pub d2h_busy: f64,
    /// Share of the interval in which the H2D lane was busy, 0 to 1.
    pub h2d_busy: f64,
}

/// The table behind the figure: `intervals` of equal length from the first sample to the last, fewer if
/// the run is shorter than so many nanoseconds. Samples must be in order of time. Empty for no samples;
/// a single sample is taken to hold for a second.
///
/// # Panics
/// If `intervals` is zero.
pub fn table(samples: &[SampleRow], intervals: u64) -> Vec<IntervalRow> {
    assert!(intervals > 0, "a timeline of no intervals");
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
        return Vec::new();
    };
    let start = first.time_ns;
    let span = if last.time_ns > start {
        last.time_ns - start
    } else {
        1_000_000_000
    };
    let count = intervals.min(span);
    let edge = |i: u64| start + (u128::from(span) * u128::from(i) / u128::from(count)) as u64;
    let mut at = 0;
    (0..count)
        .map(|i| {
            let (from, to) = (edge(i), edge(i + 1));
            while at + 1 < samples.len() && samples[at + 1].time_ns <= from {
                at += 1;
            }
            interval(&samples[at..], from, to)
        })
        .collect()
}

/// Means over `from..to` of samples of which the first is in force at `from`.
fn interval(samples: &[SampleRow], from: u64, to: u64) -> IntervalRow {
    let length = (to - from) as f64;
    let mut row = IntervalRow {
        start_ns: from,
        end_ns: to,
        hbm_running_blocks: 0.0,
        hbm_idle_blocks: 0.0,
        hbm_cached_blocks: 0.0,
        hbm_capacity_blocks: 0.0,
        host_used_blocks: 0.0,
        host_capacity_blocks: 0.0,
        running: 0.0,
        queued: 0.0,
        d2h_busy: 0.0,
        h2d_busy: 0.0,
    };
    for (index, sample) in samples.iter().enumerate() {
        let next = samples.get(index + 1);
        let (begin, end) = (
            sample.time_ns.max(from),
            next.map_or(to, |n| n.time_ns.min(to)),
        );
        if begin >= to {
            break;
        }
        let held = end.saturating_sub(begin) as f64;
        let share = held / length;
        row.hbm_running_blocks += share * f64::from(sample.hbm_running_blocks);
        row.hbm_idle_blocks += share * f64::from(sample.hbm_idle_blocks);
        row.hbm_cached_blocks += share * f64::from(sample.hbm_cached_blocks);
        row.hbm_capacity_blocks += share * f64::from(sample.hbm_capacity_blocks);
        row.host_used_blocks += share * f64::from(sample.host_used_blocks);
        row.host_capacity_blocks += share * f64::from(sample.host_capacity_blocks);
        row.running += share * f64::from(sample.running);
        row.queued += share * f64::from(sample.queued);
        if let Some(next) = next.filter(|next| next.time_ns > sample.time_ns) {
            let between = (next.time_ns - sample.time_ns) as f64;
            let busy =
                |before: u64, after: u64| after.saturating_sub(before) as f64 / between * share;
            row.d2h_busy += busy(sample.d2h_busy_ns, next.d2h_busy_ns);
            row.h2d_busy += busy(sample.h2d_busy_ns, next.h2d_busy_ns);
        }
    }
    row
}

const RUNNING: Rgb = Rgb::BLUE;
const IDLE: Rgb = Rgb::ORANGE;
const CACHED: Rgb = Rgb(200, 222, 235);
const HOST: Rgb = Rgb::GREEN;
const CAPACITY: Stroke = Stroke {
    color: Rgb::BLACK,
    width: 0.9,
    dash: Dash(&[4.0, 2.0]),
};
const D2H: Stroke = Stroke {
    color: Rgb::VERMILION,
    width: 1.0,
    dash: Dash::SOLID,
};
const H2D: Stroke = Stroke {
    color: Rgb::BLUE,
    width: 1.0,
    dash: Dash(&[3.0, 1.4]),
};
const QUEUED: Stroke = Stroke {
    color: Rgb::VERMILION,
    width: 1.0,
    dash: Dash(&[3.0, 1.4]),
};
const RUN: Stroke = Stroke {
    color: Rgb::BLUE,
    width: 1.0,
    dash: Dash::SOLID,
};

type Level = fn(&IntervalRow) -> f64;

/// One stacked panel: what it shows, in which order.
struct Strip {
    title: &'static str,
    depth: f64,
    areas: Vec<(&'static str, Rgb, Level)>,
    lines: Vec<(&'static str, Stroke, Level)>,
    /// From the unit of the table to that of the axis.
    scale: f64,
    /// End of the axis, where it is not the data's.
    full: Option<f64>,
}

/// Draws the table; the SVG. `block_bytes` are the bytes of one KV block.
pub fn svg(rows: &[IntervalRow], block_bytes: u64) -> String {
    let gib = block_bytes as f64 / f64::from(1 << 30);
    let mut strips = vec![Strip {
        title: "HBM [GiB]",
        depth: 74.0,
        areas: vec![
            ("running turns", RUNNING, |r| r.hbm_running_blocks),
            ("held for idle", IDLE, |r| r.hbm_idle_blocks),
            ("cached", CACHED, |r| r.hbm_cached_blocks),
        ],
        lines: vec![("capacity", CAPACITY, |r| r.hbm_capacity_blocks)],
        scale: gib,
        full: None,
    }];
    if rows.iter().any(|r| r.host_capacity_blocks > 0.0) {
        strips.push(Strip {
            title: "host [GiB]",
            depth: 46.0,
            areas: vec![("in use", HOST, |r| r.host_used_blocks)],
            lines: vec![("capacity", CAPACITY, |r| r.host_capacity_blocks)],
            scale: gib,
            full: None,
        });
    }
    strips.push(Strip {
        title: "link busy [%]",
        depth: 46.0,
        areas: Vec::new(),
        lines: vec![("D2H", D2H, |r| r.d2h_busy), ("H2D", H2D, |r| r.h2d_busy)],
        scale: 100.0,
        full: Some(100.0),
    });
    strips.push(Strip {
        title: "turns",
        depth: 46.0,
        areas: Vec::new(),
        lines: vec![
            ("running", RUN, |r| r.running),
            ("queued", QUEUED, |r| r.queued),
        ],
        scale: 1.0,
        full: None,
    });
    draw_strips(&strips, rows)
}

fn draw_strips(strips: &[Strip], rows: &[IntervalRow]) -> String {
    let start = rows.first().map_or(0.0, |r| r.start_ns as f64 / 1e9);
    let end = rows.last().map_or(1.0, |r| r.end_ns as f64 / 1e9);
    let x = Axis::linear(start, end, 8);
    let axes: Vec<Axis> = strips.iter().map(|strip| strip.axis(rows)).collect();
    let label_width = axes.iter().map(Axis::label_width).fold(0.0, f64::max);
    let legend_width = 92.0;
    let (left, right) = (left_margin(label_width) + 2.0, PAGE - legend_width - 8.0);
    let (top, between) = (6.0, 9.0);
    let depth: f64 = strips.iter().map(|strip| strip.depth + between).sum();
    let height = top + depth - between + TICK_ROW + TITLE_ROW + 3.0;

    draw(PAGE, height, |canvas| {
        let mut y = top;
        for (index, (strip, axis)) in strips.iter().zip(axes).enumerate() {
            let rect = Rect {
                left,
                top: y,
                right,
                bottom: y + strip.depth,
            };
            let panel = Panel {
                rect,
                x: x.clone(),
                y: axis,
            };
            panel.grid(canvas, true);
            strip.draw(canvas, &panel, rows);
            let is_last = index + 1 == strips.len();
            let title = is_last.then_some("time [s]");
            let labels = Labels {
                x: title,
                y: Some(strip.title),
                ..Labels::default()
            };
            panel.frame(canvas, labels, label_width);
            strip
                .legend(legend_width - 8.0)
                .draw(canvas, right + 8.0, right + 8.0, y);
            y += strip.depth + between;
        }
    })
}

impl Strip {
    fn axis(&self, rows: &[IntervalRow]) -> Axis {
        let count = (self.depth / 17.0) as usize;
        let stacked =
            |r: &IntervalRow| self.areas.iter().map(|(_, _, level)| level(r)).sum::<f64>();
        let highest = |r: &IntervalRow| {
            self.lines
                .iter()
                .map(|(_, _, l)| l(r))
                .fold(stacked(r), f64::max)
        };
        let most = rows.iter().map(highest).fold(0.0, f64::max) * self.scale;
        match self.full {
            Some(full) => Axis::linear(0.0, full, 2),
            None => Axis::from_zero(most, count),
        }
    }

    fn draw(&self, canvas: &mut Canvas<'_>, panel: &Panel, rows: &[IntervalRow]) {
        let mut base = vec![0.0; rows.len()];
        for (_, color, level) in &self.areas {
            let mut points = Vec::new();
            for (row, low) in rows.iter().zip(&mut base) {
                let high = *low + level(row) * self.scale;
                for edge in [row.start_ns, row.end_ns] {
                    points.push((edge as f64 / 1e9, *low, high));
                }
                *low = high;
            }
            panel.band(canvas, &points, *color);
        }
        for (_, stroke, level) in &self.lines {
            let steps = rows.iter().flat_map(|row| {
                let value = level(row) * self.scale;
                [row.start_ns, row.end_ns].map(|edge| (edge as f64 / 1e9, value))
            });
            panel.line(canvas, &steps.collect::<Vec<_>>(), *stroke);
        }
    }

    /// One entry below the other, top to bottom as on the page.
    fn legend(&self, width: f64) -> Legend {
        let areas = self
            .areas
            .iter()
            .rev()
            .map(|(name, color, _)| (Key::Area(*color, false), *name));
        let lines = self
            .lines
            .iter()
            .map(|(name, stroke, _)| (Key::Line(*stroke), *name));
        Legend::column(
            lines
                .chain(areas)
                .map(|(key, name)| (key, name.to_owned()))
                .collect(),
            width,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(time_ns: u64, running: u32, busy_ns: u64) -> SampleRow {
        SampleRow {
            time_ns,
            hbm_running_blocks: running,
            hbm_capacity_blocks: 100,
            d2h_busy_ns: busy_ns,
            ..SampleRow::default()
        }
    }

    #[test]
    fn an_interval_weighs_levels_by_how_long_they_held() {
        // 10 blocks for 30 ns, then 50 for 70 ns: (300 + 3,500) / 100 = 38.
        let rows = table(&[sample(0, 10, 0), sample(30, 50, 0), sample(100, 0, 0)], 1);
        assert_eq!(rows.len(), 1);
        assert!((rows[0].hbm_running_blocks - 38.0).abs() < 1e-9, "{rows:?}");
        assert!((rows[0].hbm_capacity_blocks - 100.0).abs() < 1e-9);
    }

    #[test]
    fn busy_time_is_spread_evenly_between_samples() {
        // Busy 60 of the first 100 ns and none of the next 100: 60 % and 60 %, then 0 and 0.
        let rows = table(
            &[sample(0, 0, 0), sample(100, 0, 60), sample(200, 0, 60)],
            4,
        );
        let shares: Vec<f64> = rows
            .iter()
            .map(|r| (r.d2h_busy * 1e6).round() / 1e6)
            .collect();
        assert_eq!(shares, [0.6, 0.6, 0.0, 0.0]);
    }

    #[test]
    fn intervals_tile_the_run_without_gaps() {
        let samples: Vec<SampleRow> = (0..1_000).map(|i| sample(7 + i * 13, 1, i)).collect();
        let rows = table(&samples, 240);
        assert_eq!(rows.len(), 240);
        assert_eq!((rows[0].start_ns, rows[239].end_ns), (7, 7 + 999 * 13));
        assert!(
            rows.windows(2)
                .all(|pair| pair[0].end_ns == pair[1].start_ns)
        );
        assert!(
            rows.iter()
                .all(|r| (r.hbm_running_blocks - 1.0).abs() < 1e-9)
        );
    }

    #[test]
    fn one_sample_holds_for_a_second_and_none_gives_no_rows() {
        let rows = table(&[sample(5, 3, 0)], 2);
        assert_eq!((rows.len(), rows[1].end_ns), (2, 1_000_000_005));
        assert!((rows[1].hbm_running_blocks - 3.0).abs() < 1e-9);
        assert!(table(&[], 2).is_empty());
    }

    #[test]
    fn a_run_without_a_host_pool_has_no_panel_for_one() {
        let rows = table(&[sample(0, 1, 0), sample(100, 2, 50)], 4);
        assert!(!svg(&rows, 2 << 20).contains("host [GiB]"));
        let with_host = SampleRow {
            host_capacity_blocks: 10,
            ..sample(0, 1, 0)
        };
        assert!(svg(&table(&[with_host], 4), 2 << 20).contains("host [GiB]"));
    }
}
