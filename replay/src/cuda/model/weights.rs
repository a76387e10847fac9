//! Random weights, made on the GPU.
//!
//! ```text
//!   embedding | layer 0: attention_norm, qkv, [bias], [head_norm], output, mlp_norm, gate_up, down | layer 1 .. | norm | logits
//! ```
//!
//! One allocation; tensor i is uniform in `[-bound, bound)` by `kernels::random` with seed i, so that any other program can make the same
//! weights from this list. Projections are bounded by `sqrt(3 / inner)`, which keeps the variance of what they are given.
//!
//! Q, K and V are one projection, and so are gate and up, whose rows alternate eight by eight (`skinny_gemm.cu` says why).

use super::{Geometry, ModelError};
use kernels::gpu::{DeviceBuffer, Gpu, Stream, View};
use kernels::random::Random;

/// Tensors begin at multiples of this \[bytes\].
const ALIGNMENT: u64 = 256;

/// One tensor of the list.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Such as `layers.3.qkv`.
    pub name: String,
    /// Rows; 1 for a vector.
    pub rows: u32,
    /// Elements of a row.
    pub columns: u32,
    /// Elements lie in `[-bound, bound)`.
    pub bound: f32,
}

/// Weights of one layer, bf16, row-major, rows being outputs.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerWeights {
    /// `[hidden]`.
    pub attention_norm: View,
    /// `[qkv_width][hidden]`: Q, K, V.
    pub qkv: View,
    /// `[qkv_width]`.
    pub bias: Option<View>,
    /// `[2][head_dim]`: for Q, for K.
    pub head_norm: Option<View>,
    /// `[hidden][q_width]`.
    pub output: View,
    /// `[hidden]`.
    pub mlp_norm: View,
    /// `[intermediate / 8][2][8][hidden]`: gate, up.
    pub gate_up: View,
    /// `[hidden][intermediate]`.
    pub down: View,
}

/// All weights.
pub(super) struct Weights {
    /// `[vocab][hidden]`.
    pub embedding: View,
    pub layers: Vec<LayerWeights>,
    /// `[hidden]`.
    pub norm: View,
    /// `[vocab][hidden]`.
    pub logits: View,
    _memory: DeviceBuffer,
}

impl Tensor {
    fn new(name: String, rows: u32, columns: u32, bound: f32) -> Self {
        Self {
            name,
            rows,
            columns,
            bound,
        }
    }

    fn bytes(&self) -> u64 {
        2 * u64::from(self.rows) * u64::from(self.columns)
    }
}

/// Every tensor of a model, in the order of the seeds.
pub fn tensors(geometry: &Geometry) -> Vec<Tensor> {
    let projection = |name: String, rows: u32, inner: u32| {
        Tensor::new(name, rows, inner, (3.0 / f64::from(inner)).sqrt() as f32)
    };
    let vector = |name: String, columns: u32| Tensor::new(name, 1, columns, 1.0);
    let g = geometry;
    let mut list = vec![Tensor::new("embedding".to_owned(), g.vocab, g.hidden, 1.0)];
    for layer in 0..g.layers {
        let named = |part: &str| format!("layers.{layer}.{part}");
        list.push(vector(named("attention_norm"), g.hidden));
        list.push(projection(named("qkv"), g.qkv_width(), g.hidden));
        if g.qkv_bias {
            list.push(vector(named("bias"), g.qkv_width()));
        }
        if g.qk_norm {
            list.push(Tensor::new(named("head_norm"), 2, g.head_dim, 1.0));
        }
        list.push(projection(named("output"), g.hidden, g.q_width()));
        list.push(vector(named("mlp_norm"), g.hidden));
        list.push(projection(named("gate_up"), 2 * g.intermediate, g.hidden));
        list.push(projection(named("down"), g.hidden, g.intermediate));
    }
    list.push(vector("norm".to_owned(), g.hidden));
    if !g.tied_embeddings {
        list.push(projection("logits".to_owned(), g.vocab, g.hidden));
    }
    list
}

impl Weights {
    /// Takes the memory and fills it.
    ///
    /// # Errors
    /// If the GPU has too little memory.
    pub fn new(gpu: &Gpu, stream: &Stream, geometry: &Geometry) -> Result<Self, ModelError> {
        let list = tensors(geometry);
        let bytes: u64 = list
            .iter()
            .map(|tensor| tensor.bytes().next_multiple_of(ALIGNMENT))
            .sum();
        let memory = DeviceBuffer::new(gpu, bytes)?;
        let random = Random::load(gpu)?;
        let mut views = Vec::with_capacity(list.len());
        let mut at = 0;
        for (seed, tensor) in list.iter().enumerate() {
            let view = memory.view().slice(at, tensor.bytes())?;
            // Whole vectors of 16 bytes: what is filled beyond the tensor is padding.
            let filled = memory
                .view()
                .slice(at, tensor.bytes().next_multiple_of(16))?;
            random.fill(stream, filled, seed as u64, tensor.bound)?;
            views.push(view);
            at += tensor.bytes().next_multiple_of(ALIGNMENT);
        }
        let mut views = views.into_iter();
        let mut next = || views.next().expect("one view per tensor");
        let embedding = next();
        let layers = (0..geometry.layers)
            .map(|_| LayerWeights {
                attention_norm: next(),
                qkv: next(),
                bias: geometry.qkv_bias.then(&mut next),
                head_norm: geometry.qk_norm.then(&mut next),
                output: next(),
                mlp_norm: next(),
                gate_up: next(),
                down: next(),
            })
            .collect();
        let norm = next();
        let logits = if geometry.tied_embeddings {
            embedding
        } else {
            next()
        };
        Ok(Self {
            embedding,
            layers,
            norm,
            logits,
            _memory: memory,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry(name: &str) -> (Geometry, devices::ModelGeometry) {
        let model = devices::model(name).expect("a shipped geometry");
        (Geometry::of(&model).expect("dense"), model)
    }

    #[test]
    fn the_list_has_every_parameter_of_the_geometry() {
        // With a bias, with head norms, and with neither; parameters by the formulas of the simulator.
        for name in ["llama-2-7b", "qwen2.5-7b", "qwen3-32b", "llama-3.1-8b"] {
            let (geometry, model) = geometry(name);
            let elements: u64 = tensors(&geometry)
                .iter()
                .map(|tensor| tensor.bytes() / 2)
                .sum();
            assert_eq!(elements, model.parameters(), "{name}");
        }
    }

    #[test]
    fn a_tied_output_projection_is_no_tensor_of_its_own() {
        let (mut geometry, _) = geometry("llama-2-7b");
        let last = |geometry: &Geometry| tensors(geometry).pop().expect("not empty").name;
        assert_eq!(last(&geometry), "logits");
        geometry.tied_embeddings = true;
        assert_eq!(last(&geometry), "norm");
    }

    #[test]
    fn projections_keep_the_variance_of_what_they_are_given() {
        // Uniform in [-b, b) has variance b^2 / 3; times 4,096 inputs: 1.
        let (geometry, _) = geometry("llama-2-7b");
        let list = tensors(&geometry);
        let qkv = list
            .iter()
            .find(|tensor| tensor.name == "layers.0.qkv")
            .expect("there is one");
        let variance = f64::from(qkv.bound).powi(2) / 3.0 * f64::from(qkv.columns);
        assert!((variance - 1.0).abs() < 1e-6, "{variance}");
    }
}
