//! Compute `model`: the forward pass of a Llama-shaped transformer with random weights, over the paged KV pool of the replay.
//!
//! ```text
//!   StepShape ─► Placement ─► Pass ─► lists (pinned memory ─► HBM) ─► CUDA graph of a decode pass
//!                                                                  └─► kernel by kernel, with chunks of prompts
//! ```
//!
//! | file | is |
//! |---|---|
//! | `geometry` | what of a model's configuration is computed, and what is refused |
//! | `weights` | random weights, from a list that other programs can follow |
//! | `workspace` | memory for activations, taken once |
//! | `step`, `inputs` | what a pass computes, as lists, and their way to the GPU |
//! | `products` | matrix products: skinny kernel or cuBLASLt |
//! | `forward` | the kernels of a pass, in order |
//! | `graphs` | recorded decode passes |
//! | `placement` | block tables for steps of which only the sizes are known |
//!
//! bf16 weights, activations and KV; sums in float. Decode sequences continue with the token that their row sampled last (argmax).
//!
//! **Absent on purpose:** experts, positions beyond plain rotary ones (scaling changes angles, not work), sampling other than greedy.

mod forward;
mod geometry;
mod graphs;
mod inputs;
mod placement;
mod products;
mod step;
mod weights;
mod workspace;

pub use forward::EPSILON;
pub use geometry::Geometry;
pub use graphs::SEQUENCES;
pub use placement::{LANDING_BLOCKS, Laid, Placement};
pub use products::ROWS;
pub use step::{Decode, Pass, Prefill};
pub use weights::{Tensor, tensors};
pub use workspace::ROPE_BASE;

use forward::Forward;
use graphs::Graphs;
use inputs::Inputs;
use kernels::gpu::{ArgumentError, Error, Event, Gpu, Stream};
use kernels::kv::KvPool;
use step::Sizes;
use weights::Weights;
use workspace::Workspace;

/// Largest pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows: decode sequences and prompt tokens.
    pub tokens: u32,
    /// Sequences.
    pub sequences: u32,
    /// Blocks of a sequence.
    pub table_width: u32,
    /// Sequences times the blocks of the longest of them.
    pub table_entries: u32,
}

/// Why there is no forward pass.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Not a geometry that is computed.
    #[error("model `{model}`: {what}")]
    Geometry {
        /// Its name.
        model: String,
        /// What is not computed, and what would do.
        what: String,
    },
    /// A pass contradicts itself.
    #[error("sequence {sequence} of a pass {what}")]
    Pass {
        /// By position, decode sequences first.
        sequence: usize,
        /// What is wrong.
        what: String,
    },
    /// A pass is larger than the workspace.
    #[error(
        "a pass of {tokens} tokens in {sequences} sequences; the workspace holds {} in {}", limits.tokens, limits.sequences
    )]
    TooLarge {
        /// Rows of the pass.
        tokens: u32,
        /// Its sequences.
        sequences: u32,
        /// What there is room for.
        limits: Limits,
    },
    /// Block tables are larger than their memory.
    #[error(
        "block tables of {sequences} sequences of up to {width} blocks; there is room for {width_max} blocks and {words} words of lists"
    )]
    Lists {
        /// Sequences of the pass.
        sequences: u32,
        /// Blocks of the longest.
        width: u32,
        /// Words of pinned memory.
        words: u64,
        /// Blocks of a table row.
        width_max: u32,
    },
    /// A plan or graph is missing that `prepare` should have made.
    #[error("no plan for a pass of {rows} rows")]
    Unprepared {
        /// Its rows.
        rows: u32,
    },
    /// The GPU, or arguments that a kernel refuses.
    #[error(transparent)]
    Gpu(#[from] Error),
}

impl From<ArgumentError> for ModelError {
    fn from(error: ArgumentError) -> Self {
        Self::Gpu(error.into())
    }
}

/// A model on a GPU.
pub struct Model {
    forward: Forward,
    inputs: Inputs,
    graphs: Graphs,
    limits: Limits,
}

impl Model {
    /// Takes memory for weights and activations, makes the weights, and picks kernels by measurement (about three seconds in all).
    ///
    /// # Errors
    /// If the GPU has too little memory, or cuBLASLt is missing.
    pub fn new(
        gpu: &Gpu,
        stream: &Stream,
        geometry: &Geometry,
        pool: KvPool,
        limits: Limits,
    ) -> Result<Self, ModelError> {
        let weights = Weights::new(gpu, stream, geometry)?;
        let workspace = Workspace::new(gpu, stream, geometry, &pool.layout, &limits)?;
        let mut forward = Forward::new(gpu, geometry, pool, weights, workspace)?;
        forward.products.tune(
            gpu,
            stream,
            &forward.weights,
            forward.workspace.largest(),
            [limits.tokens, limits.sequences],
        )?;
        Ok(Self {
            forward,
            inputs: Inputs::new(gpu, &limits, geometry.kv_heads)?,
            graphs: Graphs::new(gpu, &limits)?,
            limits,
        })
    }

