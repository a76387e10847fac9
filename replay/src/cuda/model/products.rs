//! The five products of a pass: by the skinny kernel for few rows, by cuBLASLt for many.
//!
//! For cuBLASLt an algorithm is picked by measurement for some numbers of rows ([`Products::tune`]); a pass takes the algorithm of the
//! next of them. Plans are made before a pass is submitted and kept, so that submitting takes `&self`, also during capture.

use super::weights::{LayerWeights, Weights};
use super::{Geometry, ModelError};
use kernels::gemm::{Gemm, GemmOutput, GemmPlan, GemmShape};
use kernels::gpu::{Gpu, Stream, View};
use kernels::skinny_gemm::{Epilogue, ROWS_MAX, SkinnyGemm, SkinnyProduct};
use std::collections::BTreeMap;

/// Rows up to which the skinny kernel is the faster one; see `replay/measurements/model/`.
pub(super) const SKINNY_ROWS: u32 = if ROWS_MAX < 8 { ROWS_MAX } else { 8 };

/// Numbers of rows for which algorithms are measured.
const TUNED_ROWS: [u32; 9] = [16, 32, 64, 128, 512, 1024, 2048, 4096, 8192];

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
    tuned: BTreeMap<(Projection, u32), GemmPlan>,
    plans: BTreeMap<(Projection, u32), GemmPlan>,
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

/// Whether a pass of so many rows has its gated activation inside the product.
pub(super) fn gates_inside(rows: u32) -> bool {
    rows <= SKINNY_ROWS
}

impl Products {
    pub fn new(gpu: &Gpu, geometry: &Geometry) -> Result<Self, ModelError> {
        Ok(Self {
            geometry: *geometry,
            skinny: SkinnyGemm::load(gpu)?,
            gemm: Gemm::new(gpu)?,
            tuned: BTreeMap::new(),
            plans: BTreeMap::new(),
        })
    }

    /// Measures algorithms for up to `rows_max` rows, and for the logits of up to `samples_max`. Overwrites `input` and `output`, which
    /// have room for the largest operands.
    pub fn tune(
        &mut self,
        stream: &Stream,
        weights: &Weights,
        [input, output]: [View; 2],
        [rows_max, samples_max]: [u32; 2],
    ) -> Result<(), ModelError> {
        for projection in ALL {
            let all: Vec<View> = weights
                .layers
                .iter()
                .map(|layer| projection.weight(layer, weights))
                .collect();
            let most = if projection == Projection::Logits {
                samples_max
            } else {
                rows_max
            };
            // The last one covers what lies between it and the most.
            let beyond = TUNED_ROWS.iter().position(|&rows| rows >= most);
            let count = beyond.map_or(TUNED_ROWS.len(), |at| at + 1);
            for rows in TUNED_ROWS.into_iter().take(count) {
                let rows = rows.min(most);
                let mut plan = self.gemm.plan(projection.shape(&self.geometry, rows))?;
                self.gemm.tune(stream, &mut plan, input, &all, output)?;
                self.tuned.insert((projection, rows), plan);
            }
        }
        Ok(())
    }

    /// Makes the plans for passes of `rows` rows and `samples` sampled ones.
    pub fn prepare(&mut self, rows: u32, samples: u32) -> Result<(), ModelError> {
        for projection in ALL {
            let rows = if projection == Projection::Logits {
                samples
            } else {
                rows
            };
            if rows <= SKINNY_ROWS || self.plans.contains_key(&(projection, rows)) {
                continue;
            }
            let shape = projection.shape(&self.geometry, rows);
            let above = self.tuned.range((projection, rows)..).next();
            let plan = match above.filter(|((of, _), _)| *of == projection) {
                Some((_, tuned)) => self.gemm.plan_like(shape, tuned)?,
                None => self.gemm.plan(shape)?,
            };
            self.plans.insert((projection, rows), plan);
        }
        Ok(())
    }

    /// Submits a product of [prepared](Self::prepare) rows. [`Projection::Output`] and [`Projection::Down`] add to `output`;
    /// [`Projection::GateUp`] writes the gated activation if [`gates_inside`] says so.
    pub fn launch(
        &self,
        stream: &Stream,
        projection: Projection,
        weight: View,
        rows: u32,
        [input, output]: [View; 2],
    ) -> Result<(), ModelError> {
        let epilogue = projection.epilogue();
        if rows > SKINNY_ROWS {
            let plan = self.plans.get(&(projection, rows));
            let plan = plan.ok_or(ModelError::Unprepared { rows })?;
            let accumulate = epilogue == Epilogue::Add;
            self.gemm
                .launch(stream, plan, input, weight, output, accumulate)?;
            return Ok(());
        }
        let [columns, inner] = projection.size(&self.geometry);
        let product = SkinnyProduct {
            input,
            weight,
            output,
            rows,
            columns,
            inner,
            epilogue,
        };
        Ok(self.skinny.launch(stream, &product)?)
    }
}
