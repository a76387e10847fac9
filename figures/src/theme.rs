//! One look for every figure: sizes, colours, and the line and marker of each policy.
//!
//! Colours are those of Okabe and Ito ("Color Universal Design", 2008), told apart by people with any
//! of the common colour deficiencies. Dash and marker differ too, so that a figure can be read in grey.
//! A known policy looks the same in every figure; the table is fixed, and a name outside it takes the
//! next free row of a second table, in the order in which the figure names it.

use crate::canvas::Point;
use plotters::style::RGBColor;

/// Width of a column of a two-column page \[pt\].
pub(crate) const COLUMN: f64 = 240.0;
/// Width of both columns \[pt\].
pub(crate) const PAGE: f64 = 504.0;
/// Size of axis titles \[pt\].
pub(crate) const TITLE_SIZE: f64 = 9.0;
/// Size of tick labels, legends and notes \[pt\].
pub(crate) const TICK_SIZE: f64 = 8.0;
/// Width of data lines \[pt\].
pub(crate) const LINE: f64 = 1.2;
/// Width of a data marker \[pt\].
pub(crate) const MARKER: f64 = 4.6;

/// Axis lines and text.
pub(crate) const INK: Rgb = Rgb(30, 30, 30);
/// Notes and secondary text.
pub(crate) const SOFT: Rgb = Rgb(95, 95, 95);
/// Grid at labelled ticks.
pub(crate) const GRID: Rgb = Rgb(225, 225, 225);

/// A colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rgb(pub u8, pub u8, pub u8);

impl Rgb {
    pub(crate) const WHITE: Self = Self(255, 255, 255);
    pub(crate) const BLACK: Self = Self(0, 0, 0);
    pub(crate) const ORANGE: Self = Self(230, 159, 0);
    pub(crate) const SKY: Self = Self(86, 180, 233);
    pub(crate) const GREEN: Self = Self(0, 158, 115);
    pub(crate) const YELLOW: Self = Self(240, 228, 66);
    pub(crate) const BLUE: Self = Self(0, 114, 178);
    pub(crate) const VERMILION: Self = Self(213, 94, 0);
    pub(crate) const PURPLE: Self = Self(204, 121, 167);
    pub(crate) const GREY: Self = Self(125, 125, 125);

    /// This colour mixed with white; `share` of it is left.
    pub(crate) fn pale(self, share: f64) -> Self {
        let mix = |c: u8| (255.0 - (255.0 - f64::from(c)) * share).round() as u8;
        Self(mix(self.0), mix(self.1), mix(self.2))
    }

    pub(crate) fn plotters(self) -> RGBColor {
        RGBColor(self.0, self.1, self.2)
    }
}

/// Lengths of dashes and gaps in units of 1 pt; empty for a solid line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Dash(pub &'static [f64]);

impl Dash {
    pub(crate) const SOLID: Self = Self(&[]);
    const DASHED: Self = Self(&[5.0, 2.0]);
    const LONG: Self = Self(&[9.0, 2.5]);
    const DOTTED: Self = Self(&[1.2, 1.6]);
    const DASH_DOT: Self = Self(&[6.0, 1.8, 1.2, 1.8]);
    const DASH_DOT_DOT: Self = Self(&[6.0, 1.6, 1.2, 1.6, 1.2, 1.6]);
    const SHORT: Self = Self(&[2.6, 1.6]);

    /// The pieces of the polyline `points` that a pen with this pattern draws. A piece shorter than
    /// the pen's `width` at the very end is kept: the end of a curve must be seen.
    pub(crate) fn split(self, points: &[Point], width: f64) -> Vec<Vec<Point>> {
        if self.0.is_empty() || points.len() < 2 {
            return vec![points.to_vec()];
        }
        let scale = (width / LINE).clamp(0.6, 1.5);
        let mut pieces = Vec::new();
        let mut piece = vec![points[0]];
        let (mut index, mut left) = (0, self.0[0] * scale);
        for pair in points.windows(2) {
            let (mut from, to) = (pair[0], pair[1]);
            loop {
                let length = (to.0 - from.0).hypot(to.1 - from.1);
                if length < left {
                    left -= length;
                    if index % 2 == 0 && length > 0.0 {
                        piece.push(to);
                    }
                    break;
                }
                let share = left / length;
                let turn = (
                    from.0 + (to.0 - from.0) * share,
                    from.1 + (to.1 - from.1) * share,
                );
                if index % 2 == 0 {
                    piece.push(turn);
                    pieces.push(std::mem::take(&mut piece));
                } else {
                    piece = vec![turn];
                }
                index = (index + 1) % self.0.len();
                left = self.0[index] * scale;
                from = turn;
            }
        }
        if index % 2 == 0 && piece.len() > 1 {
            pieces.push(piece);
        }
        pieces
    }
}

