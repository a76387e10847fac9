//! A drawing surface in points (1/72 inch), y downwards, on top of plotters' SVG backend.
//!
//! The backend takes whole units, so one point is ten of them: fine enough for smooth curves. The
//! written root element then gives the size in points and keeps the tenfold view box, so that the PDF
//! comes out at exactly the width of a column.
//!
//! **Absent on purpose:** plotters' charts. They draw no minor ticks, no dash patterns beyond one
//! length, and no markers in legends; axes, panels and legends are drawn here, by `axis`, `panel` and
//! `legend`. Also transparency: svg2pdf 0.13 lists translucent objects in the order of a hash map, and the
//! PDF would differ from one run to the next; pale colours stand in.

use crate::font;
use crate::theme::{Dash, Marker, Rgb};
use plotters::backend::{DrawingBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontTransform, IntoFont, RGBAColor, ShapeStyle, TextStyle};

/// Backend units per point.
const UNITS: f64 = 10.0;
/// Plotters takes a font size of 1.24 times the em.
const FONT_SIZE_PER_EM: f64 = 1.24;
/// The backend sets text "at the bottom" this share of an em above the given y (half an `ex`).
const BOTTOM_EM: f64 = 0.25;

/// A point of the page.
pub(crate) type Point = (f64, f64);

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stroke {
    pub color: Rgb,
    pub width: f64,
    pub dash: Dash,
}

impl Stroke {
    pub(crate) const fn solid(color: Rgb, width: f64) -> Self {
        Self {
            color,
            width,
            dash: Dash::SOLID,
        }
    }
}

/// Which point of a text its position gives. Vertically the text's capitals are centred on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Center,
    Right,
}

/// A rectangle of the page.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rect {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
}

impl Rect {
    pub(crate) fn width(&self) -> f64 {
        self.right - self.left
    }

    pub(crate) fn height(&self) -> f64 {
        self.bottom - self.top
    }
}

