//! The five products of a pass, each by whichever is faster: the skinny kernel or one of cuBLASLt's algorithms.
//!
//! ```text
//!   rows of a pass   1    2    3, 4   5 .. 8   ..   7169 .. 8192
//!   computed for     1    2    4      8             8192          [`ROWS`]: the rest of the rows is garbage that nobody reads
//! ```
//!
//! cuBLASLt's algorithms work in tiles, so that a row beyond a tile costs as much as the whole next one, and an algorithm that is the fastest
//! for one number of rows may be far from it for the next. A pass is therefore padded to one of [`ROWS`], for each of which the fastest
//! was picked by measurement ([`Products::tune`]); a bucket that takes longer than the next one is left out. So a step costs what its bucket
//! costs, more rows never take less time, and none waits for a plan.
//!
//! **What must hold:** rows do not mix, so that garbage stays in its rows.

use super::weights::{LayerWeights, Weights};
use super::{Geometry, ModelError};
use kernels::gemm::{Gemm, GemmOutput, GemmPlan, GemmShape};
use kernels::gpu::{Error, Event, Gpu, Stream, View};
use kernels::rms_norm::{RmsNorm, RmsNormRows};
use kernels::skinny_gemm::{Epilogue, ROWS_MAX, SkinnyGemm, SkinnyProduct};
use std::collections::BTreeMap;

/// Numbers of rows that a pass is padded to. Close to each other where a tile more is a large share of a step.
pub const ROWS: [u32; 48] = [
    1, 2, 4, 8, 12, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 208, 256, 288, 320,
    384, 448, 512, 576, 640, 704, 768, 896, 1024, 1152, 1280, 1408, 1536, 1792, 2048, 2304, 2560,
    3072, 3584, 4096, 4608, 5120, 5632, 6144, 7168, 8192,
];

/// What the gated activation takes as a kernel of its own, for few rows, in a pass \[ns\]: a launch that is overlapped, and little else.
const GATE_NANOS: u64 = 2_500;
/// Rounds of timing the skinny kernel; the first loads code and is not counted.
const ROUNDS: usize = 6;
/// Launches timed together.
const LAUNCHES: usize = 4;

/// A projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Projection {
    Qkv,
    Output,
    GateUp,
    Down,
    Logits,
}

const ALL: [Projection; 5] = [
    Projection::Qkv,
    Projection::Output,
    Projection::GateUp,
    Projection::Down,
    Projection::Logits,
];

pub(super) struct Products {
    geometry: Geometry,
    skinny: SkinnyGemm,
    gemm: Gemm,
    /// What stands between products while they are timed.
    norm: RmsNorm,
    /// By the rows that are computed.
    chosen: BTreeMap<(Projection, u32), Chosen>,
}

/// What computes a product of so many rows, and how long it and a norm behind it took.
struct Chosen {
    by: Kernel,
    nanos: u64,
}

enum Kernel {
    Skinny,
    Library(GemmPlan),
}

impl Projection {
    /// Rows of the weight, and columns.
    fn size(self, geometry: &Geometry) -> [u32; 2] {
        match self {
            Self::Qkv => [geometry.qkv_width(), geometry.hidden],
            Self::Output => [geometry.hidden, geometry.q_width()],
            Self::GateUp => [2 * geometry.intermediate, geometry.hidden],
            Self::Down => [geometry.hidden, geometry.intermediate],
            Self::Logits => [geometry.vocab, geometry.hidden],
        }
    }

    fn weight(self, layer: &LayerWeights, weights: &Weights) -> View {
        match self {
            Self::Qkv => layer.qkv,
            Self::Output => layer.output,
            Self::GateUp => layer.gate_up,
            Self::Down => layer.down,
            Self::Logits => weights.logits,
        }
    }

    fn shape(self, geometry: &Geometry, rows: u32) -> GemmShape {
        let [columns, inner] = self.size(geometry);
        let output = if self == Self::Logits {
            GemmOutput::Float
        } else {
            GemmOutput::Bf16
        };
        GemmShape {
            rows,
            columns,
            inner,
            output,
            accumulate: self.epilogue() == Epilogue::Add,
        }
    }

    fn epilogue(self) -> Epilogue {
        match self {
            Self::Qkv => Epilogue::Store,
            Self::Output | Self::Down => Epilogue::Add,
            Self::GateUp => Epilogue::Gate,
            Self::Logits => Epilogue::Float,
        }
    }
}

impl Products {
    pub fn new(gpu: &Gpu, geometry: &Geometry) -> Result<Self, ModelError> {
        Ok(Self {
            geometry: *geometry,
            skinny: SkinnyGemm::load(gpu)?,
            gemm: Gemm::new(gpu)?,
            norm: RmsNorm::load(gpu)?,
            chosen: BTreeMap::new(),
        })
    }