/// Shape of a data point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    Circle,
    Square,
    Diamond,
    Up,
    Down,
    Plus,
    Cross,
    Star,
}

impl Marker {
    /// Corners within the square from -1 to 1, y downwards.
    pub(crate) fn outline(self) -> Vec<Point> {
        use std::f64::consts::{PI, TAU};
        let ring = |n: usize, radius: fn(usize) -> f64| -> Vec<Point> {
            let corner = |i| {
                let angle = TAU * i as f64 / n as f64 - PI / 2.0;
                (radius(i) * angle.cos(), radius(i) * angle.sin())
            };
            (0..n).map(corner).collect()
        };
        let plus = [
            (-0.35, -1.1),
            (0.35, -1.1),
            (0.35, -0.35),
            (1.1, -0.35),
            (1.1, 0.35),
            (0.35, 0.35),
            (0.35, 1.1),
            (-0.35, 1.1),
            (-0.35, 0.35),
            (-1.1, 0.35),
            (-1.1, -0.35),
            (-0.35, -0.35),
        ];
        match self {
            Self::Circle => ring(24, |_| 1.0),
            Self::Square => vec![(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)],
            Self::Diamond => vec![(0.0, -1.25), (1.05, 0.0), (0.0, 1.25), (-1.05, 0.0)],
            Self::Up => vec![(0.0, -1.15), (1.1, 0.85), (-1.1, 0.85)],
            Self::Down => vec![(0.0, 1.15), (1.1, -0.85), (-1.1, -0.85)],
            Self::Plus => plus.to_vec(),
            Self::Cross => {
                let half = std::f64::consts::FRAC_1_SQRT_2;
                plus.iter()
                    .map(|(x, y)| ((x - y) * half, (x + y) * half))
                    .collect()
            }
            Self::Star => ring(10, |i| if i % 2 == 0 { 1.35 } else { 0.6 }),
        }
    }
}

/// How the data of one policy is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Style {
    pub color: Rgb,
    pub dash: Dash,
    pub marker: Marker,
}

const fn style(color: Rgb, dash: Dash, marker: Marker) -> Style {
    Style {
        color,
        dash,
        marker,
    }
}

/// The known policies, in the order in which figures list them.
const KNOWN: [(&str, Style); 7] = [
    (
        "vllm-recompute",
        style(Rgb::VERMILION, Dash::DASHED, Marker::Square),
    ),
    (
        "keep-always",
        style(Rgb::ORANGE, Dash::DASH_DOT, Marker::Up),
    ),
    ("drop-always", style(Rgb::PURPLE, Dash::SHORT, Marker::Down)),
    (
        "swap-on-demand",
        style(Rgb::GREEN, Dash::LONG, Marker::Diamond),
    ),
    ("djinn", style(Rgb::BLUE, Dash::SOLID, Marker::Circle)),
    (
        "djinn-as-run",
        style(Rgb::SKY, Dash::DASH_DOT_DOT, Marker::Plus),
    ),
    ("clairvoyant", style(Rgb::BLACK, Dash::DOTTED, Marker::Star)),
];

/// Brown and dark yellow stand in where all of Okabe and Ito's colours are taken.
const OTHERS: [Style; 6] = [
    style(Rgb::GREY, Dash::SOLID, Marker::Cross),
    style(Rgb(120, 70, 30), Dash::DASHED, Marker::Circle),
    style(Rgb(165, 150, 0), Dash::DASH_DOT, Marker::Square),
    style(Rgb(70, 70, 70), Dash::LONG, Marker::Up),
    style(Rgb(150, 60, 110), Dash::DOTTED, Marker::Diamond),
    style(Rgb(0, 80, 60), Dash::DASH_DOT_DOT, Marker::Down),
];

