//! One axis: its range, where it puts a value, its labelled ticks and its minor ticks.
//!
//! A range is given by the data and widened a little, to a round number next to it rather than to the
//! next power of ten: the page belongs to the data.

use crate::font;
use crate::format::grouped;
use crate::theme::TICK_SIZE;

/// A labelled tick.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tick {
    pub value: f64,
    pub label: String,
}

/// A scale with its ticks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    log: bool,
    low: f64,
    high: f64,
    pub ticks: Vec<Tick>,
    pub minor: Vec<f64>,
}

impl Axis {
    /// From `low` to `high` as given, with at most `count` labelled ticks at round numbers.
    ///
    /// # Panics
    /// If the range is not finite.
    pub(crate) fn linear(low: f64, high: f64, count: usize) -> Self {
        assert!(
            low.is_finite() && high.is_finite(),
            "an axis from {low} to {high}"
        );
        let high = if high > low { high } else { low + 1.0 };
        let step = round_step((high - low) / count.max(1) as f64);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let decimals = if is_round(step * 10f64.powi(decimals as i32)) {
            decimals
        } else {
            decimals + 1
        };
        let values = multiples(low, high, step);
        let ticks = values
            .map(|value| Tick {
                value,
                label: grouped(value, decimals),
            })
            .collect();
        Self {
            log: false,
            low,
            high,
            ticks,
            minor: Vec::new(),
        }
    }

    /// From 0 to the first round number at or above `high`, which is then a tick.
    pub(crate) fn from_zero(high: f64, count: usize) -> Self {
        let high = if high > 0.0 { high } else { 1.0 };
        let step = round_step(high / count.max(1) as f64);
        // Half a step is round enough to end at, and wastes less of the page.
        let end = (high / (step / 2.0) - 1e-9).ceil() * (step / 2.0);
        Self::linear(0.0, end, count)
    }

