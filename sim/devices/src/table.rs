//! Times of a step over what it counts, in straight lines between points.

use serde::Deserialize;

/// A time over the tokens of a step, or over its decoding sequences. Empty: no time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<(u32, u64)>")]
pub struct StepTable(Vec<(u32, u64)>);

impl StepTable {
    /// From pairs of tokens and picoseconds.
    ///
    /// # Errors
    /// If the tokens do not increase, or the times decrease.
    pub fn new(points: Vec<(u32, u64)>) -> Result<Self, String> {
        for pair in points.windows(2) {
            let [(tokens, ps), (next_tokens, next_ps)] = pair else {
                continue;
            };
            if next_tokens <= tokens || next_ps < ps {
                return Err(format!(
                    "point [{next_tokens}, {next_ps}] follows [{tokens}, {ps}]: tokens must increase, and times not decrease"
                ));
            }
        }
        Ok(Self(points))
    }

    /// From pairs of tokens and picoseconds, which may fall.
    ///
    /// # Errors
    /// If the tokens do not increase.
    pub fn uneven(points: Vec<(u32, u64)>) -> Result<Self, String> {
        match points.windows(2).find(|pair| pair[1].0 <= pair[0].0) {
            Some(pair) => Err(format!(
                "point {:?} follows {:?}: tokens must increase",
                pair[1], pair[0]
            )),
            None => Ok(Self(points)),
        }
    }

    /// Its pairs of tokens and picoseconds.
    pub fn points(&self) -> &[(u32, u64)] {
        &self.0
    }

    /// Time for `tokens` \[ps\]: linear between points, rounded down; before the first point its time; beyond the
    /// last one the slope of the last two, down to no time.
    pub fn ps(&self, tokens: u32) -> u64 {
        let after = self.0.partition_point(|(at, _)| *at <= tokens);
        let (from, to) = match (after, self.0.as_slice()) {
            (_, []) => return 0,
            (0, [first, ..]) | (1, [first]) => return first.1,
            (after, points) if after == points.len() => (points[after - 2], points[after - 1]),
            (after, points) => (points[after - 1], points[after]),
        };
        let rise = (i128::from(to.1) - i128::from(from.1)) * i128::from(tokens - from.0);
        let at = i128::from(from.1) + rise.div_euclid(i128::from(to.0 - from.0));
        at.max(0) as u64
    }
}

/// An uneven one, from pairs.
pub(crate) fn uneven<'de, D: serde::Deserializer<'de>>(points: D) -> Result<StepTable, D::Error> {
    StepTable::uneven(Vec::deserialize(points)?).map_err(serde::de::Error::custom)
}

impl TryFrom<Vec<(u32, u64)>> for StepTable {
    type Error = String;

    fn try_from(points: Vec<(u32, u64)>) -> Result<Self, String> {
        Self::new(points)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uneven_table_falls_between_its_points_and_ends_at_no_time() {
        let table = StepTable::uneven(vec![(128, 300), (256, 100), (384, 50)]).unwrap();
        // 300 - 200 x 64 / 128; 100 - 50 x 1 / 128, rounded down; 50 - 50 x 128 / 128, and no less.
        for (tokens, ps) in [(1, 300), (192, 200), (257, 99), (512, 0), (10_000, 0)] {
            assert_eq!(table.ps(tokens), ps, "{tokens}");
        }
        let error = StepTable::uneven(vec![(128, 300), (128, 100)]).unwrap_err();
        assert!(error.contains("tokens must increase"), "{error}");
    }

    #[test]
    fn a_table_is_flat_before_its_first_point_and_goes_on_after_its_last() {
        let table = StepTable::new(vec![(10, 100), (20, 105), (40, 205)]).unwrap();
        // Between 10 and 20: 100 + 5 x 3 / 10 = 101.5, rounded down. Beyond 40: 5 per token.
        let expected = [
            (1, 100),
            (10, 100),
            (13, 101),
            (20, 105),
            (30, 155),
            (40, 205),
            (50, 255),
        ];
        for (tokens, ps) in expected {
            assert_eq!(table.ps(tokens), ps, "{tokens} tokens");
        }
        assert_eq!(StepTable::new(vec![(5, 7)]).unwrap().ps(90), 7);
        assert_eq!(StepTable::default().ps(90), 0);
    }

    #[test]
    fn a_table_out_of_order_is_refused() {
        assert!(
            StepTable::new(vec![(10, 100), (10, 105)])
                .unwrap_err()
                .contains("[10, 105] follows [10, 100]")
        );
        assert!(StepTable::new(vec![(10, 100), (11, 99)]).is_err());
    }
}
