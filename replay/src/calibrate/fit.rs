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
}
