//! Matrix products for few rows of input, bound by the read of the weight. Shapes, grid and traffic: `skinny_gemm.cu`.
//!
//! cuBLASLt spends some 5 us a product beside that read, which a decode step has by the hundred. This kernel gives every
//! multiprocessor an equal share of the weight, and begins to read it while the kernel before it is still running.

use half::bf16;

use crate::arguments::{holds, multiple, within};
use crate::gpu::{
    ArgumentError, DeviceBuffer, Error, Gpu, Image, Kernel, Launch, Module, Stream, View, image,
};
use crate::silu_mul::gated;

/// The shipped kernels.
pub const IMAGE: Image = image!("skinny_gemm");

/// Most rows of input.
pub const ROWS_MAX: u32 = 64;

const THREADS: u32 = 256;
const TILE: u32 = 128;
const DEPTH: u32 = 64;
/// Rows that the kernels are built for.
const ROWS: [u32; 4] = [8, 16, 32, 64];
const SHARED_BYTES: u32 = 106_496;

/// Multiplies.
pub struct SkinnyGemm {
    kernels: Vec<Kernel>,
    multiprocessors: u32,
}

/// What becomes of the sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epilogue {
    /// `[rows][columns]` bf16.
    Store,
    /// `[rows][columns]` bf16, added to what is there.
    Add,
    /// `[rows][columns]` float.
    Float,
    /// `[rows][columns / 2]` bf16, `silu(gate) * up`: the rows of the weight alternate, eight of gate and eight of up.
    Gate,
}

/// One product.
#[derive(Debug, Clone, Copy)]
pub struct SkinnyProduct {
    /// `[rows][inner]` bf16.
    pub input: View,
    /// `[columns][inner]` bf16.
    pub weight: View,
    /// As [`Epilogue`] says.
    pub output: View,
    /// Rows of the input, at most [`ROWS_MAX`]; zero submits nothing.
    pub rows: u32,
    /// Rows of the weight.
    pub columns: u32,
    /// Columns of both.
    pub inner: u32,
    /// What becomes of the sums.
    pub epilogue: Epilogue,
}

/// Memory for the sums of tiles that several CTAs share.
///
/// **Invariant:** the arrival counters are zero whenever no launch that uses it is in flight; launches that use one workspace must
/// be on one stream.
pub struct SkinnyWorkspace {
    partial: DeviceBuffer,
    arrived: DeviceBuffer,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Parameters {
    input: u64,
    weight: u64,
    output: u64,
    partial: u64,
    arrived: u64,
    rows: u32,
    columns: u32,
    inner: u32,
}

impl SkinnyWorkspace {
    /// Takes room for products of up to `columns` columns.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or what the driver refuses.
    pub fn new(stream: &Stream, columns: u32) -> Result<Self, Error> {
        let gpu = &stream.gpu;
        let sums = 2 * u64::from(gpu.info().multiprocessors) * u64::from(TILE * ROWS_MAX);
        let partial = DeviceBuffer::new(gpu, 4 * sums)?;
        let arrived = DeviceBuffer::new(gpu, 4 * u64::from(columns.div_ceil(TILE).max(1)))?;
        stream.fill(arrived.view(), 0)?;
        stream.synchronize()?;
        Ok(Self { partial, arrived })
    }
}

impl Epilogue {
    const ALL: [Self; 4] = [Self::Store, Self::Add, Self::Float, Self::Gate];

    fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Add => "add",
            Self::Float => "float",
            Self::Gate => "gate",
        }
    }

    /// Bytes of an output row.
    fn row_bytes(self, columns: u32) -> u64 {
        u64::from(columns)
            * match self {
                Self::Store | Self::Add => 2,
                Self::Float => 4,
                Self::Gate => 1,
            }
    }
}