/// The name of a policy without its parameters: `djinn[margin_ms=20]` is a `djinn`.
pub(crate) fn base_policy(name: &str) -> &str {
    name.split('[').next().unwrap_or(name)
}

/// Sorts policy names as figures list them: known ones first, in the order of the table, then by name.
pub(crate) fn sort_policies(names: &mut [String]) {
    let rank = |name: &str| {
        KNOWN
            .iter()
            .position(|(known, _)| *known == base_policy(name))
    };
    names.sort_by(|a, b| {
        (rank(a).unwrap_or(KNOWN.len()), a).cmp(&(rank(b).unwrap_or(KNOWN.len()), b))
    });
}

/// Styles of series that are no policies, in order.
pub(crate) fn series_styles(count: usize) -> Vec<Style> {
    let known = KNOWN.iter().map(|(_, style)| *style);
    known.chain(OTHERS).cycle().take(count).collect()
}

/// One style per name, in order. The first variant of a known policy takes its style; further variants
/// and unknown names take the others in turn.
pub(crate) fn policy_styles(names: &[String]) -> Vec<Style> {
    let mut taken = [false; KNOWN.len()];
    let mut others = OTHERS.iter().cycle();
    let mut pick = |name: &String| {
        let known = KNOWN
            .iter()
            .position(|(known, _)| *known == base_policy(name));
        match known {
            Some(row) if !std::mem::replace(&mut taken[row], true) => KNOWN[row].1,
            _ => *others.next().expect("a cycle does not end"),
        }
    };
    names.iter().map(&mut pick).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|&n| n.to_owned()).collect()
    }

    #[test]
    fn a_known_policy_looks_the_same_in_any_company() {
        let alone = policy_styles(&names(&["djinn"]))[0];
        let among = policy_styles(&names(&["x", "vllm-recompute", "djinn", "clairvoyant"]))[2];
        assert_eq!(alone, among);
    }

    #[test]
    fn no_two_of_thirteen_policies_share_a_marker_and_a_colour() {
        let mut all = names(&["a", "b", "c", "d", "e", "f"]);
        all.extend(KNOWN.iter().map(|(name, _)| (*name).to_owned()));
        let styles = policy_styles(&all);
        for (i, one) in styles.iter().enumerate() {
            for other in &styles[i + 1..] {
                assert!(one.color != other.color, "{one:?} and {other:?}");
                assert!(
                    (one.marker, one.dash) != (other.marker, other.dash),
                    "{one:?} and {other:?}"
                );
            }
        }
    }

    #[test]
    fn two_variants_of_one_policy_differ() {
        let styles = policy_styles(&names(&["djinn", "djinn[margin_ms=20]"]));
        assert_ne!(styles[0], styles[1]);
    }

    #[test]
    fn policies_are_listed_known_first_then_by_name() {
        let mut list = names(&[
            "zeta",
            "clairvoyant",
            "alpha",
            "djinn[x=1]",
            "vllm-recompute",
        ]);
        sort_policies(&mut list);
        assert_eq!(
            list,
            names(&[
                "vllm-recompute",
                "djinn[x=1]",
                "clairvoyant",
                "alpha",
                "zeta"
            ])
        );
    }

    #[test]
    fn a_dashed_line_keeps_the_lengths_of_its_pattern_round_corners() {
        // 5 drawn, 2 not, along 4 right and 10 down: pieces (0,0)-(4,0)-(4,1), then from 7 to 12, of 14 in all.
        let pieces = Dash::DASHED.split(&[(0.0, 0.0), (4.0, 0.0), (4.0, 10.0)], LINE);
        assert_eq!(
            pieces,
            [
                vec![(0.0, 0.0), (4.0, 0.0), (4.0, 1.0)],
                vec![(4.0, 3.0), (4.0, 8.0)]
            ]
        );
    }
}
