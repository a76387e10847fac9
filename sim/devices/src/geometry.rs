//! The shape of a transformer, and what follows from it: parameters, weight bytes, KV bytes.
//!
//! Only what a model's `config.json` states is read; every size is derived, so that no two can disagree.
//! Llama-shaped models only: grouped-query attention, gated MLP (dense, or sparse in every layer), RMSNorm.
//!
//! **Absent on purpose:** latent attention, sliding windows, experts shared by all tokens. Their KV and weights
//! follow other formulas.

use model::Bytes;
use serde::Deserialize;
use std::num::NonZeroU32;

/// A model's geometry.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelGeometry {
    /// Name, as in run specs.
    pub name: String,
    /// Where the figures are from.
    pub source: String,
    /// Transformer layers.
    pub layers: NonZeroU32,
    /// Width of the residual stream.
    pub hidden: NonZeroU32,
    /// Inner width of the MLP; of one expert, if the model has experts.
    pub intermediate: NonZeroU32,
    /// Query heads.
    pub q_heads: NonZeroU32,
    /// Key and value heads.
    pub kv_heads: NonZeroU32,
    /// Width of a head.
    pub head_dim: NonZeroU32,
    /// Tokens in the vocabulary.
    pub vocab: NonZeroU32,
    /// Longest context the model was trained for, in tokens.
    pub max_context: NonZeroU32,
    /// Bytes of a weight and of a KV element: 2 for fp16 and bf16.
    pub dtype_bytes: NonZeroU32,
    /// Whether the projections to Q, K and V have a bias.
    pub qkv_bias: bool,
    /// Whether Q and K are normalised per head.
    pub qk_norm: bool,
    /// Whether the output projection is the embedding, transposed.
    pub tied_embeddings: bool,
    /// Experts of each layer's MLP; none for a dense model.
    #[serde(default)]
    pub experts: Option<Experts>,
}

/// A sparse MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experts {
    /// Experts in a layer.
    pub count: NonZeroU32,
    /// Experts that a token visits.
    pub active: NonZeroU32,
}

impl ModelGeometry {
    /// KV of one token: K and V, in all layers.
    pub fn kv_bytes_per_token(&self) -> Bytes {
        let elements = 2 * wide(self.layers) * wide(self.kv_heads) * wide(self.head_dim);
        Bytes(elements * wide(self.dtype_bytes))
    }

    /// KV of a block of `block_tokens` tokens.
    pub fn block_bytes(&self, block_tokens: u32) -> Bytes {
        Bytes(self.kv_bytes_per_token().0 * u64::from(block_tokens))
    }

    /// Contiguous pieces of a KV block where each layer keeps K and V in arrays of its own, as serving engines do.
    pub fn pieces_per_block(&self) -> u32 {
        2 * self.layers.get()
    }

    /// All parameters.
    pub fn parameters(&self) -> u64 {
        self.embedding() + self.dense_parameters() + self.expert_parameters()
    }

    /// Parameters that one token meets: all of a dense model, the visited experts of a sparse one.
    pub fn active_parameters(&self) -> u64 {
        self.embedding() + self.dense_parameters() + self.active_expert_parameters()
    }

    /// Memory of the weights.
    pub fn weight_bytes(&self) -> Bytes {
        Bytes(self.parameters() * wide(self.dtype_bytes))
    }

    /// Parameters of the matrices that every token is multiplied with. The embedding is a look-up and not among them,
    /// unless it serves as output projection too.
    pub fn dense_parameters(&self) -> u64 {
        let (hidden, head) = (wide(self.hidden), wide(self.head_dim));
        let (q_width, kv_width) = (wide(self.q_heads) * head, wide(self.kv_heads) * head);
        let projections = 2 * hidden * q_width + 2 * hidden * kv_width;
        let biases = if self.qkv_bias {
            q_width + 2 * kv_width
        } else {
            0
        };
        let norms = 2 * hidden + if self.qk_norm { 2 * head } else { 0 };
        let mlp = match self.experts {
            None => self.mlp_parameters(),
            Some(experts) => hidden * wide(experts.count),
        };
        let output = if self.tied_embeddings {
            0
        } else {
            self.embedding()
        };
        wide(self.layers) * (projections + biases + norms + mlp) + hidden + output
    }