impl SkinnyGemm {
    /// Loads the kernels.
    ///
    /// # Errors
    /// [`Error::Module`] if the GPU takes neither of their forms.
    pub fn load(gpu: &Gpu) -> Result<Self, Error> {
        let module = Module::load(gpu, &IMAGE)?;
        let mut kernels = Vec::with_capacity(16);
        for epilogue in Epilogue::ALL {
            for rows in ROWS {
                let name = format!("skinny_{}_{rows}", epilogue.name());
                kernels.push(module.kernel(&name, SHARED_BYTES)?);
            }
        }
        Ok(Self {
            kernels,
            multiprocessors: gpu.info().multiprocessors,
        })
    }

    /// Submits the product to `stream`.
    ///
    /// # Errors
    /// A typed argument error for shapes or buffers that the kernel cannot take, or what the driver refuses.
    pub fn launch(
        &self,
        stream: &Stream,
        product: &SkinnyProduct,
        workspace: &SkinnyWorkspace,
    ) -> Result<(), Error> {
        let parameters = product.check(workspace.partial.view(), workspace.arrived.view())?;
        if product.rows == 0 {
            return Ok(());
        }
        let which = product.epilogue as usize * ROWS.len() + rows_index(product.rows);
        let launch = Launch {
            grid: [product.ctas(self.multiprocessors), 1, 1],
            threads: THREADS,
        };
        // SAFETY: 1. the struct mirrors `SkinnyArgs`. 2. `check` covers every address, and two tiles a CTA are enough for sums, for a
        // run that covers a tile does not share it. 3. what it reads before it waits, nobody writes.
        unsafe { self.kernels[which].launch_overlapping(stream, launch, &parameters) }
    }
}

/// Place in [`ROWS`] of the least that holds `rows`.
fn rows_index(rows: u32) -> usize {
    ROWS.iter()
        .position(|&built| rows <= built)
        .unwrap_or(ROWS.len() - 1)
}

impl SkinnyProduct {
    /// One CTA per multiprocessor, or per step if there are fewer.
    fn ctas(&self, multiprocessors: u32) -> u32 {
        let steps = u64::from(self.columns.div_ceil(TILE)) * u64::from(self.inner.div_ceil(DEPTH));
        steps.min(u64::from(multiprocessors)) as u32
    }

    fn check(&self, partial: View, arrived: View) -> Result<Parameters, ArgumentError> {
        let operation = "skinny_gemm";
        let most = (1 << 31) - 1;
        within(operation, "rows", self.rows.into(), 0, ROWS_MAX.into())?;
        within(operation, "columns", self.columns.into(), 1, most)?;
        within(operation, "inner", self.inner.into(), 8, most)?;
        multiple(operation, "inner", self.inner.into(), 8)?;
        if self.epilogue == Epilogue::Gate {
            multiple(operation, "columns", self.columns.into(), 16)?;
        }
        let steps = u64::from(self.columns.div_ceil(TILE)) * u64::from(self.inner.div_ceil(DEPTH));
        within(operation, "steps", steps, 1, most)?;
        let (rows, row_bytes) = (u64::from(self.rows), 2 * u64::from(self.inner));
        holds(operation, "input", self.input, rows * row_bytes, 16)?;
        let weight_bytes = u64::from(self.columns) * row_bytes;
        holds(operation, "weight", self.weight, weight_bytes, 16)?;
        let output_bytes = rows * self.epilogue.row_bytes(self.columns);
        holds(operation, "output", self.output, output_bytes, 4)?;
        let tiles = u64::from(self.columns.div_ceil(TILE));
        holds(operation, "workspace", arrived, 4 * tiles, 4)?;
        Ok(Parameters {
            input: self.input.address(),
            weight: self.weight.address(),
            output: self.output.address(),
            partial: partial.address(),
            arrived: arrived.address(),
            rows: self.rows,
            columns: self.columns,
            inner: self.inner,
        })
    }
}

