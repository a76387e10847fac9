//! How many KV blocks fit into HBM.
//!
//! A real server reports its block count after profiling; a run that has one uses it. This is the estimate for the
//! others, after vLLM: a share of the memory, less the weights, less what activations need at their peak.

use crate::{ModelGeometry, ProfileError};
use model::{Blocks, Bytes};

/// Memory that is given to KV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HbmBudget {
    /// Memory of the card.
    pub hbm: Bytes,
    /// A smaller card to pretend, if any.
    pub cap: Option<Bytes>,
    /// Share of it that the server may use, in parts per million; vLLM's default is 900,000.
    pub utilisation_ppm: u32,
    /// Kept for activations; [`activation_bytes`] estimates it.
    pub activation_reserve: Bytes,
}

impl HbmBudget {
    /// Blocks of `block_tokens` tokens beside the weights of `model`:
    /// floor((min(hbm, cap) · utilisation - weights - reserve) / block bytes).
    ///
    /// # Errors
    /// If not one block fits, or the utilisation is not in 1..=1,000,000 ppm.
    ///
    /// # Panics
    /// If `block_tokens` is 0.
    pub fn kv_blocks(
        &self,
        model: &ModelGeometry,
        block_tokens: u32,
    ) -> Result<Blocks, ProfileError> {
        if !(1..=1_000_000).contains(&self.utilisation_ppm) {
            return Err(ProfileError::Utilisation(self.utilisation_ppm));
        }
        let hbm = self.cap.map_or(self.hbm, |cap| cap.min(self.hbm));
        let usable =
            Bytes((u128::from(hbm.0) * u128::from(self.utilisation_ppm) / 1_000_000) as u64);
        let (weights, block) = (model.weight_bytes(), model.block_bytes(block_tokens));
        let room = usable
            .saturating_sub(weights)
            .saturating_sub(self.activation_reserve);
        match u32::try_from(room.0 / block.0).unwrap_or(u32::MAX) {
            0 => Err(ProfileError::does_not_fit(
                usable,
                weights,
                self.activation_reserve,
                block,
            )),
            blocks => Ok(Blocks(blocks)),
        }
    }
}

/// Peak of activations in a step of `tokens` tokens: residual stream, its normalised copy, attention output and MLP output
/// (4 · hidden), Q, K and V, gate and up (2 · width that a token meets), and logits in f32 for `seqs` sequences.
/// Modelled: buffers are assumed to be reused from layer to layer, as serving engines do.
pub fn activation_bytes(model: &ModelGeometry, tokens: u32, seqs: u32) -> Bytes {
    let wide = |figure: std::num::NonZeroU32| u64::from(figure.get());
    let qkv = (wide(model.q_heads) + 2 * wide(model.kv_heads)) * wide(model.head_dim);
    let mlps = model.experts.map_or(1, |experts| wide(experts.active));
    let elements = 4 * wide(model.hidden) + qkv + 2 * wide(model.intermediate) * mlps;
    Bytes(
        u64::from(tokens) * elements * wide(model.dtype_bytes)
            + u64::from(seqs) * wide(model.vocab) * 4,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;

    const BUDGET: HbmBudget = HbmBudget {
        hbm: Bytes(141_000_000_000),
        cap: Some(Bytes(80_000_000_000)),
        utilisation_ppm: 900_000,
        activation_reserve: Bytes(1_000_000_000),
    };

    #[test]
    fn blocks_fill_what_weights_and_activations_leave() {
        let model = catalog::model("llama-3.1-8b").unwrap();
        // 72,000,000,000 - 16,060,522,496 - 1,000,000,000 = 54,939,477,504 B; over 2,097,152 B: 26,197.18.
        assert_eq!(BUDGET.kv_blocks(&model, 16).unwrap(), Blocks(26_197));
    }

    #[test]
    fn a_cap_above_the_card_changes_nothing() {
        let model = catalog::model("llama-3.1-8b").unwrap();
        let capped = HbmBudget {
            cap: Some(Bytes(u64::MAX)),
            ..BUDGET
        };
        let free = HbmBudget {
            cap: None,
            ..BUDGET
        };
        assert_eq!(
            capped.kv_blocks(&model, 16).unwrap(),
            free.kv_blocks(&model, 16).unwrap()
        );
    }

    #[test]
    fn a_model_that_does_not_fit_is_an_error_with_its_sizes() {
        let text = BUDGET
            .kv_blocks(&catalog::model("llama-3-70b").unwrap(), 16)
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("72000000000 B usable") && text.contains("weights take 141107412992 B"),
            "{text}"
        );
    }

    #[test]
    fn a_utilisation_of_nothing_or_more_than_all_is_an_error() {
        let model = catalog::model("llama-3.1-8b").unwrap();
        for utilisation_ppm in [0, 1_000_001] {
            let text = HbmBudget {
                utilisation_ppm,
                ..BUDGET
            }
            .kv_blocks(&model, 16)
            .unwrap_err()
            .to_string();
            assert!(text.contains(&utilisation_ppm.to_string()), "{text}");
        }
    }

    #[test]
    fn activations_of_a_large_step_take_about_a_gigabyte() {
        let model = catalog::model("llama-3.1-8b").unwrap();
        // 8,192 x (4 x 4,096 + 6,144 + 2 x 14,336) x 2 B + 256 x 128,256 x 4 B.
        let expected = 8_192 * (16_384 + 6_144 + 28_672) * 2 + 256 * 128_256 * 4;
        assert_eq!(activation_bytes(&model, 8_192, 256), Bytes(expected));
    }
}
