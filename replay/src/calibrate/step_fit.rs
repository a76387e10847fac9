//! A cost of steps from timed steps, robustly.
//!
//! ```text
//!   decode     t = gemm_decode(sequences) + attention(sequences)·context        decode_fit
//!   prefill    t = gemm(tokens) + attention(tiles)·KV tokens of the mean tile
//!                  + rounds(tiles)·those of earlier context                     prefill_fit, planned
//!                  + context(tiles), if it is split                             split_fit
//!   mixed      t = gemm(tokens) + both attentions + mixed
//! ```
//!
//! A pass that is padded takes as long as any of its bucket: `gemm` and `gemm_decode` are flights of stairs between the numbers of rows and of
//! sequences that passes are padded to.
//!
//! Each constant comes from differences that nothing else changes: steps that differ in context alone give what context costs, what is
//! left of a decode step or of a prompt alone is the table over its tokens, and what is left of a mixed one is a constant.
//! They are medians and least sums of relative deviations, so that a disturbed step moves none of them.
//! Points held out are not looked at; they judge.

use super::fit::median;
use super::planned::Planned;
use super::stairs::{Stairs, picoseconds};
use super::{decode_fit, prefill_fit, split_fit};
use devices::{StepCost, StepTotals};
use std::fmt::Write as _;

/// A timed step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepPoint {
    /// What it computed.
    pub totals: StepTotals,
    /// Its time; of the mean step of a run.
    pub nanos: u64,
    /// Not fitted.
    pub held_out: bool,
    /// So much longer it took than on a rested card, for what was timed before it \[ppm\].
    pub load_ppm: u32,
}

impl StepPoint {
    /// Tokens that it computed.
    pub fn tokens(&self) -> u32 {
        self.totals.prefill_tokens + self.totals.decode_seqs
    }

    /// `prefill`, `decode` or `mixed`.
    pub fn kind(&self) -> &'static str {
        match (self.totals.prefill_tokens, self.totals.decode_seqs) {
            (0, _) => "decode",
            (_, 0) => "prefill",
            _ => "mixed",
        }
    }

    /// Its time as it would be on a rested card \[ns\].
    pub(super) fn rested(&self) -> f64 {
        self.nanos as f64 / self.slow_down()
    }

    /// What `cost` leaves of that \[ns\].
    pub(super) fn left_of(&self, cost: &StepCost) -> f64 {
        self.rested() - cost.totals_ps(&self.totals) as f64 / 1e3
    }

    fn slow_down(&self) -> f64 {
        1.0 + f64::from(self.load_ppm) / 1e6
    }

    /// What `cost` says of it \[ns\].
    pub fn predicted(&self, cost: &StepCost) -> f64 {
        cost.totals_ps(&self.totals) as f64 / 1e3 * self.slow_down()
    }

    /// `predicted / measured - 1`.
    pub fn error(&self, cost: &StepCost) -> f64 {
        self.predicted(cost) / self.nanos.max(1) as f64 - 1.0
    }
}

/// What is known of the kernels that were timed: sizes that passes are padded to, each rising (none, if they are not), and how contexts are split.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimedKernels {
    /// Rows of passes with prompts.
    pub rows: &'static [u32],
    /// Sequences of decode passes.
    pub sequences: &'static [u32],
    /// KV tokens from which on contexts of prompts are split.
    pub split_from: u32,
    /// What attention of prompts is planned for, if it is.
    pub planned: Option<Planned>,
}

/// Fits a cost, of a rested card, to the points that are not held out. Where nothing is padded, times are linear between those that were timed.
///
/// # Errors
/// If there are too few of a kind to tell the constants apart.
pub fn fit(points: &[StepPoint], kernels: TimedKernels) -> Result<StepCost, String> {
    let stairs = Stairs(kernels.rows);
    let fitted: Vec<&StepPoint> = points.iter().filter(|point| !point.held_out).collect();
    let prefill: Vec<&StepPoint> = of(&fitted, "prefill");
    let decode = decode_fit::fit(&of(&fitted, "decode"), Stairs(kernels.sequences))?;
    let (behind, alone): (Vec<&StepPoint>, Vec<&StepPoint>) = prefill
        .into_iter()
        .partition(|point| point.totals.context() > 0);
    let context = prefill_fit::fit(&behind, &alone, stairs, kernels.planned)?;
    let cost = StepCost {
        gemm_decode: decode.floor,
        decode_attention: decode.attention,
        prefill_attention: context.attention,
        prefill_rounds: context.rounds,
        ..StepCost::default()
    };
    let left = alone
        .iter()
        .map(|point| (point.tokens(), point.left_of(&cost)));
    let gemm = stairs.table(left)?;
    let cost = StepCost { gemm, ..cost };
    let split = split_fit::fit(&behind, &cost, context.long_from)?;
    let cost = StepCost {
        context: split.short,
        context_from: kernels.split_from,
        context_long: split.long,
        context_long_from: context.long_from.unwrap_or(0),
        ..cost
    };
    let beside = of(&fitted, "mixed").into_iter();
    let mixed = median(beside.map(|point| point.left_of(&cost)).collect());
    Ok(StepCost {
        mixed_ps: picoseconds(mixed.unwrap_or(0.0)),
        ..cost
    })
}

