//! A legend outside the plot, in as many columns as fit, so that it never hides data.

use crate::canvas::{Align, Canvas, Point, Rect, Stroke};
use crate::font;
use crate::theme::{Dash, INK, LINE, MARKER, Marker, Rgb, Style, TICK_SIZE};

const KEY: f64 = 22.0;
const GAP: f64 = 5.0;
const BETWEEN: f64 = 12.0;
const ROW: f64 = 11.0;

/// What stands before the text of an entry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Key {
    /// Line and marker of a policy.
    Policy(Style),
    /// A line without marker.
    Line(Stroke),
    /// A filled area, hatched or plain.
    Area(Rgb, bool),
    /// A marker alone; open ones are filled white.
    Point(Marker, Rgb, bool),
    /// A marker with a white dot.
    Dotted(Marker, Rgb),
}

/// Entries with their places.
pub(crate) struct Legend {
    entries: Vec<Entry>,
}

struct Entry {
    key: Key,
    text: String,
    row: usize,
    x: f64,
}

impl Entry {
    fn width(&self) -> f64 {
        width_of(&self.text)
    }
}

fn width_of(text: &str) -> f64 {
    KEY + GAP + font::width(text, TICK_SIZE)
}

impl Legend {
    /// Lays the entries out in as many equal columns as `width` points hold; where a long text leaves
    /// room for one column only, row by row as words are. A text that does not fit even alone is shortened.
    pub(crate) fn new(entries: Vec<(Key, String)>, width: f64) -> Self {
        let mut legend = Self::column(entries, width);
        let texts: Vec<f64> = legend.entries.iter().map(Entry::width).collect();
        match columns(&texts, width) {
            Some(columns) if columns.len() > 1 => {
                for (index, entry) in legend.entries.iter_mut().enumerate() {
                    entry.row = index / columns.len();
                    let before = &columns[..index % columns.len()];
                    entry.x = before.iter().map(|w| w + BETWEEN).sum();
                }
            }
            _ => legend.flow(width),
        }
        legend
    }

    /// One entry below the other, texts shortened to `width` points.
    pub(crate) fn column(entries: Vec<(Key, String)>, width: f64) -> Self {
        let room = width - KEY - GAP;
        let entry = |(row, (key, text)): (usize, (Key, String))| Entry {
            key,
            text: font::fit(&text, TICK_SIZE, room),
            row,
            x: 0.0,
        };
        Self {
            entries: entries.into_iter().enumerate().map(entry).collect(),
        }
    }

    fn flow(&mut self, width: f64) {
        let (mut row, mut x) = (0, 0.0);
        for entry in &mut self.entries {
            if x > 0.0 && x + entry.width() > width {
                (row, x) = (row + 1, 0.0);
            }
            (entry.row, entry.x) = (row, x);
            x += entry.width() + BETWEEN;
        }
    }

    /// Height on the page \[pt\].
    pub(crate) fn height(&self) -> f64 {
        self.entries
            .last()
            .map_or(0.0, |last| (last.row + 1) as f64 * ROW)
    }

    fn width(&self) -> f64 {
        self.entries
            .iter()
            .map(|entry| entry.x + entry.width())
            .fold(0.0, f64::max)
    }

    /// Draws it centred between `left` and `right`, its top at `top`.
    pub(crate) fn draw(&self, canvas: &mut Canvas<'_>, left: f64, right: f64, top: f64) {
        let start = left + ((right - left - self.width()) / 2.0).max(0.0);
        for entry in &self.entries {
            let (x, y) = (start + entry.x, top + (entry.row as f64 + 0.5) * ROW);
            draw_key(canvas, entry.key, (x, y));
            canvas.text(&entry.text, (x + KEY + GAP, y), Align::Left, TICK_SIZE, INK);
        }
    }
}