    /// Makes the graphs that decode passes of up to `sequences` need, so that no step has to wait for one.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn warm_up(&mut self, stream: &Stream, sequences: u32) -> Result<(), ModelError> {
        let mut at = 1;
        while let Some(bucket) =
            graphs::bucket(at, self.limits.sequences).filter(|_| at <= sequences)
        {
            let (forward, inputs) = (&mut self.forward, &mut self.inputs);
            self.graphs.prepare(stream, forward, inputs, bucket)?;
            at = bucket + 1;
        }
        Ok(stream.synchronize()?)
    }

    /// Submits a pass to `stream`, always the same one, and records `begun` before the first kernel: what the CPU prepares comes earlier.
    ///
    /// # Errors
    /// If the pass contradicts itself or is too large, or what the driver refuses.
    pub fn submit(
        &mut self,
        stream: &Stream,
        pass: &Pass<'_>,
        begun: Option<&Event>,
    ) -> Result<(), ModelError> {
        let layout = self.forward.pool.layout;
        pass.check(layout.block_tokens, layout.block_count)?;
        let sequences = pass.decode.len() as u32;
        let bucket =
            graphs::bucket(sequences, self.limits.sequences).filter(|_| pass.prefill.is_empty());
        let rows = bucket.unwrap_or(sequences);
        let plans = self.forward.plans(pass, rows);
        let sizes = Sizes::of(pass, rows, &plans);
        if sizes.rows() > self.limits.tokens || sizes.sequences() > self.limits.sequences {
            return Err(ModelError::TooLarge {
                tokens: sizes.rows(),
                sequences: sizes.sequences(),
                limits: self.limits,
            });
        }
        if sizes.rows() == 0 {
            return Ok(begun.map_or(Ok(()), |begun| begun.record(stream))?);
        }
        let lists = self.inputs.lists(&sizes)?;
        if let Some(bucket) = bucket {
            let (forward, inputs) = (&mut self.forward, &mut self.inputs);
            self.graphs.prepare(stream, forward, inputs, bucket)?;
        }
        let written = self
            .inputs
            .write(pass, &sizes, layout.block_tokens, &plans)?;
        begun.map_or(Ok(()), |begun| begun.record(stream))?;
        self.inputs.bring(stream, &written)?;
        match bucket {
            Some(bucket) => self.graphs.launch(stream, bucket),
            None => self.forward.launch(stream, &sizes, &lists),
        }
    }

    /// The kernel that computes each product, by what it is and the rows that it is computed for, and the time of it
    /// and a norm behind it when that was chosen \[ns\].
    pub fn products(&self) -> Vec<(String, u32, &'static str, u64)> {
        let times = self.forward.products.times();
        times
            .map(|(projection, rows, by, nanos)| {
                (format!("{projection:?}").to_lowercase(), rows, by, nanos)
            })
            .collect()
    }

    /// Logits of the last pass, after everything submitted to `stream`: `[sequences][vocab]`.
    ///
    /// # Errors
    /// What the driver refuses, or more sequences than there is room for.
    pub fn logits(&self, stream: &Stream, sequences: u32) -> Result<Vec<f32>, ModelError> {
        let bytes = 4 * u64::from(sequences) * u64::from(self.forward.geometry.vocab);
        Ok(stream.download(self.forward.workspace.logits().slice(0, bytes)?)?)
    }

    /// The tokens that the first rows sampled last.
    ///
    /// # Errors
    /// As [`Model::logits`].
    pub fn sampled(&self, stream: &Stream, sequences: u32) -> Result<Vec<i32>, ModelError> {
        let list = self.forward.workspace.sampled();
        Ok(stream.download(list.slice(0, 4 * u64::from(sequences))?)?)
    }

    /// Replaces the tokens that the first rows sampled last.
    ///
    /// # Errors
    /// As [`Model::logits`].
    pub fn continue_with(&self, stream: &Stream, tokens: &[i32]) -> Result<(), ModelError> {
        Ok(stream.upload(self.forward.workspace.sampled(), tokens)?)
    }
}
