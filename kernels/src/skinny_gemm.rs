//! Matrix products for few rows of input, bound by the read of the weight. Shapes, grid and traffic: `skinny_gemm.cu`.
//!
//! cuBLASLt spends some 5 us a product beside that read, and a decode step has four products a layer. This kernel makes one CTA a
//! multiprocessor, whatever the shape, and has its first stages of the weight on the way before the kernel ahead of it is over
//! (`replay/measurements/model/README.md`). Its two forms have their tables in `skinny_wgmma.rs` and `skinny_mma.rs`.

use half::bf16;

use crate::arguments::{holds, multiple, within};
use crate::gpu::{
    ArgumentError, Error, Gpu, Image, ImageKind, Kernel, Module, Stream, View, image,
};
use crate::silu_mul::gated;
use crate::{skinny_mma, skinny_wgmma};

/// The shipped kernels.
pub const IMAGE: Image = image!("skinny_gemm");

/// Most rows of input.
pub const ROWS_MAX: u32 = 32;

/// Rows that the kernels are built for.
pub(crate) const ROWS: [u32; 3] = [8, 16, 32];

/// Multiplies.
pub struct SkinnyGemm {
    /// By the form's tiles, then by [`ROWS`].
    kernels: Vec<Kernel>,
    kind: ImageKind,
    multiprocessors: u32,
}

/// The most rows of a tile of the kernels in a form, ascending.
fn tiles(kind: ImageKind) -> &'static [u32] {
    match kind {
        ImageKind::Cubin => &skinny_wgmma::TILES,
        ImageKind::Ptx => &skinny_mma::TILES,
    }
}

/// Rows of the weight in a tile, with which the fewest rounds of one CTA a multiprocessor do, and the place in `tiles` of the least kernel
/// that takes them.
fn tile_of(columns: u32, tiles: &[u32], multiprocessors: u32) -> (usize, u32) {
    let most = tiles[tiles.len() - 1];
    let rounds = columns.div_ceil(most * multiprocessors);
    let tile = columns
        .div_ceil(rounds * multiprocessors)
        .next_multiple_of(16);
    (tiles.partition_point(|&most| most < tile), tile)
}

/// What becomes of the sums; numbered as in `skinny_gemm.cu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
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

impl Epilogue {
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
        let mut kernels = Vec::new();
        for &most in tiles(module.kind()) {
            for rows in ROWS {
                let shared_bytes = match module.kind() {
                    ImageKind::Cubin => skinny_wgmma::SHARED_BYTES,
                    ImageKind::Ptx => skinny_mma::shared_bytes(most, rows),
                };
                kernels.push(module.kernel(&format!("skinny_{rows}_{most}"), shared_bytes)?);
            }
        }
        Ok(Self {
            kernels,
            kind: module.kind(),
            multiprocessors: gpu.info().multiprocessors,
        })
    }

    /// Submits the product to `stream`.
    ///
    /// # Errors
    /// A typed argument error for shapes or buffers that the kernel cannot take, or what the driver refuses.
    pub fn launch(&self, stream: &Stream, product: &SkinnyProduct) -> Result<(), Error> {
        product.check()?;
        if product.rows == 0 {
            return Ok(());
        }
        let tiles = tiles(self.kind);
        let (which, tile) = tile_of(product.columns, tiles, self.multiprocessors);
        let rows = rows_index(product.rows);
        let kernel = &self.kernels[which * ROWS.len() + rows];
        let most = tiles[which];
        // SAFETY: `check` covers every address.
        unsafe {
            match self.kind {
                ImageKind::Cubin => {
                    skinny_wgmma::launch(kernel, stream, product, [ROWS[rows], most, tile])
                }
                ImageKind::Ptx => skinny_mma::launch(kernel, stream, product, [most, tile]),
            }
        }
    }
}

/// Place in [`ROWS`] of the least that holds `rows`.
fn rows_index(rows: u32) -> usize {
    ROWS.iter()
        .position(|&built| rows <= built)
        .unwrap_or(ROWS.len() - 1)
}

impl SkinnyProduct {
    fn check(&self) -> Result<(), ArgumentError> {
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
        holds(operation, "output", self.output, output_bytes, 16)
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
        assert_eq!([1, 8, 9, 16, 17, 32].map(built), [8, 8, 16, 16, 32, 32]);
    }

    #[test]
    fn a_multiprocessor_has_one_tile_or_as_few_as_it_can() {
        let of = |columns| tile_of(columns, &skinny_wgmma::TILES, 132);
        // Llama-2-7B: output and down 128 tiles, QKV 128, gate and up 126, logits 125.
        assert_eq!(of(4096), (0, 32));
        assert_eq!(of(12_288), (1, 96));
        assert_eq!(of(22_016), (2, 176));
        assert_eq!(of(32_000), (3, 256));
        assert_eq!(of(16), (0, 16));
        // Llama-3.1-8B's logits, in four rounds of 128,256 / 528 rows.
        assert_eq!(of(128_256), (3, 256));
        // The least GPU: 22,016 in two rounds.
        assert_eq!(tile_of(22_016, &skinny_mma::TILES, 84), (2, 144));
        for tiles in [&skinny_wgmma::TILES[..], &skinny_mma::TILES] {
            for columns in (16..60_000).step_by(16) {
                let (which, tile) = tile_of(columns, tiles, 84);
                assert!(
                    tile <= tiles[which],
                    "{columns}: {tile} in {}",
                    tiles[which]
                );
                assert!(which == 0 || tile > tiles[which - 1], "{columns}: {tile}");
            }
        }
    }

    #[test]
    fn too_many_rows_odd_shapes_and_short_buffers_are_refused() {
        let good = product(ROWS_MAX, Epilogue::Gate);
        assert!(good.check().is_ok());
        let error = |bad: SkinnyProduct| bad.check().expect_err("refused").to_string();
        assert!(error(SkinnyProduct { rows: 33, ..good }).contains("`rows` is 33"));
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
        // 32 rows of 2,048 bf16.
        let output = View::new(0, 32 * 2048 * 2 - 1);
        assert!(error(SkinnyProduct { output, ..good }).contains("`output` has 131071 bytes"));
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
