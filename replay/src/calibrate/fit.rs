//! Constants from timed points, and how far off they are.
//!
//! A copy takes a fixed time and its bytes over a rate. The rate comes from the large copies and the fixed time from the small
//! ones, each as a median, so that one disturbed point moves neither. Every other size is held out, and judges.

/// A timed copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Its bytes.
    pub bytes: u64,
    /// Its time.
    pub nanos: u64,
}

/// A copy's cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Per copy \[ns\].
    pub fixed_ns: u64,
    /// Rate of the bytes.
    pub bytes_per_s: u64,
    /// Median of the relative errors of the points held out.
    pub error_median: f64,
    /// The largest of them.
    pub error_max: f64,
}

/// Copies from here on give the rate.
const LARGE: u64 = 16 << 20;
/// Copies up to here give the fixed time.
const SMALL: u64 = 64 << 10;

/// Fits the points at even places, sorted by size; `None` if there is none that is small, or none that is large.
pub fn line(points: &[Point]) -> Option<Line> {
    let fitted = || points.iter().step_by(2);
    let least = fitted().min_by_key(|point| point.bytes)?;
    let slopes = fitted().filter(|point| point.bytes >= LARGE && point.nanos > least.nanos);
    let slopes =
        slopes.map(|point| (point.nanos - least.nanos) as f64 / (point.bytes - least.bytes) as f64);
    let nanos_per_byte = median(slopes.collect())?;
    let fixed = fitted().filter(|point| point.bytes <= SMALL);
    let fixed = median(
        fixed
            .map(|point| point.nanos as f64 - nanos_per_byte * point.bytes as f64)
            .collect(),
    )?
    .max(0.0);
    let errors: Vec<f64> = points
        .iter()
        .skip(1)
        .step_by(2)
        .map(|point| {
            let predicted = fixed + nanos_per_byte * point.bytes as f64;
            (predicted - point.nanos as f64).abs() / point.nanos.max(1) as f64
        })
        .collect();
    Some(Line {
        fixed_ns: fixed.round() as u64,
        bytes_per_s: (1e9 / nanos_per_byte).round() as u64,
        error_max: errors.iter().copied().fold(0.0, f64::max),
        error_median: median(errors).unwrap_or(0.0),
    })
}

/// The value in the middle, the upper of two.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// A value that is to be a sum of terms, each times a constant; its deviation counts relative to `scale`.
#[derive(Clone, Copy, Debug)]
pub struct Weighed {
    /// What the constants are multiplied with.
    pub terms: [f64; 3],
    /// What it should come to.
    pub value: f64,
    /// Of the deviation.
    pub scale: f64,
}

/// The constants, none negative, with the least sum of relative deviations: by least squares that are weighed anew until they
/// are (Weiszfeld's iteration; Schlossmacher, 1973).
pub fn least_deviations(rows: &[Weighed]) -> [f64; 3] {
    /// Deviations below this count alike, so that no weight is infinite.
    const NONE: f64 = 1e-5;
    none_negative(|free| {
        let mut constants = [0.0; 3];
        let mut weights = vec![1.0; rows.len()];
        for _ in 0..100 {
            constants = least_squares(rows, &weights, free);
            for (row, weight) in rows.iter().zip(&mut weights) {
                let fitted: f64 = row.terms.iter().zip(constants).map(|(a, b)| a * b).sum();
                *weight = 1.0 / ((fitted - row.value).abs() / row.scale).max(NONE);
            }
        }
        constants
    })
}

/// The constants, none negative, with the least squares of relative deviations by these weights.
pub fn least_squares_from_zero(rows: &[Weighed], weights: &[f64]) -> [f64; 3] {
    none_negative(|free| least_squares(rows, weights, free))
}

/// What `fit` gives with as many constants free as leave none negative.
fn none_negative(fit: impl Fn([bool; 3]) -> [f64; 3]) -> [f64; 3] {
    let mut free = [true; 3];
    loop {
        let constants = fit(free);
        // The most negative one is none, and the others are sought again.
        let least = (0..3).min_by(|a, b| constants[*a].total_cmp(&constants[*b]));
        match least.filter(|least| constants[*least] < 0.0) {
            Some(least) => free[least] = false,
            None => return constants,
        }
    }
}

