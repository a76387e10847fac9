//! How long attention of prompts takes by a plan: CTAs that share multiprocessors.
//!
//! [`PrefillPlan::new`] ranks lengths by rounds of CTAs that are all as fast. Where the last round is thin, as with 9 tiles of 32 heads on 132
//! multiprocessors, that says a fifth too much: a CTA that is alone on its multiprocessor is half as fast again. Calibrations want the time itself, for
//! numbers of tiles that they did not time.

use crate::prefill_plan::{CTA_PS, CTAS_PER_MULTIPROCESSOR, PrefillPlan, ROW_PS, TILE_PS};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What a CTA takes alone on its multiprocessor, of what it takes beside another \[%\]. By `measurements/prefill_parts.csv`, rounds of 32 to 128 CTAs
/// that take 80 us and more; the planner's ratio is nearer to those that are soon over, among which it chooses.
const ALONE_PERCENT: u64 = 65;

impl PrefillPlan {
    /// What this plan takes for one layer of `q_heads` heads \[ps\]: CTAs placed in the order of the list, each where one ends first, and the rows of
    /// partial sums. Of the single prompts of `measurements/prefill_parts.csv` that take 80 us and more, half are within 3 %.
    #[must_use]
    pub fn takes_ps(&self, q_heads: u32, multiprocessors: u32) -> u64 {
        let of = |tiles: u32| u64::from(tiles) * TILE_PS + CTA_PS;
        let heads = q_heads as usize;
        let ctas = self
            .part_tiles()
            .flat_map(|tiles| std::iter::repeat_n(of(tiles), heads));
        let rows = u64::from(self.sizes().partial_rows) * u64::from(q_heads);
        last_end(ctas, multiprocessors as usize) + rows * ROW_PS
    }
}

/// When the last of `ctas`, by what each takes beside another, ends \[ps\].
fn last_end(mut ctas: impl Iterator<Item = u64>, multiprocessors: usize) -> u64 {
    // What is left of the CTAs of each.
    let mut held: Vec<Vec<u64>> = vec![Vec::new(); multiprocessors];
    for _ in 0..CTAS_PER_MULTIPROCESSOR {
        for own in &mut held {
            own.extend(ctas.next());
        }
    }
    let next = |own: &[u64]| {
        let least = own.iter().min()?;
        Some(match own.len() {
            1 => least * ALONE_PERCENT / 100,
            _ => *least,
        })
    };
    // When the next CTA of each ends. One at a time: what is left of a list is spread over all that are free at once.
    let mut order = 0;
    let mut ends = BinaryHeap::new();
    for (place, own) in held.iter().enumerate() {
        ends.extend(next(own).map(|at| Reverse((at, order, place))));
        order += 1;
    }
    let mut last = 0;
    while let Some(Reverse((at, _, place))) = ends.pop() {
        last = at;
        let own = &mut held[place];
        let Some((ended, &least)) = own.iter().enumerate().min_by_key(|cta| cta.1) else {
            continue;
        };
        own.swap_remove(ended);
        for left in own.iter_mut() {
            *left -= least;
        }
        own.extend(ctas.next());
        ends.extend(next(own).map(|takes| Reverse((at + takes, order, place))));
        order += 1;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measured::rows;
    use crate::prefill_plan::PrefillChunk;

    #[test]
    fn a_thin_last_round_takes_less_than_a_full_one() {
        let rounds = |count: usize| last_end(std::iter::repeat_n(100, count), 132);
        assert_eq!(rounds(0), 0);
        assert_eq!(rounds(132), 65);
        assert_eq!(rounds(133), 100);
        assert_eq!(rounds(264), 100);
        // One on each of 24 and of 132 multiprocessors, then two on some.
        assert_eq!([288, 396, 397].map(rounds), [165, 165, 200]);
        assert_eq!(rounds(3 * 264), 300);
    }

    #[test]
    fn what_is_left_alone_goes_on_faster() {
        // Beside the other for 40, then alone: 60 more of its work.
        assert_eq!(last_end([100, 40].into_iter(), 1), 40 + 39);
    }

    #[test]
    fn single_prompts_take_what_was_measured() {
        let measured = include_str!("../measurements/prefill_parts.csv");
        let mut errors: Vec<f64> = rows(measured)
            .filter_map(|[_, chunk, part_tokens, _, nanos]| {
                let (past, tokens) = chunk.split_once('+').filter(|_| !chunk.contains(' '))?;
                let [past, tokens, part_tokens, nanos] =
                    [past, tokens, part_tokens, nanos].map(|cell| cell.parse::<u32>().unwrap());
                let context = past + tokens;
                let chunk = PrefillChunk { tokens, context };
                let plan = PrefillPlan::with_parts_of(part_tokens, &[chunk]);
                let error = plan.takes_ps(32, 132) as f64 / 1e3 / f64::from(nanos) - 1.0;
                (nanos >= 80_000).then_some(error.abs())
            })
            .collect();
        errors.sort_by(f64::total_cmp);
        let at = |percent: usize| errors[errors.len() * percent / 100];
        assert!(errors.len() > 100, "{}", errors.len());
        assert!(at(50) < 0.03 && at(90) < 0.06, "{} {}", at(50), at(90));
    }
}