    /// Parameters of all experts; 0 for a dense model.
    pub fn expert_parameters(&self) -> u64 {
        self.experts.map_or(0, |experts| {
            self.mlp_parameters() * wide(self.layers) * wide(experts.count)
        })
    }

    /// Parameters of the experts that one token visits; 0 for a dense model.
    pub fn active_expert_parameters(&self) -> u64 {
        self.experts.map_or(0, |experts| {
            self.mlp_parameters() * wide(self.layers) * wide(experts.active)
        })
    }

    /// Gate, up and down projection of one MLP.
    fn mlp_parameters(&self) -> u64 {
        3 * wide(self.hidden) * wide(self.intermediate)
    }

    fn embedding(&self) -> u64 {
        wide(self.vocab) * wide(self.hidden)
    }

    /// What no single field can be checked for, as key and message.
    pub(crate) fn inconsistency(&self) -> Option<(&'static str, String)> {
        if !self.q_heads.get().is_multiple_of(self.kv_heads.get()) {
            let text = format!(
                "{} KV heads do not divide {} query heads",
                self.kv_heads, self.q_heads
            );
            return Some(("kv_heads", text));
        }
        let experts = self.experts?;
        (experts.active > experts.count).then(|| {
            let text = format!(
                "a token cannot visit {} of {} experts",
                experts.active, experts.count
            );
            ("experts.active", text)
        })
    }
}

fn wide(figure: NonZeroU32) -> u64 {
    u64::from(figure.get())
}

#[cfg(test)]
mod tests {
    use crate::catalog;

    #[test]
    fn kv_bytes_per_token_follow_from_the_geometry() {
        // 2 (K, V) x layers x KV heads x 128 x 2 B; for Llama-2-7B 2 x 32 x 32 x 128 x 2 = 524,288.
        for (name, bytes) in [
            ("llama-2-7b", 524_288),
            ("llama-2-13b", 819_200),
            ("llama-3.1-8b", 131_072),
            ("llama-3-70b", 327_680),
            ("llama-3.1-70b", 327_680),
            ("qwen2.5-7b", 57_344),
            ("qwen2.5-14b", 196_608),
            ("qwen3-32b", 262_144),
            ("qwen3-30b-a3b", 98_304),
        ] {
            assert_eq!(
                catalog::model(name).unwrap().kv_bytes_per_token().0,
                bytes,
                "{name}"
            );
        }
    }

    #[test]
    fn parameter_counts_are_the_published_ones() {
        for (name, parameters) in [
            ("llama-2-7b", 6_738_415_616),
            ("llama-2-13b", 13_015_864_320),
            ("llama-3.1-8b", 8_030_261_248),
            ("llama-3-70b", 70_553_706_496),
            ("qwen2.5-7b", 7_615_616_512),
            ("qwen2.5-14b", 14_770_033_664),
            ("qwen3-32b", 32_762_123_264),
            ("qwen3-30b-a3b", 30_532_122_624),
        ] {
            assert_eq!(
                catalog::model(name).unwrap().parameters(),
                parameters,
                "{name}"
            );
        }
    }

    #[test]
    fn a_sparse_model_activates_a_tenth_of_its_parameters() {
        let sparse = catalog::model("qwen3-30b-a3b").unwrap();
        // The model card says 3.3 B activated.
        assert_eq!(sparse.active_parameters() / 10_000_000, 335);
        let dense = catalog::model("llama-2-7b").unwrap();
        assert_eq!(dense.active_parameters(), dense.parameters());
    }
}
