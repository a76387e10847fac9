//! Matrix products for few rows of input, bound by the read of the weight. Shapes, grid and traffic: `skinny_gemm.cu`.
//!
//! cuBLASLt spends some 5 us a product beside that read, and a decode step has four products a layer. This kernel has short CTAs without
//! barriers, and begins to read the weight while the kernel before it is still running. Its price is the input, which every 16 rows of
//! the weight read again: from 16 rows of input on, that is more than it gains.

use half::bf16;

use crate::arguments::{holds, multiple, within};
use crate::gpu::{ArgumentError, Error, Gpu, Image, Kernel, Launch, Module, Stream, View, image};
use crate::silu_mul::gated;

/// The shipped kernels.
pub const IMAGE: Image = image!("skinny_gemm");

/// Most rows of input.
pub const ROWS_MAX: u32 = 16;

const THREADS: u32 = 256;
/// Rows of the weight in a CTA.
const TILE: u32 = 16;
/// Rows that the kernels are built for.
const ROWS: [u32; 2] = [8, 16];

/// Multiplies.
pub struct SkinnyGemm {
    kernels: Vec<Kernel>,
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

#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Parameters {
    input: u64,
    weight: u64,
    output: u64,
    rows: u32,
    columns: u32,
    inner: u32,
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
        let mut kernels = Vec::with_capacity(Epilogue::ALL.len() * ROWS.len());
        for epilogue in Epilogue::ALL {
            for rows in ROWS {
                let name = format!("skinny_{}_{rows}", epilogue.name());
                kernels.push(module.kernel(&name, 0)?);
            }
        }
        Ok(Self { kernels })
    }

    /// Submits the product to `stream`.
    ///
    /// # Errors
    /// A typed argument error for shapes or buffers that the kernel cannot take, or what the driver refuses.
    pub fn launch(&self, stream: &Stream, product: &SkinnyProduct) -> Result<(), Error> {
        let parameters = product.check()?;
        if product.rows == 0 {
            return Ok(());
        }
        let which = product.epilogue as usize * ROWS.len() + rows_index(product.rows);
        let launch = Launch {
            grid: [product.columns.div_ceil(TILE), 1, 1],
            threads: THREADS,
        };
        // SAFETY: 1. the struct mirrors `SkinnyArgs`. 2. `check` covers every address. 3. before it waits it reads the weight alone,
        // which nobody writes.
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
    fn check(&self) -> Result<Parameters, ArgumentError> {
        let operation = "skinny_gemm";
        let most = (1 << 31) - 1;
        within(operation, "rows", self.rows.into(), 0, ROWS_MAX.into())?;
        within(operation, "columns", self.columns.into(), 1, most)?;
        within(operation, "inner", self.inner.into(), 8, most)?;
        multiple(operation, "inner", self.inner.into(), 8)?;
        if self.epilogue == Epilogue::Gate {
            multiple(operation, "columns", self.columns.into(), 16)?;
        }
        let (rows, row_bytes) = (u64::from(self.rows), 2 * u64::from(self.inner));
        holds(operation, "input", self.input, rows * row_bytes, 16)?;
        let weight_bytes = u64::from(self.columns) * row_bytes;
        holds(operation, "weight", self.weight, weight_bytes, 16)?;
        let output_bytes = rows * self.epilogue.row_bytes(self.columns);
        holds(operation, "output", self.output, output_bytes, 4)?;
        Ok(Parameters {
            input: self.input.address(),
            weight: self.weight.address(),
            output: self.output.address(),
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
        assert_eq!([1, 8, 9, 16].map(built), [8, 8, 16, 16]);
    }

    #[test]
    fn too_many_rows_odd_shapes_and_short_buffers_are_refused() {
        let good = product(16, Epilogue::Gate);
        assert!(good.check().is_ok());
        let error = |bad: SkinnyProduct| bad.check().expect_err("refused").to_string();
        assert!(error(SkinnyProduct { rows: 17, ..good }).contains("`rows` is 17"));
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
            .check()
            .is_ok()
        );
        // 16 rows of 2,048 bf16.
        let output = View::new(0, 16 * 2048 * 2 - 1);
        assert!(error(SkinnyProduct { output, ..good }).contains("`output` has 65535 bytes"));
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
