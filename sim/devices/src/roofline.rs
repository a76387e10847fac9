//! Step times of a model that was never timed: from its geometry and the machine's peaks.
//!
//! ```text
//!   gemm(n)   = max( weight bytes read(n) / HBM bandwidth,  2 · active parameters · n / FLOP/s,  launches )
//!   attention = KV bytes read / HBM bandwidth  +  4 · layers · q_heads · head_dim · pairs / FLOP/s   (prefill)
//!             = KV bytes read / HBM bandwidth                                                        (decode)
//!   fixed     = a cost per layer, and one per decoding sequence
//! ```
//!
//! A dense model reads all its weights in every step. A sparse one reads the experts that at least one of `n` tokens
//! visits: if each visits k of E, chosen evenly, an expert is missed by all with probability (1 - k/E)^n, so
//! `bytes(n) = dense + experts · (1 - (1 - k/E)^n)`. Real routers are less even and read less.
//!
//! The result is a [`StepCost`] with a table of the tokens where the maximum bends. Integers throughout: the same
//! bits on every machine.

use crate::{Experts, ModelGeometry, StepCost, StepTable};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::num::NonZeroU64;

/// Peaks of a machine, and how much of them is reached.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roofline {
    /// HBM bandwidth.
    pub hbm_bytes_per_s: NonZeroU64,
    /// Share of it that weights and KV are read with, in parts per million.
    pub hbm_efficiency_ppm: NonZeroU64,
    /// Dense matrix FLOP/s.
    pub peak_flops: NonZeroU64,
    /// Share of it in the matrix products of a large prefill, in parts per million.
    pub gemm_efficiency_ppm: NonZeroU64,
    /// Share of it in prefill attention, in parts per million.
    pub attention_efficiency_ppm: NonZeroU64,
    /// Launches and small kernels, per layer and step.
    pub layer_ns: u64,
    /// Sampling and bookkeeping, per decoding sequence and step.
    pub decode_seq_ns: u64,
    /// Time in which the host launches the kernels of a layer, where that bounds the step (eager execution). Reading KV
    /// then hides behind it and costs nothing of its own.
    #[serde(default)]
    pub launch_ns_per_layer: u64,
}

/// Beyond it every roofline is bound by FLOP/s, and the last slope goes on.
const TOKENS_MAX: u32 = 1 << 20;

impl Roofline {
    /// What steps of `model` cost.
    pub fn step_cost(&self, model: &ModelGeometry) -> StepCost {
        let layers = u64::from(model.layers.get());
        let kv_token_ps = match self.launch_ns_per_layer {
            0 => self.read_ps(u128::from(model.kv_bytes_per_token().0)),
            _ => 0,
        };
        let q_width = u128::from(model.q_heads.get()) * u128::from(model.head_dim.get());
        let pair_flops = 4 * u128::from(layers) * q_width;
        StepCost {
            fixed_ps: self.layer_ns * layers * 1_000,
            gemm: self.gemm(model),
            prefill_kv_token_ps: kv_token_ps,
            prefill_pair_ps: self.compute_ps(pair_flops, self.attention_efficiency_ppm),
            decode_seq_ps: self.decode_seq_ns * 1_000,
            decode_kv_token_ps: kv_token_ps,
            ..StepCost::default()
        }
    }

    fn gemm(&self, model: &ModelGeometry) -> StepTable {
        let active = model.dense_parameters() + model.active_expert_parameters();
        let dtype = u128::from(model.dtype_bytes.get());
        let launch_ps = self.launch_ns_per_layer * u64::from(model.layers.get()) * 1_000;
        let flops_ps = |tokens: u32| {
            self.compute_ps(
                2 * u128::from(active) * u128::from(tokens),
                self.gemm_efficiency_ppm,
            )
        };
        let other_ps = |tokens: u32| {
            let experts = model.experts.map_or(0, |experts| {
                let all = u128::from(model.expert_parameters()) * dtype;
                (all * u128::from(visited(experts, tokens))) >> 32
            });
            self.read_ps(u128::from(model.dense_parameters()) * dtype + experts)
                .max(launch_ps)
        };

        // Powers of two and their middles follow the curve of a sparse model; the knee is where FLOP/s take over.
        let mut tokens: BTreeSet<u32> = (0..20).flat_map(|bits| [1 << bits, 3 << bits]).collect();
        let knee = first_where(TOKENS_MAX, |tokens| flops_ps(tokens) >= other_ps(tokens));
        tokens.extend([knee.saturating_sub(1).max(1), knee, TOKENS_MAX]);
        let points = tokens
            .into_iter()
            .filter(|tokens| *tokens <= TOKENS_MAX)
            .map(|tokens| (tokens, flops_ps(tokens).max(other_ps(tokens))))
            .collect();
        StepTable::new(without_collinear(points)).expect("a roofline never falls")
    }