    /// Measures what is fastest for up to `rows_max` rows, and for the logits of up to `samples_max`. Overwrites `input` and `output`, which
    /// have room for the largest operands.
    pub fn tune(
        &mut self,
        gpu: &Gpu,
        stream: &Stream,
        weights: &Weights,
        [input, output]: [View; 2],
        [rows_max, samples_max]: [u32; 2],
    ) -> Result<(), ModelError> {
        let hidden = self.geometry.hidden;
        let norm = |row_count| RmsNormRows {
            input,
            weight: weights.norm,
            output: input,
            row_count,
            hidden,
            epsilon: super::EPSILON,
            residual: None,
        };
        for projection in ALL {
            let all: Vec<View> = weights
                .layers
                .iter()
                .map(|layer| projection.weight(layer, weights))
                .collect();
            let most = match projection {
                Projection::Logits => samples_max,
                _ => rows_max,
            };
            let mut fastest = u64::MAX;
            for rows in buckets(most).into_iter().rev() {
                let mut plan = self.gemm.plan(projection.shape(&self.geometry, rows))?;
                let between = || self.norm.launch(stream, &norm(rows));
                let mut nanos = self
                    .gemm
                    .tune(stream, &mut plan, input, &all, output, &between)?;
                if projection == Projection::GateUp {
                    nanos += GATE_NANOS;
                }
                let mut by = Kernel::Library(plan);
                if rows <= ROWS_MAX {
                    let product = self.skinny_product(projection, all[0], rows, [input, output]);
                    let skinny = self.time_skinny(gpu, stream, product, &all, &between)?;
                    if skinny < nanos {
                        (by, nanos) = (Kernel::Skinny, skinny);
                    }
                }
                if nanos < fastest {
                    fastest = nanos;
                    self.chosen.insert((projection, rows), Chosen { by, nanos });
                }
            }
        }
        Ok(())
    }

    /// Median time of a launch of the skinny kernel over these weights in turn, as [`Gemm::tune`] times the library's \[ns\].
    fn time_skinny(
        &self,
        gpu: &Gpu,
        stream: &Stream,
        product: SkinnyProduct,
        weights: &[View],
        between: &dyn Fn() -> Result<(), Error>,
    ) -> Result<u64, ModelError> {
        let mut weights = weights.iter().copied().cycle();
        let (start, end) = (Event::new(gpu)?, Event::new(gpu)?);
        let mut times = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            start.record(stream)?;
            for weight in weights.by_ref().take(LAUNCHES) {
                self.skinny
                    .launch(stream, &SkinnyProduct { weight, ..product })?;
                between()?;
            }
            end.record(stream)?;
            end.synchronize()?;
            times.push(end.nanos_since(&start)? / LAUNCHES as u64);
        }
        times.remove(0);
        times.sort_unstable();
        Ok(times[times.len() / 2])
    }

    /// What was chosen: projection, rows, kernel, and the time of it and a norm \[ns\].
    pub fn times(&self) -> impl Iterator<Item = (Projection, u32, &'static str, u64)> {
        self.chosen.iter().map(|(&(projection, rows), chosen)| {
            let by = match chosen.by {
                Kernel::Skinny => "skinny",
                Kernel::Library(_) => "cublaslt",
            };
            (projection, rows, by, chosen.nanos)
        })
    }

    /// The kernel of the next bucket.
    fn kernel(&self, projection: Projection, rows: u32) -> Option<&Kernel> {
        let ((of, _), chosen) = self.chosen.range((projection, rows)..).next()?;
        (*of == projection).then_some(&chosen.by)
    }

    /// Whether a pass of so many rows has its gated activation inside the product.
    pub fn gates_inside(&self, rows: u32) -> bool {
        matches!(self.kernel(Projection::GateUp, rows), Some(Kernel::Skinny))
    }

    /// Submits a product of at most as many rows as were [tuned](Self::tune) for, in buffers that hold so many. [`Projection::Output`] and
    /// [`Projection::Down`] add to `output`; [`Projection::GateUp`] writes the gated activation if [`Self::gates_inside`] says so.
    pub fn launch(
        &self,
        stream: &Stream,
        projection: Projection,
        weight: View,
        rows: u32,
        [input, output]: [View; 2],
    ) -> Result<(), ModelError> {
        match self.kernel(projection, rows) {
            None => return Err(ModelError::Unprepared { rows }),
            Some(Kernel::Library(plan)) => {
                self.gemm.launch(stream, plan, input, weight, output)?;
            }
            Some(Kernel::Skinny) => {
                let product = self.skinny_product(projection, weight, rows, [input, output]);
                self.skinny.launch(stream, &product)?;
            }
        }
        Ok(())
    }

    fn skinny_product(
        &self,
        projection: Projection,
        weight: View,
        rows: u32,
        [input, output]: [View; 2],
    ) -> SkinnyProduct {
        let [columns, inner] = projection.size(&self.geometry);
        SkinnyProduct {
            input,
            weight,
            output,
            rows,
            columns,
            inner,
            epilogue: projection.epilogue(),
        }
    }
}

/// [`ROWS`] up to `most`, which is the last.
fn buckets(most: u32) -> Vec<u32> {
    let below = ROWS.into_iter().take_while(|rows| *rows < most);
    below.chain([most]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_end_with_the_most_rows_and_pad_by_at_most_a_half() {
        assert_eq!(buckets(1), [1]);
        assert_eq!(buckets(20), [1, 2, 4, 8, 12, 16, 20]);
        assert_eq!(buckets(8192), ROWS);
        for pair in ROWS.windows(2) {
            // 5 rows are computed as 8, 9 as 12, 1,025 as 1,152.
            assert!(pair[1] <= (pair[0] + 1) * 8 / 5, "{pair:?}");
        }
    }
}
