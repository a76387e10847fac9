//! InferCept's arithmetic of waste, in token-seconds: memory held or computed in vain, times how long.
//!
//! The release works with constants of its GPU, fitted to the tokens of a step: `a` ms per token and `c` ms fixed. Its budgets are tokens
//! that can be swapped while a saturated step runs.

use model::Nanos;

/// Constants that InferCept's release patches in per model. Source: WukLab/InferCept 3a1a4da, `vllm/core/scheduler_v2.py`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Profile {
    /// Step time per token \[ms\].
    pub a: f64,
    /// Step time, fixed \[ms\].
    pub c: f64,
    /// Tokens of swap budget per token of a saturated step.
    pub swap_slope: f64,
    /// Tokens of swap budget, fixed.
    pub swap_base: f64,
    /// Tokens at which a step saturates the GPU.
    pub saturation: f64,
}

impl Profile {
    /// Waste of dropping `context` tokens and computing them again in chunks beside `running` turns, whose `resident` tokens wait.
    pub fn discard(&self, context: u32, running: u32, resident: u64) -> f64 {
        let tokens = f64::from(context);
        let resident = resident as f64;
        let chunk = (self.saturation - f64::from(running)).max(1.0);
        let chunks = ((tokens / chunk).ceil() - 1.0).max(0.0);
        let chunk_s = self.a * chunk / 1e3;
        let step_s = (self.a * self.saturation + self.c) / 1e3;
        let rest = tokens % chunk;
        let tail = self.a * rest / 1e3 * (resident + rest);
        step_s * (chunks + 1.0) * chunks / 2.0 * chunk + chunk_s * chunks * resident + tail
    }

    /// Tokens that may be swapped in during the next step, with `free` tokens of HBM unused.
    pub fn budget_in(&self, free: f64) -> f64 {
        (self.swap_slope * self.saturation + self.swap_base + free / 2.0).max(0.0)
    }

    /// Tokens that may be swapped out during the next step.
    pub fn budget_out(&self, free: f64) -> f64 {
        ((1.0 + self.swap_slope) * self.saturation + self.swap_base - free / 2.0).max(0.0)
    }
}

/// The paper's WasteChunkD: half of the recomputation's own memory, and the time that `others` resident tokens wait for its `chunks` chunks.
pub(crate) fn chunked_discard(
    context: u32,
    whole: Nanos,
    chunks: u32,
    chunk: Nanos,
    others: u64,
) -> f64 {
    let own = whole.as_secs_f64() * f64::from(context) / 2.0;
    own + f64::from(chunks) * chunk.as_secs_f64() * others as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The release's constants for a 13B model on two A100s.
    const B13: Profile = Profile {
        a: 0.0279,
        c: 15.4,
        swap_slope: -0.3297,
        swap_base: 93.99,
        saturation: 384.0,
    };
    /// And for a 6B model.
    const B6: Profile = Profile {
        a: 0.0463,
        c: 10.0,
        swap_slope: 0.00462,
        swap_base: 108.99,
        saturation: 384.0,
    };

    fn close(value: f64, expected: f64, digits: f64) {
        assert!((value - expected).abs() < digits, "{value}, not {expected}");
    }

    #[test]
    fn dropping_4096_tokens_wastes_as_much_as_holding_them_for_0_72_seconds() {
        // Chunk 384 - 64 = 320; chunks ceil(4096/320) - 1 = 12; chunk time 0.0279·320 = 8.928 ms; step 0.0279·384 + 15.4 = 26.1136 ms.
        // 0.0261136·13·12/2·320 = 651.80; 0.008928·12·20,000 = 2,142.72; the rest of 256 tokens: 0.0071424·20,256 = 144.68.
        let waste = B13.discard(4096, 64, 20_000);
        close(waste, 2939.19, 0.005);
        close(waste / 4096.0, 0.7176, 0.000_05);
        let waste = B6.discard(4096, 64, 20_000);
        close(waste, 4489.30, 0.005);
        close(waste / 4096.0, 1.0960, 0.000_05);
    }

    #[test]
    fn a_shorter_context_is_cheaper_to_drop_and_no_cheaper_per_token() {
        // 1,024 tokens: three chunks of 320 and a rest of 64.
        close(B13.discard(1024, 64, 20_000), 621.64, 0.005);
        close(B13.discard(1024, 64, 20_000) / 1024.0, 0.6071, 0.000_05);
        close(B6.discard(1024, 64, 20_000), 1001.75, 0.005);
        close(B6.discard(1024, 64, 20_000) / 1024.0, 0.9783, 0.000_05);
    }

    #[test]
    fn nothing_is_swapped_in_while_memory_is_short() {
        // 13B, in: -0.3297·384 + 93.99 = -32.6, plus free/2: 0, 47.4 and 767.4 tokens. Out: 0.6703·384 + 93.99 = 351.4, less free/2.
        let blocks = |tokens: f64| (tokens / 16.0) as u32;
        let both = |profile: &Profile, free: f64| {
            (
                blocks(profile.budget_in(free)),
                blocks(profile.budget_out(free)),
            )
        };
        assert_eq!(
            [0.0, 160.0, 1600.0].map(|free| both(&B13, free)),
            [(0, 21), (2, 16), (47, 0)]
        );
        assert_eq!(
            [0.0, 160.0, 1600.0].map(|free| both(&B6, free)),
            [(6, 30), (11, 25), (56, 0)]
        );
        assert_eq!(blocks(B13.budget_in(97.0)), 0);
        assert_eq!(blocks(B13.budget_in(98.0)), 1);
    }

    #[test]
    fn the_papers_waste_counts_half_of_the_recomputation_and_all_who_wait_for_it() {
        // 2 s for 1,000 tokens: 2·1,000/2 = 1,000; five chunks of 0.3 s, with 100 tokens waiting: 150.
        let waste = chunked_discard(
            1_000,
            Nanos::from_millis(2_000),
            5,
            Nanos::from_millis(300),
            100,
        );
        close(waste, 1_150.0, 1e-9);
    }
}
