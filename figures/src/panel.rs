//! A pair of axes on the page: frame, grid, ticks and titles, and data in data coordinates.

use crate::axis::Axis;
use crate::canvas::{Align, Canvas, Point, Rect, Stroke};
use crate::font;
use crate::theme::{GRID, INK, PAGE, Rgb, TICK_SIZE, TITLE_SIZE};

const FRAME: Stroke = Stroke::solid(INK, 0.7);
const MAJOR: f64 = 3.0;
const MINOR: f64 = 1.6;

/// Height of a row of tick labels below a panel \[pt\].
pub(crate) const TICK_ROW: f64 = 13.0;
/// Height of an axis title below the tick labels \[pt\].
pub(crate) const TITLE_ROW: f64 = 12.0;

/// Room that the labels and the title of a y axis take left of the panel \[pt\].
pub(crate) fn left_margin(label_width: f64) -> f64 {
    TITLE_SIZE + 5.0 + label_width + MAJOR + 2.0
}

/// Two panels of one size side by side, each with its own y axis.
pub(crate) fn side_by_side(label_width: f64, top: f64, depth: f64) -> [Rect; 2] {
    let left = left_margin(label_width) + 2.0;
    let between = left_margin(label_width) + 10.0;
    let width = (PAGE - left - between - 8.0) / 2.0;
    [left, left + width + between].map(|left| Rect {
        left,
        top,
        right: left + width,
        bottom: top + depth,
    })
}

/// Axes over a rectangle of the page.
pub(crate) struct Panel {
    pub rect: Rect,
    pub x: Axis,
    pub y: Axis,
}

/// What is written around a panel.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Labels<'a> {
    /// Below; tick labels are drawn with it or where `x_ticks` is set.
    pub x: Option<&'a str>,
    /// To the left, reading upwards.
    pub y: Option<&'a str>,
    /// Tick labels of the x axis although it has no title.
    pub x_ticks: bool,
    /// No tick labels on the y axis: the panel to the left has them.
    pub no_y_ticks: bool,
    /// Above, flush left.
    pub title: Option<&'a str>,
}

impl Panel {
    /// Where a data point lies on the page.
    pub(crate) fn at(&self, x: f64, y: f64) -> Point {
        (self.x_at(x), self.y_at(y))
    }

    pub(crate) fn x_at(&self, x: f64) -> f64 {
        self.rect.left + self.x.share(x) * self.rect.width()
    }

    pub(crate) fn y_at(&self, y: f64) -> f64 {
        self.rect.bottom - self.y.share(y) * self.rect.height()
    }

    /// Grid lines; drawn before the data.
    pub(crate) fn grid(&self, canvas: &mut Canvas<'_>, with_x: bool) {
        let Rect {
            left,
            top,
            right,
            bottom,
        } = self.rect;
        let stroke = Stroke::solid(GRID, 0.5);
        for tick in &self.y.ticks {
            let y = self.y_at(tick.value);
            canvas.line(&[(left, y), (right, y)], stroke);
        }
        for tick in self.x.ticks.iter().filter(|_| with_x) {
            let x = self.x_at(tick.value);
            canvas.line(&[(x, top), (x, bottom)], stroke);
        }
    }

    /// Axis lines, ticks, their labels and the titles; drawn after the data. `label_width` is the room
    /// kept for tick labels of y, so that the titles of stacked panels line up.
    pub(crate) fn frame(&self, canvas: &mut Canvas<'_>, labels: Labels<'_>, label_width: f64) {
        let Rect {
            left,
            top,
            right,
            bottom,
        } = self.rect;
        canvas.line(&[(left, top), (left, bottom), (right, bottom)], FRAME);
        for (values, length) in [
            (self.x.minor.clone(), MINOR),
            (self.x.ticks.iter().map(|t| t.value).collect(), MAJOR),
        ] {
            for x in values.into_iter().map(|v| self.x_at(v)) {
                canvas.line(&[(x, bottom), (x, bottom + length)], FRAME);
            }
        }
        for (values, length) in [
            (self.y.minor.clone(), MINOR),
            (self.y.ticks.iter().map(|t| t.value).collect(), MAJOR),
        ] {
            for y in values.into_iter().map(|v| self.y_at(v)) {
                canvas.line(&[(left - length, y), (left, y)], FRAME);
            }
        }
        if labels.x.is_some() || labels.x_ticks {
            self.x_labels(canvas);
        }
        if let Some(title) = labels.x {
            let at = (left.midpoint(right), bottom + TICK_ROW + TITLE_ROW / 2.0);
            canvas.text(title, at, Align::Center, TITLE_SIZE, INK);
        }
        if !labels.no_y_ticks {
            for tick in &self.y.ticks {
                let at = (left - MAJOR - 2.0, self.y_at(tick.value));
                canvas.label(&tick.label, at, Align::Right, TICK_SIZE, INK);
            }
        }
        if let Some(title) = labels.y {
            let x = left - left_margin(label_width) + TITLE_SIZE / 2.0 + 1.0;
            canvas.text_upwards(title, (x, top.midpoint(bottom)), TITLE_SIZE, INK);
        }
        if let Some(title) = labels.title {
            canvas.text(title, (left, top - 7.0), Align::Left, TITLE_SIZE, INK);
        }
    }

    /// Labels below the x axis: as many as fit without touching, evenly thinned.
    fn x_labels(&self, canvas: &mut Canvas<'_>) {
        let ticks = &self.x.ticks;
        let extent = |i: usize| {
            let half = font::label_width(&ticks[i].label, TICK_SIZE) / 2.0;
            let x = self.x_at(ticks[i].value);
            (x - half, x + half)
        };
        let fits = |stride: usize| {
            let shown: Vec<usize> = (0..ticks.len()).step_by(stride).collect();
            shown
                .windows(2)
                .all(|pair| extent(pair[0]).1 + 4.0 <= extent(pair[1]).0)
        };
        let stride = (1..=ticks.len().max(1)).find(|&s| fits(s)).unwrap_or(1);
        for tick in ticks.iter().step_by(stride) {
            let at = (self.x_at(tick.value), self.rect.bottom + MAJOR + 5.5);
            canvas.label(&tick.label, at, Align::Center, TICK_SIZE, INK);
        }
    }

    /// A line through data points.
    pub(crate) fn line(&self, canvas: &mut Canvas<'_>, points: &[Point], stroke: Stroke) {
        let placed: Vec<Point> = points.iter().map(|&(x, y)| self.at(x, y)).collect();
        canvas.line(&placed, stroke);
    }

    /// The area between a lower and an upper line over the same x.
    pub(crate) fn band(&self, canvas: &mut Canvas<'_>, points: &[(f64, f64, f64)], color: Rgb) {
        let upper = points.iter().map(|&(x, _, high)| self.at(x, high));
        let lower = points.iter().rev().map(|&(x, low, _)| self.at(x, low));
        canvas.area(&upper.chain(lower).collect::<Vec<_>>(), color);
    }
}