/// Weighted least squares over the constants that are free; the others are 0, as are those that nothing tells apart.
fn least_squares(rows: &[Weighed], weights: &[f64], free: [bool; 3]) -> [f64; 3] {
    // Normal equations, with the terms brought to one size.
    let sizes: [f64; 3] = std::array::from_fn(|at| {
        let largest = rows.iter().map(|row| row.terms[at].abs() / row.scale);
        largest.fold(f64::MIN_POSITIVE, f64::max)
    });
    let mut system = [[0.0; 4]; 3];
    for (row, weight) in rows.iter().zip(weights) {
        let terms: [f64; 3] = std::array::from_fn(|at| {
            let share = row.terms[at] / row.scale / sizes[at];
            if free[at] { share } else { 0.0 }
        });
        for (line, own) in system.iter_mut().zip(terms) {
            for (cell, other) in line.iter_mut().zip(terms) {
                *cell += weight * own * other;
            }
            line[3] += weight * own * row.value / row.scale;
        }
    }
    // Gauss and Jordan, largest pivot first.
    let mut solved = [None; 3];
    for column in 0..3 {
        let pivot = (0..3)
            .filter(|line| !solved.contains(&Some(*line)))
            .max_by(|a, b| {
                system[*a][column]
                    .abs()
                    .total_cmp(&system[*b][column].abs())
            });
        let Some(pivot) = pivot.filter(|line| system[*line][column].abs() > 1e-12) else {
            continue;
        };
        solved[column] = Some(pivot);
        let own = system[pivot].map(|cell| cell / system[pivot][column]);
        system[pivot] = own;
        for line in (0..3).filter(|line| *line != pivot) {
            let factor = system[line][column];
            for (cell, own) in system[line].iter_mut().zip(own) {
                *cell -= factor * own;
            }
        }
    }
    std::array::from_fn(|at| solved[at].map_or(0.0, |line| system[line][3] / sizes[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 4 us and 50 bytes a nanosecond, from 4 KiB on, doubling.
    fn points() -> Vec<Point> {
        (12..30)
            .map(|power| 1_u64 << power)
            .map(|bytes| Point {
                bytes,
                nanos: 4_000 + bytes / 50,
            })
            .collect()
    }

    #[test]
    fn a_line_is_found_again() {
        let line = line(&points()).unwrap();
        assert!((3_990..=4_010).contains(&line.fixed_ns), "{line:?}");
        assert!(
            line.bytes_per_s.abs_diff(50_000_000_000) < 50_000_000,
            "{line:?}"
        );
        assert!(line.error_max < 0.01, "{line:?}");
    }

    #[test]
    fn one_disturbed_point_moves_neither_constant() {
        let mut points = points();
        // 2^24 bytes, a point that is fitted, takes three times as long.
        points[12].nanos *= 3;
        let line = line(&points).unwrap();
        assert!((3_990..=4_010).contains(&line.fixed_ns), "{line:?}");
        assert!(
            line.bytes_per_s.abs_diff(50_000_000_000) < 100_000_000,
            "{line:?}"
        );
    }

    #[test]
    fn a_point_held_out_shows_in_the_error() {
        let mut points = points();
        points[13].nanos *= 2;
        // Half of what was measured.
        assert!((line(&points).unwrap().error_max - 0.5).abs() < 0.01);
    }

    #[test]
    fn without_large_copies_there_is_no_rate() {
        assert_eq!(line(&points()[..6]), None);
        assert_eq!(line(&[]), None);
    }

    #[test]
    fn constants_are_found_among_disturbed_sums_and_none_is_negative() {
        let rows = |truth: [f64; 3]| -> Vec<Weighed> {
            let grid = (1..6).flat_map(|a| (1..6).map(move |b| (f64::from(a), f64::from(b * b))));
            grid.map(|(a, b)| {
                let terms = [a, a * b, 1.0];
                let value: f64 = terms.iter().zip(truth).map(|(a, b)| a * b).sum();
                Weighed {
                    terms,
                    value,
                    scale: 100.0 + value,
                }
            })
            .collect()
        };
        let truth = [3.0, 0.5, 7.0];
        let mut disturbed = rows(truth);
        // Five of 25 took three times as long.
        for row in disturbed.iter_mut().step_by(5) {
            row.value *= 3.0;
        }
        for (found, truth) in least_deviations(&disturbed).into_iter().zip(truth) {
            assert!((found / truth - 1.0).abs() < 1e-3, "{found} is not {truth}");
        }
        let [first, _, last] = least_deviations(&rows([3.0, 0.5, -2.0]));
        assert!(first > 0.0 && last.abs() < 1e-12);
    }
}