/// Widths of the most columns that fit, then of as few as take no more rows: 7 entries that fit 6
/// abreast stand 4 and 3.
fn columns(texts: &[f64], width: f64) -> Option<Vec<f64>> {
    let columns_of = |count: usize| -> Vec<f64> {
        let widest = |column| {
            texts
                .iter()
                .skip(column)
                .step_by(count)
                .copied()
                .fold(0.0, f64::max)
        };
        (0..count).map(widest).collect()
    };
    let fits = |columns: &Vec<f64>| {
        columns.iter().sum::<f64>() + BETWEEN * (columns.len() - 1) as f64 <= width
    };
    let most = (1..=texts.len()).rev().map(columns_of).find(fits)?;
    let rows = texts.len().div_ceil(most.len());
    Some(columns_of(texts.len().div_ceil(rows)))
        .filter(fits)
        .or(Some(most))
}

fn draw_key(canvas: &mut Canvas<'_>, key: Key, (x, y): Point) {
    let line = [(x, y), (x + KEY, y)];
    let middle = (x + KEY / 2.0, y);
    match key {
        Key::Policy(Style {
            color,
            dash,
            marker,
        }) => {
            canvas.line(
                &line,
                Stroke {
                    color,
                    width: LINE,
                    dash,
                },
            );
            canvas.marker(middle, marker, MARKER, color, false);
        }
        Key::Line(stroke) => canvas.line(&line, stroke),
        Key::Area(color, hatched) => {
            let rect = Rect {
                left: x + KEY - 12.0,
                top: y - 3.6,
                right: x + KEY,
                bottom: y + 3.6,
            };
            swatch(canvas, &rect, color, hatched);
        }
        Key::Point(marker, color, open) => canvas.marker(middle, marker, MARKER + 1.0, color, open),
        Key::Dotted(marker, color) => {
            canvas.marker(middle, marker, MARKER + 1.0, color, false);
            canvas.dot(middle);
        }
    }
}

/// A filled rectangle of a stacked bar, with white lines across it where it is hatched.
pub(crate) fn swatch(canvas: &mut Canvas<'_>, rect: &Rect, color: Rgb, hatched: bool) {
    canvas.fill(rect, color);
    if hatched {
        canvas.hatch(
            rect,
            3.6,
            Stroke {
                color: Rgb::WHITE,
                width: 0.7,
                dash: Dash::SOLID,
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn legend(count: usize, text: &str, width: f64) -> Legend {
        let key = Key::Point(Marker::Circle, Rgb::BLACK, false);
        Legend::new((0..count).map(|_| (key, text.to_owned())).collect(), width)
    }

    #[test]
    fn entries_share_rows_evenly() {
        // 8 entries of 27 + some 22 pt and 12 pt between: six fit abreast in 400 pt; four and four are even.
        let legend = legend(8, "djinn", 400.0);
        let rows: Vec<usize> = legend.entries.iter().map(|e| e.row).collect();
        assert_eq!(rows, [0, 0, 0, 0, 1, 1, 1, 1]);
    }

    #[test]
    fn one_long_name_does_not_put_every_other_on_a_row_of_its_own() {
        let key = Key::Point(Marker::Circle, Rgb::BLACK, false);
        let names = ["a", "b", &"long-".repeat(9), "c", "d"];
        let legend = Legend::new(
            names.iter().map(|n| (key, (*n).to_owned())).collect(),
            240.0,
        );
        let rows: Vec<usize> = legend.entries.iter().map(|e| e.row).collect();
        assert_eq!(rows, [0, 0, 1, 2, 2]);
    }

    #[test]
    fn a_legend_never_outgrows_its_width() {
        for count in 0..12 {
            for text in [
                "a",
                "swap-on-demand (n = 12,345)",
                &"very-long-name-".repeat(8),
            ] {
                let legend = legend(count, text, 240.0);
                assert!(
                    legend.width() <= 240.0 + 1e-6,
                    "{count} of {text}: {}",
                    legend.width()
                );
            }
        }
    }

    #[test]
    fn an_empty_legend_takes_no_room() {
        assert!(legend(0, "", 240.0).height() <= 0.0);
    }
}
