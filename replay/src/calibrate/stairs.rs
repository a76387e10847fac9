//! Tables of steps over their tokens: stairs, for a padded pass takes as long as any of its bucket, and rising.

use super::fit::median;
use devices::StepTable;
use std::collections::BTreeMap;

/// Numbers of rows that passes are padded to; empty, if they are not.
#[derive(Clone, Copy)]
pub struct Stairs<'a>(pub &'a [u32]);

impl Stairs<'_> {
    /// What a step of `tokens` is padded to.
    pub fn end(self, tokens: u32) -> u32 {
        let place = self.0.partition_point(|end| *end < tokens);
        self.0.get(place).copied().unwrap_or(tokens)
    }

    /// The fewest tokens that are padded to `end`.
    fn start(self, end: u32) -> u32 {
        match self.0.binary_search(&end) {
            Ok(0) => 1,
            Ok(place) => self.0[place - 1] + 1,
            Err(_) => end,
        }
    }

    /// A rising table of times over tokens, `values`: the median of each bucket, and level within it.
    ///
    /// # Errors
    /// As [`StepTable::new`].
    pub fn table(self, values: impl Iterator<Item = (u32, f64)>) -> Result<StepTable, String> {
        let mut by_end: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for (tokens, value) in values {
            by_end.entry(self.end(tokens)).or_default().push(value);
        }
        let medians = by_end
            .into_iter()
            .filter_map(|(end, values)| Some((end, median(values)?)));
        self.level(&medians.collect::<Vec<_>>())
    }

    /// A rising table with these times at its ends, and level from each start on. Where no step was timed it rises evenly.
    fn level(self, ends: &[(u32, f64)]) -> Result<StepTable, String> {
        let mut points = Vec::with_capacity(2 * ends.len());
        for (end, ps) in rising(ends) {
            let start = self.start(end);
            if start < end {
                points.push((start, ps));
            }
            points.push((end, ps));
        }
        StepTable::new(points)
    }
}

/// The nearest table that never falls: neighbours that do share their mean (isotonic regression; Barlow et al., 1972).
/// More tokens never take less time, for a step can be padded; where they seem to, the timing was disturbed.
pub fn rising(points: &[(u32, f64)]) -> Vec<(u32, u64)> {
    // Sum and count of each run of equal times.
    let mut runs: Vec<(f64, u32)> = Vec::new();
    let mean = |(sum, count): (f64, u32)| sum / f64::from(count);
    for (_, nanos) in points {
        let mut run = (*nanos, 1);
        while let Some(&before) = runs.last().filter(|before| mean(**before) > mean(run)) {
            runs.pop();
            run = (run.0 + before.0, run.1 + before.1);
        }
        runs.push(run);
    }
    let times = runs
        .into_iter()
        .flat_map(|run| std::iter::repeat_n(picoseconds(mean(run)), run.1 as usize));
    let tokens = points.iter().map(|(tokens, _)| *tokens);
    tokens.zip(times).collect()
}

/// Rounded to what profiles hold; nothing takes less than no time.
pub fn picoseconds(nanos: f64) -> u64 {
    (nanos.max(0.0) * 1e3).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_fall_share_their_mean() {
        let points = [(1, 5.0), (2, 9.0), (3, 7.0), (4, 8.0), (5, 10.0)];
        // 9, 7 and 8 come to 8 each: no value is off by more than it must be.
        let expected = [(1, 5_000), (2, 8_000), (3, 8_000), (4, 8_000), (5, 10_000)];
        assert_eq!(rising(&points), expected);
    }

    #[test]
    fn a_table_is_level_within_a_bucket() {
        let stairs = Stairs(&[1, 4, 8, 16, 32]);
        assert_eq!(
            [1, 2, 8, 9, 33].map(|tokens| stairs.end(tokens)),
            [1, 4, 8, 16, 33]
        );
        assert_eq!([1, 4, 16, 33].map(|end| stairs.start(end)), [1, 2, 9, 33]);
        // Nothing of 5 to 8 tokens was timed.
        let table = stairs
            .level(&[(1, 3.0), (4, 4.0), (16, 6.0), (33, 9.0)])
            .unwrap();
        let level = [
            (1, 3_000),
            (2, 4_000),
            (4, 4_000),
            (9, 6_000),
            (16, 6_000),
            (33, 9_000),
        ];
        assert_eq!(table.points(), level);
    }
}
