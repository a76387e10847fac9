//! Matrix products for few rows of input, bound by the read of the weight. Shapes, grid and traffic: `skinny_gemm.cu`.
//!
//! cuBLASLt spends some 5 us a product beside that read, and a decode step has four products a layer. This kernel makes one CTA a
//! multiprocessor, whatever the shape, and has its first stages of the weight on the way before the kernel ahead of it is over. Every
//! tile of the weight reads the input again from L2; that costs little beside the sums across warps (`replay/measurements/model/README.md`).

use half::bf16;

use crate::arguments::{holds, multiple, within};
use crate::gpu::{
    ArgumentError, Error, Gpu, Image, ImageKind, Kernel, Launch, Module, Stream, View, image,
};
use crate::silu_mul::gated;

/// The shipped kernels.
pub const IMAGE: Image = image!("skinny_gemm");

/// Most rows of input.
pub const ROWS_MAX: u32 = 32;

/// Rows that the kernels are built for.
const ROWS: [u32; 3] = [8, 16, 32];

/// Multiplies.
pub struct SkinnyGemm {
    /// By [`Shape`], then by [`ROWS`].
    kernels: Vec<Kernel>,
    kind: ImageKind,
    multiprocessors: u32,
}

/// How a CTA goes through the columns of its tile, by the rows of the weight that it may have: the table of `skinny_gemm.cu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Narrow,
    Middle,
    Wide,
}

impl Shape {
    const ALL: [Self; 3] = [Self::Narrow, Self::Middle, Self::Wide];

    fn name(self) -> &'static str {
        match self {
            Self::Narrow => "narrow",
            Self::Middle => "middle",
            Self::Wide => "wide",
        }
    }

    /// Columns of a stage.
    fn depth(self) -> u32 {
        match self {
            Self::Narrow => 512,
            Self::Middle => 256,
            Self::Wide => 128,
        }
    }

    /// Warps for 16 rows of the weight.
    fn shares(self) -> u32 {
        match self {
            Self::Narrow => 8,
            Self::Middle => 4,
            Self::Wide => 1,
        }
    }

    /// Most rows of the weight in a tile, so that the stages of the least GPU for `kind` fit.
    fn tile_max(self, kind: ImageKind) -> u32 {
        match (kind, self) {
            (ImageKind::Cubin, Self::Narrow) => 32,
            (ImageKind::Cubin, Self::Middle) => 96,
            (ImageKind::Cubin, Self::Wide) => 192,
            (ImageKind::Ptx, Self::Narrow) => 16,
            (ImageKind::Ptx, Self::Middle) => 64,
            (ImageKind::Ptx, Self::Wide) => 160,
        }
    }

    /// Dynamic shared memory of the kernel for `rows` \[bytes\].
    fn shared_bytes(self, kind: ImageKind, rows: u32) -> u32 {
        let stages = match kind {
            ImageKind::Cubin => 3,
            ImageKind::Ptx => 2,
        };
        stages * (self.tile_max(kind) + rows) * self.depth() * 2
    }

    /// Rows of the weight that a warp takes: a tile has a multiple of them.
    fn height(kind: ImageKind, rows: u32) -> u32 {
        match (kind, rows) {
            (ImageKind::Cubin, 17..) => 32,
            _ => 16,
        }
    }

    /// For `rows` of the input: the narrowest shape, and the rows of its tiles, with which the fewest rounds of one CTA a multiprocessor do.
    fn of(columns: u32, rows: u32, kind: ImageKind, multiprocessors: u32) -> (Self, u32) {
        let holds = |shape: &Self| shape.tile_max(kind) * multiprocessors >= columns;
        let shape = Self::ALL.into_iter().find(holds).unwrap_or(Self::Wide);
        let rounds = columns.div_ceil(shape.tile_max(kind) * multiprocessors);
        let tile = columns.div_ceil(rounds * multiprocessors);
        (shape, tile.next_multiple_of(Self::height(kind, rows)))
    }
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

#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Parameters {
    input: u64,
    weight: u64,
    output: u64,
    rows: u32,
    columns: u32,
    inner: u32,
    epilogue: u32,
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
        let mut kernels = Vec::with_capacity(Shape::ALL.len() * ROWS.len());
        for shape in Shape::ALL {
            for rows in ROWS {
                let name = format!("skinny_{rows}_{}", shape.name());
                kernels.push(module.kernel(&name, shape.shared_bytes(module.kind(), rows))?);
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
        let parameters = product.check()?;
        if product.rows == 0 {
            return Ok(());
        }
        let (shape, tile) = Shape::of(
            product.columns,
            product.rows,
            self.kind,
            self.multiprocessors,
        );
        let which = shape as usize * ROWS.len() + rows_index(product.rows);
        let launch = Launch {
            grid: [product.columns.div_ceil(tile), 1, 1],
            threads: 2 * tile * shape.shares(),
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
            epilogue: self.epilogue as u32,
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
        assert_eq!([1, 8, 9, 16, 17, 32].map(built), [8, 8, 16, 16, 32, 32]);
    }

    #[test]
    fn stages_fit_into_shared_memory_and_sums_into_stages() {
        for (kind, most) in [(ImageKind::Cubin, 227), (ImageKind::Ptx, 99)] {
            for shape in Shape::ALL {
                for rows in ROWS {
                    let held = shape.shared_bytes(kind, rows);
                    assert!(held <= most << 10, "{shape:?} for {rows} rows: {held}");
                    let groups = shape.shares() * Shape::height(kind, rows) / 16;
                    let sums = groups * rows * (shape.tile_max(kind) + 4) * 4;
                    assert!(
                        sums <= held,
                        "{shape:?} for {rows} rows: sums of {sums} in {held}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_multiprocessor_has_one_tile_or_as_few_as_it_can() {
        let of = |columns| Shape::of(columns, 16, ImageKind::Cubin, 132);
        // Llama-2-7B: output and down 128 tiles, QKV 128, gate and up 126, logits 250 in two rounds.
        assert_eq!(of(4096), (Shape::Narrow, 32));
        assert_eq!(of(12_288), (Shape::Middle, 96));
        assert_eq!(of(22_016), (Shape::Wide, 176));
        assert_eq!(of(32_000), (Shape::Wide, 128));
        assert_eq!(of(16), (Shape::Narrow, 16));
        // Warps of 32 rows: 115 tiles.
        let of = |columns| Shape::of(columns, 17, ImageKind::Cubin, 132);
        assert_eq!(of(22_016), (Shape::Wide, 192));
        for kind in [ImageKind::Cubin, ImageKind::Ptx] {
            for columns in (16..60_000).step_by(16) {
                for rows in ROWS {
                    let (shape, tile) = Shape::of(columns, rows, kind, 84);
                    assert!(
                        tile <= shape.tile_max(kind),
                        "{columns}, {rows}: {tile} in {shape:?}"
                    );
                }
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