    /// Time to read from HBM, rounded down.
    fn read_ps(&self, bytes: u128) -> u64 {
        time_ps(bytes, self.hbm_bytes_per_s, self.hbm_efficiency_ppm)
    }

    fn compute_ps(&self, flops: u128, efficiency_ppm: NonZeroU64) -> u64 {
        time_ps(flops, self.peak_flops, efficiency_ppm)
    }

    /// What no single field can be checked for, as key and message.
    pub(crate) fn inconsistency(&self) -> Option<(&'static str, String)> {
        [
            (
                "compute.roofline.hbm_efficiency_ppm",
                self.hbm_efficiency_ppm,
            ),
            (
                "compute.roofline.gemm_efficiency_ppm",
                self.gemm_efficiency_ppm,
            ),
            (
                "compute.roofline.attention_efficiency_ppm",
                self.attention_efficiency_ppm,
            ),
        ]
        .into_iter()
        .find(|(_, ppm)| ppm.get() > 1_000_000)
        .map(|(key, ppm)| (key, format!("{ppm} ppm is more than all (1000000)")))
    }
}

/// `amount` at `rate` per second times an efficiency \[ps\].
fn time_ps(amount: u128, rate: NonZeroU64, efficiency_ppm: NonZeroU64) -> u64 {
    let rate = u128::from(rate.get()) * u128::from(efficiency_ppm.get());
    // amount · 10^12 ps/s · 10^6 ppm would overflow for large models: 10^12 first, the rest of the rate after.
    let ps = (amount * 1_000_000_000_000) / rate.div_ceil(1_000_000).max(1);
    u64::try_from(ps).unwrap_or(u64::MAX)
}

/// Share of the experts that at least one of `tokens` visits, in units of 2^-32.
fn visited(experts: Experts, tokens: u32) -> u64 {
    const ONE: u64 = 1 << 32;
    let (count, active) = (
        u64::from(experts.count.get()),
        u64::from(experts.active.get()),
    );
    let mut power = ONE * (count - active) / count;
    let mut missed = ONE;
    let mut exponent = tokens;
    while exponent > 0 {
        if exponent & 1 == 1 {
            missed = ((u128::from(missed) * u128::from(power)) >> 32) as u64;
        }
        power = ((u128::from(power) * u128::from(power)) >> 32) as u64;
        exponent >>= 1;
    }
    ONE - missed
}