/// Draws one figure of a fixed size and returns its SVG. Drawing into a string cannot fail.
pub(crate) fn draw(width: f64, height: f64, paint: impl FnOnce(&mut Canvas<'_>)) -> String {
    let size = (
        (width * UNITS).round() as u32,
        (height * UNITS).round() as u32,
    );
    let mut svg = String::new();
    {
        let mut canvas = Canvas {
            backend: SVGBackend::with_string(&mut svg, size),
        };
        canvas.fill(
            &Rect {
                left: 0.0,
                top: 0.0,
                right: width,
                bottom: height,
            },
            Rgb::WHITE,
        );
        paint(&mut canvas);
        canvas.backend.present().expect("drawing into a string");
    }
    let drawn = format!(r#"width="{}" height="{}""#, size.0, size.1);
    let shown = format!(r#"width="{width}pt" height="{height}pt""#);
    svg.replacen(&drawn, &shown, 1).replace(
        &format!(r#"font-family="{}""#, font::FAMILY),
        &format!(r#"font-family="{}""#, font::FAMILIES),
    )
}

/// The surface that `draw` hands out.
pub(crate) struct Canvas<'a> {
    backend: SVGBackend<'a>,
}

impl Canvas<'_> {
    /// A line through `points`.
    pub(crate) fn line(&mut self, points: &[Point], stroke: Stroke) {
        for piece in stroke.dash.split(points, stroke.width) {
            let style = shape(stroke.color, stroke.width);
            self.backend
                .draw_path(piece.into_iter().map(units), &style)
                .expect("drawing into a string");
        }
    }

    /// A filled area.
    pub(crate) fn area(&mut self, points: &[Point], color: Rgb) {
        let style = shape(color, 0.0);
        self.backend
            .fill_polygon(points.iter().copied().map(units), &style)
            .expect("drawing into a string");
    }

    /// A filled rectangle.
    pub(crate) fn fill(&mut self, rect: &Rect, color: Rgb) {
        let Rect {
            left,
            top,
            right,
            bottom,
        } = *rect;
        self.area(
            &[(left, top), (right, top), (right, bottom), (left, bottom)],
            color,
        );
    }

    /// Slanted lines within a rectangle, `gap` points apart.
    pub(crate) fn hatch(&mut self, rect: &Rect, gap: f64, stroke: Stroke) {
        // Lines x + y = c, anchored to the page so that neighbours continue each other.
        let mut c = ((rect.left + rect.top) / gap).ceil() * gap;
        while c < rect.right + rect.bottom {
            let start = (
                (c - rect.bottom).max(rect.left),
                rect.bottom.min(c - rect.left),
            );
            let end = ((c - rect.top).min(rect.right), rect.top.max(c - rect.right));
            self.line(&[start, end], stroke);
            c += gap;
        }
    }

    /// A marker about `size` points wide; open ones are filled white.
    pub(crate) fn marker(&mut self, at: Point, marker: Marker, size: f64, color: Rgb, open: bool) {
        let outline: Vec<Point> = marker
            .outline()
            .iter()
            .map(|(x, y)| (at.0 + x * size / 2.0, at.1 + y * size / 2.0))
            .collect();
        self.area(&outline, if open { Rgb::WHITE } else { color });
        let closed: Vec<Point> = outline.iter().chain(outline.first()).copied().collect();
        self.line(&closed, Stroke::solid(color, 0.7));
    }

    /// A white dot on a marker: what it stands for rests on few samples.
    pub(crate) fn dot(&mut self, at: Point) {
        self.marker(at, Marker::Circle, 1.4, Rgb::WHITE, false);
    }

    /// One line of text in `size` points, its capitals centred on `at` vertically.
    pub(crate) fn text(&mut self, text: &str, at: Point, align: Align, size: f64, color: Rgb) {
        let baseline = at.1 + size * (font::CAP_HEIGHT / 2.0 + BOTTOM_EM);
        self.put(
            text,
            (at.0, baseline),
            align,
            size,
            color,
            FontTransform::None,
        );
    }

    /// A tick label: a text in which what follows a `^` is a raised exponent.
    pub(crate) fn label(&mut self, label: &str, at: Point, align: Align, size: f64, color: Rgb) {
        let Some((base, raised)) = label.split_once('^') else {
            return self.text(label, at, align, size, color);
        };
        let width = font::label_width(label, size);
        let left = match align {
            Align::Left => at.0,
            Align::Center => at.0 - width / 2.0,
            Align::Right => at.0 - width,
        };
        self.text(base, (left, at.1), Align::Left, size, color);
        let above = (left + font::width(base, size), at.1 - 0.36 * size);
        self.text(raised, above, Align::Left, size * font::EXPONENT, color);
    }

    /// One line of text that reads upwards, centred on `at` both ways.
    pub(crate) fn text_upwards(&mut self, text: &str, at: Point, size: f64, color: Rgb) {
        let baseline = at.0 + size * font::CAP_HEIGHT / 2.0 + size * BOTTOM_EM;
        // The backend moves text up by BOTTOM_EM before it turns it about the given point.
        self.put(
            text,
            (baseline, at.1),
            Align::Center,
            size,
            color,
            FontTransform::Rotate270,
        );
    }

    fn put(
        &mut self,
        text: &str,
        at: Point,
        align: Align,
        size: f64,
        color: Rgb,
        turn: FontTransform,
    ) {
        let horizontal = match align {
            Align::Left => HPos::Left,
            Align::Center => HPos::Center,
            Align::Right => HPos::Right,
        };
        let face = (font::FAMILY, size * UNITS * FONT_SIZE_PER_EM)
            .into_font()
            .transform(turn);
        let ink = color.plotters();
        let style = TextStyle::from(face)
            .color(&ink)
            .pos(Pos::new(horizontal, VPos::Bottom));
        self.backend
            .draw_text(text, &style, units(at))
            .expect("drawing into a string");
    }
}

fn units((x, y): Point) -> (i32, i32) {
    ((x * UNITS).round() as i32, (y * UNITS).round() as i32)
}

fn shape(color: Rgb, width: f64) -> ShapeStyle {
    let Rgb(r, g, b) = color;
    ShapeStyle {
        color: RGBAColor(r, g, b, 1.0),
        filled: false,
        stroke_width: (width * UNITS).round() as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_sized_in_points_and_drawn_in_tenths() {
        let svg = draw(240.0, 150.0, |_| ());
        assert!(
            svg.starts_with(r#"<svg width="240pt" height="150pt" viewBox="0 0 2400 1500""#),
            "{svg}"
        );
    }

    #[test]
    fn markup_in_a_label_is_escaped() {
        let svg = draw(20.0, 20.0, |c| {
            c.text("a<b&c", (1.0, 1.0), Align::Left, 8.0, Rgb::BLACK);
        });
        assert!(svg.contains("a&lt;b&amp;c"), "{svg}");
    }

    #[test]
    fn the_same_drawing_gives_the_same_bytes() {
        let once = || {
            draw(50.0, 50.0, |c| {
                c.line(&[(0.0, 0.0), (9.99, 20.0)], Stroke::solid(Rgb::BLACK, 1.0));
            })
        };
        assert_eq!(once(), once());
    }
}