    /// Logarithmic over the positive ones of `values`, from a digit times a power of ten to another.
    pub(crate) fn log(values: impl IntoIterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, 0.0f64);
        for value in values.into_iter().filter(|v| *v > 0.0 && v.is_finite()) {
            low = low.min(value);
            high = high.max(value);
        }
        if high == 0.0 {
            (low, high) = (1.0, 10.0);
        }
        let (mut low, mut high) = (digit_at_most(low), digit_at_least(high));
        if high / low < 3.0 {
            (low, high) = (digit_at_most(low / 1.6), digit_at_least(high * 1.6));
        }
        Self::log_range(low, high)
    }

    /// Logarithmic from `low` to `high` as given.
    ///
    /// # Panics
    /// Unless 0 < low < high.
    pub(crate) fn log_range(low: f64, high: f64) -> Self {
        assert!(
            0.0 < low && low < high && high.is_finite(),
            "a log axis from {low} to {high}"
        );
        let within = |v: f64| v >= low * (1.0 - 1e-9) && v <= high * (1.0 + 1e-9);
        let exponents = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let every = |digits: &[i32]| -> Vec<(i32, i32)> {
            let all = exponents
                .clone()
                .flat_map(|e| digits.iter().map(move |&d| (d, e)));
            all.filter(|&(d, e)| within(value_of(d, e))).collect()
        };
        let decades = every(&[1]);
        let stride = decades.len().div_ceil(8).max(1) as i32;
        let labelled = match decades.len() {
            0 | 1 => every(&[1, 2, 5]),
            2 => every(&[1, 3]),
            _ => decades
                .into_iter()
                .filter(|(_, e)| e.rem_euclid(stride) == 0)
                .collect(),
        };
        let plain = labelled.iter().all(|(_, e)| (-3..=4).contains(e));
        let label = |d: i32, e: i32| match (plain, d) {
            (true, _) => grouped(value_of(d, e), (-e).max(0) as usize),
            (false, 1) => power_of_ten(e),
            (false, _) => format!("{d}·{}", power_of_ten(e)),
        };
        let ticks = labelled.iter().map(|&(d, e)| Tick {
            value: value_of(d, e),
            label: label(d, e),
        });
        let fine: &[i32] = if stride == 1 {
            &[1, 2, 3, 4, 5, 6, 7, 8, 9]
        } else {
            &[1]
        };
        let minor = every(fine).into_iter().filter(|t| !labelled.contains(t));
        let minor = minor.map(|(d, e)| value_of(d, e)).collect();
        Self {
            log: true,
            low,
            high,
            ticks: ticks.collect(),
            minor,
        }
    }

    /// The same range with ticks at given values, for numbers that are few and known: agents 10, 20, 40.
    /// Labels of a linear axis have equal decimals, those of a logarithmic one their own.
    #[must_use]
    pub(crate) fn with_ticks(mut self, values: &[f64]) -> Self {
        let most = values.iter().map(|v| decimals_of(*v)).max().unwrap_or(0);
        let decimals = |value| if self.log { decimals_of(value) } else { most };
        let tick = |&value: &f64| Tick {
            value,
            label: grouped(value, decimals(value)),
        };
        self.ticks = values.iter().map(tick).collect();
        self.minor.clear();
        self
    }

    /// Where `value` lies, from 0 (low end) to 1 (high end). What lies outside is put at the end.
    pub(crate) fn share(&self, value: f64) -> f64 {
        let share = if self.log {
            if value <= 0.0 {
                return 0.0;
            }
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.clamp(0.0, 1.0)
    }

    /// The ends of the range.
    pub(crate) fn range(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// Width of the widest label \[pt\].
    pub(crate) fn label_width(&self) -> f64 {
        self.ticks
            .iter()
            .map(|t| font::label_width(&t.label, TICK_SIZE))
            .fold(0.0, f64::max)
    }
}

fn value_of(digit: i32, exponent: i32) -> f64 {
    // By way of text: 3 * 10^-3 in doubles is not the double nearest to 0.003.
    format!("{digit}e{exponent}").parse().expect("a number")
}

/// `10` and a raised exponent, as [`font::label_width`] and the canvas read it.
fn power_of_ten(exponent: i32) -> String {
    format!("10^{exponent}").replace('-', "−")
}

fn decimals_of(value: f64) -> usize {
    (0..6)
        .find(|&d| (value - format!("{value:.d$}").parse().unwrap_or(value)).abs() < 1e-9)
        .unwrap_or(6)
}

/// The largest digit times a power of ten that is not above `value`.
fn digit_at_most(value: f64) -> f64 {
    let exponent = value.log10().floor() as i32;
    let digit = (value / value_of(1, exponent) + 1e-9)
        .floor()
        .clamp(1.0, 9.0);
    value_of(digit as i32, exponent)
}

/// The smallest digit times a power of ten that is not below `value`.
fn digit_at_least(value: f64) -> f64 {
    let exponent = value.log10().floor() as i32;
    let digit = (value / value_of(1, exponent) - 1e-9)
        .ceil()
        .clamp(1.0, 10.0);
    value_of(digit as i32, exponent)
}

/// 1, 2, 2.5 or 5 times a power of ten, at least `span`.
fn round_step(span: f64) -> f64 {
    let power = 10f64.powi(span.log10().floor() as i32);
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
    steps
        .into_iter()
        .map(|s| s * power)
        .find(|s| *s >= span * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

fn is_round(value: f64) -> bool {
    (value - value.round()).abs() < 1e-6
}

fn multiples(low: f64, high: f64, step: f64) -> impl Iterator<Item = f64> {
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(move |k| k as f64 * step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|t| t.label.as_str()).collect()
    }

    #[test]
    fn a_linear_axis_ticks_at_round_numbers() {
        assert_eq!(
            labels(&Axis::linear(0.0, 368.0, 5)),
            ["0", "100", "200", "300"]
        );
        assert_eq!(
            labels(&Axis::linear(0.0, 1.0, 4)),
            ["0.00", "0.25", "0.50", "0.75", "1.00"]
        );
        assert_eq!(
            labels(&Axis::linear(-1.0, 1.0, 4)),
            ["-1.0", "-0.5", "0.0", "0.5", "1.0"]
        );
        assert_eq!(
            labels(&Axis::linear(0.0, 40_000.0, 4)),
            ["0", "10,000", "20,000", "30,000", "40,000"]
        );
    }

    #[test]
    fn an_axis_from_zero_ends_just_above_the_data() {
        // Steps of 2, so half a step is 1: 7.3 ends at 8.
        assert_eq!(Axis::from_zero(7.3, 4).range(), (0.0, 8.0));
        assert_eq!(Axis::from_zero(0.0, 4).range(), (0.0, 1.0));
    }

    #[test]
    fn a_log_axis_over_decades_labels_each_and_marks_those_between() {
        let axis = Axis::log([0.034, 45.0]);
        assert_eq!(axis.range(), (0.03, 50.0));
        assert_eq!(labels(&axis), ["0.1", "1", "10"]);
        // 3..9 of 0.01, 2..9 of 0.1 and of 1, 2..5 of 10: 7 + 8 + 8 + 4.
        assert_eq!(axis.minor.len(), 27);
    }

    #[test]
    fn a_log_axis_over_many_decades_uses_powers() {
        let axis = Axis::log([1e-6, 3.0]);
        assert_eq!(
            labels(&axis),
            ["10^−6", "10^−5", "10^−4", "10^−3", "10^−2", "10^−1", "10^0"]
        );
        assert_eq!(labels(&Axis::log([1e-9, 1e9])).len(), 7);
    }

    #[test]
    fn a_log_axis_within_a_decade_has_labels_all_the_same() {
        assert_eq!(labels(&Axis::log([2.1, 7.9])), ["2", "5"]);
        let one_point = Axis::log([2.5]);
        assert!(one_point.ticks.len() >= 2, "{one_point:?}");
        assert!(one_point.share(2.5) > 0.2 && one_point.share(2.5) < 0.8);
        assert_eq!(Axis::log([]).range(), (1.0, 10.0));
    }

    #[test]
    fn shares_run_from_zero_to_one() {
        let axis = Axis::log_range(0.01, 100.0);
        assert!((axis.share(1.0) - 0.5).abs() < 1e-12);
        assert!(axis.share(0.0) <= 0.0);
        assert!(axis.share(1e9) >= 1.0);
        assert!((Axis::linear(0.0, 8.0, 4).share(2.0) - 0.25).abs() < 1e-12);
    }

    #[test]
    fn given_ticks_share_their_decimals_on_a_linear_axis() {
        let ticks = [0.1, 0.25, 1.0];
        assert_eq!(
            labels(&Axis::linear(0.0, 2.0, 4).with_ticks(&ticks)),
            ["0.10", "0.25", "1.00"]
        );
        assert_eq!(
            labels(&Axis::log_range(0.1, 2.0).with_ticks(&ticks)),
            ["0.1", "0.25", "1"]
        );
    }
}