/// The smallest of `1..=max` for which `holds`, which holds for all larger ones; `max` if for none.
fn first_where(max: u32, holds: impl Fn(u32) -> bool) -> u32 {
    let (mut low, mut high) = (1, max);
    while low < high {
        let middle = u32::midpoint(low, high);
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// Drops points of a constant stretch, other than its ends.
fn without_collinear(points: Vec<(u32, u64)>) -> Vec<(u32, u64)> {
    let mut kept: Vec<(u32, u64)> = Vec::with_capacity(points.len());
    for point in points {
        if let [.., before, last] = kept.as_slice()
            && before.1 == last.1
            && last.1 == point.1
        {
            kept.pop();
        }
        kept.push(point);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;
    use engine::device::{PrefillChunk, StepShape};

    /// The formula, also for a model that has a fit.
    fn h200(model: &str) -> StepCost {
        match catalog::hardware("h200").unwrap().compute.formula {
            crate::Formula::Roofline(roofline) => {
                roofline.step_cost(&catalog::model(model).unwrap())
            }
            crate::Formula::Linear(_) => panic!("the h200 profile is a roofline"),
        }
    }

    fn prefill(tokens: u32) -> StepShape {
        StepShape {
            prefill: vec![PrefillChunk { tokens, context: 0 }],
            ..StepShape::default()
        }
    }

    fn decode(batch: u32, context: u64) -> StepShape {
        StepShape {
            decode_seqs: batch,
            decode_kv_tokens: u64::from(batch) * context,
            ..StepShape::default()
        }
    }

    /// Model against measurement, in tenths of a per cent.
    fn error_permille(cost: &StepCost, shape: &StepShape, measured_us: i64) -> i64 {
        let model_us = (cost.step_ps(shape) / 1_000_000) as i64;
        (model_us - measured_us) * 1_000 / measured_us
    }

    #[test]
    fn llama_2_7b_on_an_h200_takes_what_was_measured_within_three_per_cent() {
        let cost = h200("llama-2-7b");
        // Measured: prefills 12.4, 48.3, 216 ms; decode under CUDA graphs. The right column is the error that the
        // model has, in tenths of a per cent; a change of the constants shows here.
        let rows = [
            (prefill(512), 12_400, 17),
            (prefill(2_048), 48_300, -13),
            (prefill(8_192), 216_000, -12),
            (decode(1, 1_024), 4_580, -2),
            (decode(8, 1_024), 5_490, -10),
            (decode(32, 1_024), 8_440, -4),
            (decode(32, 4_096), 19_700, 9),
            (decode(128, 1_024), 20_300, -1),
        ];
        let errors = rows
            .each_ref()
            .map(|(shape, measured_us, _)| error_permille(&cost, shape, *measured_us));
        assert_eq!(errors, rows.map(|(_, _, error)| error));
        assert!(errors.iter().all(|error| error.abs() <= 30));
    }

    #[test]
    fn a_dense_decode_step_is_bound_by_weights_and_a_prefill_by_flops() {
        let (model, gemm) = (
            catalog::model("llama-2-7b").unwrap(),
            h200("llama-2-7b").gemm,
        );
        // 6,607,343,616 weights without the embedding, 2 B each, at 4.49 TB/s: 2,943.1 us.
        assert_eq!(model.dense_parameters(), 6_607_343_616);
        assert_eq!(gemm.ps(1) / 1_000_000, 2_943);
        assert_eq!(gemm.ps(64), gemm.ps(1));
        // 2 x 6.607e9 x 1,024 FLOP at 0.627 x 989.5 TFLOP/s: 21,810 us.
        assert_eq!(gemm.ps(1_024) / 1_000_000, 21_810);
    }

    #[test]
    fn a_sparse_decode_step_reads_more_experts_the_more_tokens_it_has() {
        let gemm = h200("qwen3-30b-a3b").gemm;
        // One token: 1,230 M dense and 8/128 of 28,991 M expert parameters, 2 B each, over 4.49 TB/s.
        let model = catalog::model("qwen3-30b-a3b").unwrap();
        let bytes = 2 * (model.dense_parameters() + model.active_expert_parameters());
        assert_eq!(gemm.ps(1) / 1_000_000, bytes / 4_490_000);
        // All: 2 x (dense + experts). 64 tokens leave (15/16)^64 = 1.6 % unread.
        let all = 2 * (model.dense_parameters() + model.expert_parameters()) / 4_490_000;
        let share = gemm.ps(64) / 1_000_000 * 1_000 / all;
        assert_eq!(share, 984);
        assert!(gemm.ps(2) > gemm.ps(1) && gemm.ps(16) > gemm.ps(8));
    }

    #[test]
    fn the_share_of_visited_experts_is_the_closed_form() {
        let experts = catalog::model("qwen3-30b-a3b").unwrap().experts.unwrap();
        for tokens in [1, 2, 7, 64, 500] {
            let exact = 1.0 - (15.0_f64 / 16.0).powi(tokens);
            let fixed = visited(experts, tokens as u32) as f64 / f64::from(u32::MAX);
            assert!(
                (exact - fixed).abs() < 1e-8,
                "{tokens} tokens: {exact} and {fixed}"
            );
        }
    }

    #[test]
    fn the_seed_server_decodes_llama_2_7b_in_28_58_ms_whatever_the_context() {
        let model = catalog::model("llama-2-7b").unwrap();
        let cost = catalog::hardware("h100-hf-eager")
            .unwrap()
            .step_cost(&model);
        for context in [129, 1_074, 2_098] {
            assert_eq!(cost.step_ps(&decode(1, context)), 28_580_000_000);
        }
        // 1,024 tokens are still bound by launches; attention over 524,800 pairs adds 0.57 ms.
        assert_eq!(cost.step_ps(&prefill(1_024)) / 10_000_000, 2_914);
    }

    #[test]
    fn an_efficiency_above_one_is_refused() {
        let mut roofline = match catalog::hardware("h200").unwrap().compute.formula {
            crate::Formula::Roofline(roofline) => roofline,
            crate::Formula::Linear(_) => panic!("the h200 profile is a roofline"),
        };
        roofline.gemm_efficiency_ppm = NonZeroU64::new(1_000_001).unwrap();
        assert_eq!(
            roofline.inconsistency().unwrap().0,
            "compute.roofline.gemm_efficiency_ppm"
        );
    }
}