fn of<'a>(points: &[&'a StepPoint], kind: &str) -> Vec<&'a StepPoint> {
    points
        .iter()
        .copied()
        .filter(|point| point.kind() == kind)
        .collect()
}

/// The timed steps, for a file of their own.
pub fn csv(points: &[StepPoint], cost: &StepCost) -> String {
    let mut text = "kind,prefill_tokens,prefill_kv_tokens,prefill_pairs,prefill_tile_kv_tokens,decode_seqs,decode_kv_tokens,nanos,load_ppm,predicted_nanos,held_out\n"
        .to_owned();
    for point in points {
        let t = &point.totals;
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{},{},{},{:.0},{}",
            point.kind(),
            t.prefill_tokens,
            t.prefill_kv_tokens,
            t.prefill_pairs,
            t.prefill_tile_kv_tokens,
            t.decode_seqs,
            t.decode_kv_tokens,
            point.nanos,
            point.load_ppm,
            point.predicted(cost),
            point.held_out
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use devices::StepTable;

    fn truth() -> StepCost {
        StepCost {
            gemm: StepTable::new(vec![
                (1, 3_000_000_000),
                (64, 3_100_000_000),
                (256, 6_000_000_000),
                (1_024, 22_000_000_000),
            ])
            .unwrap(),
            gemm_decode: StepTable::new(vec![
                (1, 2_900_000_000),
                (16, 3_000_000_000),
                (17, 3_200_000_000),
                (64, 3_900_000_000),
            ])
            .unwrap(),
            prefill_attention: StepTable::new(vec![
                (128, 155_000),
                (256, 300_000),
                (1_024, 1_170_000),
            ])
            .unwrap(),
            decode_attention: StepTable::new(vec![
                (1, 120_000),
                (16, 1_920_000),
                (17, 2_200_000),
                (64, 7_680_000),
            ])
            .unwrap(),
            context: StepTable::new(vec![(128, 120_000_000)]).unwrap(),
            mixed_ps: 250_000_000,
            ..StepCost::default()
        }
    }

    fn points() -> Vec<StepPoint> {
        let mut all = Vec::new();
        let mut push = |totals: StepTotals| {
            let totals = totals.with_tiles(None);
            all.push(StepPoint {
                totals,
                nanos: truth().totals_ps(&totals) / 1_000,
                held_out: false,
                load_ppm: 0,
            });
        };
        for tokens in [64_u32, 256, 1_024] {
            for context in [0_u64, 2_048, 8_192] {
                let n = u64::from(tokens);
                push(StepTotals {
                    prefill_tokens: tokens,
                    prefill_kv_tokens: context + n,
                    prefill_pairs: n * context + n * (n + 1) / 2,
                    ..StepTotals::default()
                });
            }
        }
        for batch in [1_u32, 16, 17, 64] {
            for context in [256_u64, 1_024, 4_096] {
                push(StepTotals {
                    decode_seqs: batch,
                    decode_kv_tokens: u64::from(batch) * context,
                    ..StepTotals::default()
                });
            }
        }
        for tokens in [100_u32, 500] {
            for batch in [1_u32, 8, 32] {
                let n = u64::from(tokens);
                push(StepTotals {
                    prefill_tokens: tokens,
                    prefill_kv_tokens: n,
                    prefill_pairs: n * (n + 1) / 2,
                    decode_seqs: batch,
                    decode_kv_tokens: 1_024 * u64::from(batch),
                    ..StepTotals::default()
                });
            }
        }
        all
    }

    fn off(a: u64, b: u64) -> f64 {
        (a as f64 / b as f64 - 1.0).abs()
    }

    #[test]
    fn a_prompt_shorter_than_its_bucket_attends_as_its_own_tiles_do() {
        // 900 and 640 tokens are padded to 1,024: their products take as long, and their attention less.
        let truth = StepCost {
            gemm: StepTable::new(vec![
                (512, 10_000_000_000),
                (513, 20_000_000_000),
                (1_024, 20_000_000_000),
            ])
            .unwrap(),
            prefill_attention: StepTable::new(vec![(128, 1_500_000), (1_024, 12_000_000)]).unwrap(),
            ..StepCost::default()
        };
        let point = |tokens, context| {
            let bare = prefill_fit::tests::point(tokens, context, 0);
            let nanos = truth.totals_ps(&bare.totals) / 1_000;
            StepPoint { nanos, ..bare }
        };
        let mut all: Vec<StepPoint> = points();
        all.retain(|point| point.kind() == "decode");
        for tokens in [512, 513, 640, 900, 1_024] {
            all.extend([0, 9_100, 33_500].map(|context| point(tokens, context)));
        }
        let kernels = TimedKernels {
            rows: &[512, 1_024],
            ..TimedKernels::default()
        };
        let cost = fit(&all, kernels).unwrap();
        for point in all.iter().filter(|point| point.totals.context() > 0) {
            assert!(
                point.error(&cost).abs() < 1e-3,
                "{point:?} {}",
                point.error(&cost)
            );
        }
    }

    #[test]
    fn a_cost_is_found_again_from_its_own_steps() {
        let cost = fit(&points(), TimedKernels::default()).unwrap();
        let truth = truth();
        for sequences in [1, 16, 17, 40, 64] {
            let attention = |cost: &StepCost| cost.decode_attention.ps(sequences);
            assert!(off(attention(&cost), attention(&truth)) < 1e-3);
        }
        for tokens in [64, 200, 1_024] {
            let attention = |cost: &StepCost| cost.prefill_attention.ps(tokens);
            assert!(off(attention(&cost), attention(&truth)) < 0.02, "{cost:?}");
        }
        for tokens in [64, 200, 1_024] {
            assert!(off(cost.context.ps(tokens), 120_000_000) < 0.05, "{cost:?}");
        }
        assert!(off(cost.mixed_ps, truth.mixed_ps) < 0.05, "{cost:?}");
        for point in points() {
            assert!(point.error(&cost).abs() < 0.005, "{point:?}");
        }
    }

    #[test]
    fn one_disturbed_step_moves_no_other() {
        let mut disturbed = points();
        // 256 prompt tokens behind 2,048 took three times as long.
        disturbed[4].nanos *= 3;
        let cost = fit(&disturbed, TimedKernels::default()).unwrap();
        for (place, point) in points().into_iter().enumerate() {
            let allowed = if (3..6).contains(&place) { 0.2 } else { 0.02 };
            assert!(
                point.error(&cost).abs() < allowed,
                "{place}: {}",
                point.error(&cost)
            );
        }
    }

    #[test]
    fn what_load_added_is_not_fitted() {
        let mut loaded = points();
        for point in loaded.iter_mut().filter(|p| p.totals.prefill_tokens > 256) {
            point.load_ppm = 50_000;
            point.nanos = point.nanos * 105 / 100;
        }
        let (cost, rested) = (
            fit(&loaded, TimedKernels::default()).unwrap(),
            fit(&points(), TimedKernels::default()).unwrap(),
        );
        for tokens in [64, 300, 1_024] {
            assert!(off(cost.gemm.ps(tokens), rested.gemm.ps(tokens)) < 1e-6);
        }
        for point in loaded {
            assert!(point.error(&cost).abs() < 0.005, "{point:?}");
        }
    }

    #[test]
    fn a_padded_step_costs_what_its_bucket_costs() {
        // Prompts of 65 to 128 tokens are computed as 128, and one of 65 says what those cost.
        let step = |totals: &StepTotals| StepTotals {
            prefill_tokens: totals.prefill_tokens.next_power_of_two(),
            ..*totals
        };
        let mut padded = points();
        for tokens in [65_u32, 129, 257] {
            let n = u64::from(tokens);
            let totals = StepTotals {
                prefill_tokens: tokens,
                prefill_kv_tokens: n,
                prefill_pairs: n * (n + 1) / 2,
                ..StepTotals::default()
            }
            .with_tiles(None);
            padded.push(StepPoint {
                totals,
                nanos: truth().totals_ps(&step(&totals)) / 1_000,
                ..padded[0]
            });
        }
        let rows = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];
        let kernels = TimedKernels {
            rows,
            ..TimedKernels::default()
        };
        let stairs = fit(&padded, kernels).unwrap();
        let slope = fit(&padded, TimedKernels::default()).unwrap();
        let truth = truth().gemm.ps(128);
        assert!(off(stairs.gemm.ps(100), truth) < 0.01);
        assert!(off(slope.gemm.ps(100), truth) > 0.05);
    }

    #[test]
    fn what_is_held_out_is_not_looked_at() {
        let mut held = points();
        held.push(StepPoint {
            nanos: 1,
            held_out: true,
            ..held[0]
        });
        assert_eq!(
            fit(&held, TimedKernels::default()),
            fit(&points(), TimedKernels::default())
        );
    }

    #[test]
    fn too_few_steps_are_an_error_that_says_which() {
        let only = |kind: &str| {
            let own: Vec<StepPoint> = points().into_iter().filter(|p| p.kind() == kind).collect();
            fit(&own, TimedKernels::default()).unwrap_err()
        };
        assert!(only("prefill").contains("no two decode steps"));
        assert!(only("decode").contains("no two prefill steps"));
    }
}