/// What [`SkinnyGemm`] computes for one row of input, in double precision; `before` is what [`Epilogue::Add`] adds to.
pub fn reference(input: &[bf16], weight: &[bf16], epilogue: Epilogue, before: &[bf16]) -> Vec<f64> {
    let sums: Vec<f64> = weight
        .chunks_exact(input.len())
        .map(|row| crate::gemm::reference(input, row))
        .collect();
    match epilogue {
        Epilogue::Store | Epilogue::Float => sums,
        Epilogue::Add => sums
            .iter()
            .zip(before)
            .map(|(sum, before)| sum + before.to_f64())
            .collect(),
        Epilogue::Gate => sums
            .chunks_exact(16)
            .flat_map(|pair| pair[..8].iter().zip(&pair[8..]))
            .map(|(&gate, &up)| gated(gate, up))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(rows: u32, epilogue: Epilogue) -> SkinnyProduct {
        let wide = View::new(0, 1 << 40);
        SkinnyProduct {
            input: wide,
            weight: wide,
            output: wide,
            rows,
            columns: 4096,
            inner: 4096,
            epilogue,
        }
    }

    #[test]
    fn every_number_of_rows_has_the_least_kernel_that_holds_it() {
        let built = |rows| ROWS[rows_index(rows)];
        assert_eq!(
            [1, 8, 9, 16, 17, 32, 33, 64].map(built),
            [8, 8, 16, 16, 32, 32, 64, 64]
        );
    }

    #[test]
    fn small_products_have_no_more_ctas_than_steps() {
        // 4,096 / 128 tiles of 4,096 / 64 steps: 2,048, one CTA for each of 132 multiprocessors.
        assert_eq!(product(1, Epilogue::Store).ctas(132), 132);
        let small = SkinnyProduct {
            columns: 300,
            inner: 72,
            ..product(1, Epilogue::Store)
        };
        // 3 tiles of 2 steps.
        assert_eq!(small.ctas(132), 6);
    }

    #[test]
    fn too_many_rows_odd_shapes_and_short_buffers_are_refused() {
        let (wide, none) = (View::new(0, 1 << 40), View::new(0, 0));
        let good = product(64, Epilogue::Gate);
        assert!(good.check(wide, wide).is_ok());
        let error = |bad: SkinnyProduct| bad.check(wide, wide).expect_err("refused").to_string();
        assert!(error(SkinnyProduct { rows: 65, ..good }).contains("`rows` is 65"));
        assert!(
            error(SkinnyProduct {
                inner: 4100,
                ..good
            })
            .contains("`inner` is 4100")
        );
        let odd = SkinnyProduct {
            columns: 4104,
            ..good
        };
        assert!(error(odd).contains("`columns` is 4104"));
        assert!(
            SkinnyProduct {
                epilogue: Epilogue::Store,
                ..odd
            }
            .check(wide, wide)
            .is_ok()
        );
        // 64 rows of 2,048 bf16.
        let output = View::new(0, 64 * 2048 * 2 - 1);
        assert!(error(SkinnyProduct { output, ..good }).contains("`output` has 262143 bytes"));
        assert!(good.check(wide, none).is_err(), "no arrival counters");
    }

    #[test]
    fn the_reference_adds_and_gates() {
        let input = [2.0, 1.0].map(bf16::from_f32);
        let weight: Vec<bf16> = (0..16)
            .flat_map(|row| {
                if row < 8 {
                    [20.0, 0.0]
                } else {
                    [0.0, row as f32]
                }
            })
            .map(bf16::from_f32)
            .collect();
        let gated = reference(&input, &weight, Epilogue::Gate, &[]);
        // Gates 40, ups 8 to 15.
        assert_eq!(gated.len(), 8);
        assert!((gated[3] - 40.0 * 11.0).abs() < 1e-9);
        let before = [bf16::ONE; 16];
        let added = reference(&input, &weight, Epilogue::Add, &before);
        assert!((added[0] - 41.0).abs() < 1e-12 && (added[15] - 16.0).abs() < 1e-12);
    }
}
