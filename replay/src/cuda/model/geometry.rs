//! The geometry of a model, as far as the forward pass can compute it.

use super::ModelError;
use devices::ModelGeometry;
use kernels::kv::{KvLayout, KvOrder};

/// A dense Llama-shaped transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Transformer layers.
    pub layers: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Inner width of the feed-forward layer.
    pub intermediate: u32,
    /// Query heads.
    pub q_heads: u32,
    /// Key and value heads.
    pub kv_heads: u32,
    /// Width of a head.
    pub head_dim: u32,
    /// Tokens of the vocabulary.
    pub vocab: u32,
    /// Whether the projections to Q, K and V have a bias.
    pub qkv_bias: bool,
    /// Whether Q and K are normalised per head.
    pub qk_norm: bool,
    /// Whether the output projection is the embedding.
    pub tied_embeddings: bool,
}

impl Geometry {
    /// The geometry of `model`.
    ///
    /// # Errors
    /// [`ModelError::Geometry`] for what the kernels do not compute: experts, weights that are not 16 bits wide, head widths other than
    /// 64 and 128, more than 16 query heads on a KV head, widths that are no multiple of 8.
    pub fn of(model: &ModelGeometry) -> Result<Self, ModelError> {
        let refuse = |what: String| {
            Err(ModelError::Geometry {
                model: model.name.clone(),
                what,
            })
        };
        if let Some(experts) = model.experts {
            return refuse(format!(
                "it has {} experts in a layer, and only dense layers are computed; `--compute touch` reads as many bytes",
                experts.count
            ));
        }
        if model.dtype_bytes.get() != 2 {
            return refuse(format!(
                "its weights have {} bytes, and the kernels compute in bf16, which has 2",
                model.dtype_bytes
            ));
        }
        let geometry = Self {
            layers: model.layers.get(),
            hidden: model.hidden.get(),
            intermediate: model.intermediate.get(),
            q_heads: model.q_heads.get(),
            kv_heads: model.kv_heads.get(),
            head_dim: model.head_dim.get(),
            vocab: model.vocab.get(),
            qkv_bias: model.qkv_bias,
            qk_norm: model.qk_norm,
            tied_embeddings: model.tied_embeddings,
        };
        if ![64, 128].contains(&geometry.head_dim) {
            return refuse(format!(
                "its heads are {} wide, and attention exists for 64 and 128",
                geometry.head_dim
            ));
        }
        if geometry.q_heads > 16 * geometry.kv_heads {
            return refuse(format!(
                "{} query heads on {} KV heads are more than 16 on one",
                geometry.q_heads, geometry.kv_heads
            ));
        }
        let widths = [geometry.hidden, geometry.intermediate];
        if geometry.hidden > 16_384 || widths.iter().any(|width| !width.is_multiple_of(8)) {
            return refuse(format!(
                "widths {} and {} must be multiples of 8, and the first at most 16384",
                geometry.hidden, geometry.intermediate
            ));
        }
        Ok(geometry)
    }

    /// Elements of a token's Q.
    pub fn q_width(&self) -> u32 {
        self.q_heads * self.head_dim
    }

    /// Elements of a token's Q, K and V in one layer.
    pub fn qkv_width(&self) -> u32 {
        (self.q_heads + 2 * self.kv_heads) * self.head_dim
    }

    /// The pool of `block_count` blocks of `block_tokens` tokens.
    pub fn kv_layout(&self, order: KvOrder, block_count: u32, block_tokens: u32) -> KvLayout {
        KvLayout {
            order,
            block_count,
            layers: self.layers,
            kv_heads: self.kv_heads,
            block_tokens,
            head_dim: self.head_dim,
        }
    }

    /// Bytes of the weights that a decode step reads: all but the embedding, of which it takes a row a sequence.
    pub fn weight_bytes_read(&self) -> u64 {
        let wide = u64::from;
        let layer = wide(self.qkv_width() + self.q_width()) * wide(self.hidden)
            + 3 * wide(self.hidden) * wide(self.intermediate);
        2 * (wide(self.layers) * layer + wide(self.vocab) * wide(self.hidden))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str) -> ModelGeometry {
        devices::model(name).expect("a shipped geometry")
    }

    #[test]
    fn every_dense_model_that_is_shipped_is_computed_and_the_sparse_one_is_refused_by_name() {
        for name in [
            "llama-2-7b",
            "llama-2-13b",
            "llama-3-70b",
            "llama-3.1-8b",
            "llama-3.1-70b",
            "qwen2.5-7b",
            "qwen2.5-14b",
            "qwen3-32b",
        ] {
            assert!(Geometry::of(&known(name)).is_ok(), "{name}");
        }
        let error = Geometry::of(&known("qwen3-30b-a3b")).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("model `qwen3-30b-a3b`: it has 128 experts"),
            "{text}"
        );
    }

    #[test]
    fn a_decode_step_of_llama_2_7b_reads_13_2_gb_of_weights() {
        // 32 layers of 4,096 * (12,288 + 4,096) + 3 * 4,096 * 11,008 = 202,375,168, and 32,000 * 4,096; two bytes each.
        let geometry = Geometry::of(&known("llama-2-7b")).unwrap();
        assert_eq!(
            geometry.weight_bytes_read(),
            2 * (32 * 202_375_168 + 131_072_000)
        );
    }

    #[test]
    fn an_odd_head_width_is_refused_with_what_exists() {
        let mut model = known("llama-2-7b");
        model.head_dim = std::num::NonZeroU32::new(96).unwrap();
        let text = Geometry::of(&model).unwrap_err().to_string();
        assert!(
            text.contains("96 wide") && text.contains("64 and 128"),
            "{text}"
        );
    }
}
