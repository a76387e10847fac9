//! Matrix products by cuBLASLt: `output = input * weight^T`, bf16 in, float accumulation.
//!
//! ```text
//!   input  [rows][inner]     bf16, activations
//!   weight [columns][inner]  bf16, as a linear layer keeps it
//!   output [rows][columns]   bf16 or float
//! ```
//!
//! All row-major. cuBLASLt thinks in columns, so it is asked for `output^T = weight * input^T`.
//! A [`GemmPlan`] holds the shape with the algorithm chosen for it: choosing takes tens of
//! microseconds, so it happens once per shape and not per call. [`Gemm::tune`] times the candidates.

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::cublaslt::{result, sys};

use crate::arguments::{holds, within};
use crate::gpu::{ArgumentError, DeviceBuffer, Error, Event, Gpu, Stream, View};

/// Bytes of scratch memory for split products; 32 MiB is what the library's guide asks for on Hopper.
const WORKSPACE_BYTES: u64 = 32 << 20;
/// `CUBLAS_OP_T`, which cudarc declares for cuBLAS but not for cuBLASLt.
static TRANSPOSED: i32 = 1;
/// Algorithms that tuning times.
const CANDIDATES: usize = 8;

/// A cuBLASLt handle with its scratch memory. Launches of one handle belong on one stream, for they share it.
pub struct Gemm {
    gpu: Gpu,
    handle: Arc<Handle>,
    workspace: DeviceBuffer,
}

struct Handle(sys::cublasLtHandle_t);

// SAFETY: a cuBLASLt handle may be used from any thread (cuBLAS guide, "Thread safety").
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

/// Type of the output elements; sums are float either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GemmOutput {
    /// Rounded once, at the end.
    Bf16,
    /// As accumulated: logits, where near ties matter.
    Float,
}

/// Shape of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GemmShape {
    /// Rows of input and output: tokens.
    pub rows: u32,
    /// Rows of the weight, columns of the output.
    pub columns: u32,
    /// Columns of input and weight.
    pub inner: u32,
    /// Type of the output.
    pub output: GemmOutput,
}

/// A shape with the algorithm chosen for it.
pub struct GemmPlan {
    shape: GemmShape,
    operation: sys::cublasLtMatmulDesc_t,
    layouts: [sys::cublasLtMatrixLayout_t; 3],
    algorithms: Vec<sys::cublasLtMatmulAlgo_t>,
    chosen: usize,
    _handle: Arc<Handle>,
}

// SAFETY: descriptors are plain memory of the library, changed by nobody after `plan`.
unsafe impl Send for GemmPlan {}

fn checked<T>(call: &'static str, value: Result<T, result::CublasError>) -> Result<T, Error> {
    value.map_err(|error| Error::Blas {
        call,
        status: format!("{:?}", error.0),
    })
}

impl Gemm {
    /// Opens the library and takes its scratch memory.
    ///
    /// # Errors
    /// [`Error::NoLibrary`] if cuBLASLt is not installed, or what it or the driver refuses.
    pub fn new(gpu: &Gpu) -> Result<Self, Error> {
        // SAFETY: loads a library by its well-known name, as any CUDA program does.
        if !unsafe { sys::is_culib_present() } {
            return Err(Error::NoLibrary {
                library: "cuBLASLt (libcublasLt)",
            });
        }
        gpu.bind_thread()?;
        let handle = Arc::new(Handle(checked("cublasLtCreate", result::create_handle())?));
        Ok(Self {
            gpu: gpu.clone(),
            handle,
            workspace: DeviceBuffer::new(gpu, WORKSPACE_BYTES)?,
        })
    }

    /// Chooses an algorithm for `shape`: the library's first guess.
    ///
    /// # Errors
    /// A typed argument error for an empty shape, or [`Error::Blas`] if no algorithm fits.
    pub fn plan(&self, shape: GemmShape) -> Result<GemmPlan, Error> {
        shape.check()?;
        let (rows, columns, inner) = (
            u64::from(shape.rows),
            u64::from(shape.columns),
            u64::from(shape.inner),
        );
        let bf16 = sys::cudaDataType::CUDA_R_16BF;
        let output = match shape.output {
            GemmOutput::Bf16 => bf16,
            GemmOutput::Float => sys::cudaDataType::CUDA_R_32F,
        };
        let layout = |kind, height, width| {
            checked(
                "cublasLtMatrixLayoutCreate",
                result::create_matrix_layout(kind, height, width, height as i64),
            )
        };
        let compute = sys::cublasComputeType_t::CUBLAS_COMPUTE_32F;
        let operation = result::create_matmul_desc(compute, sys::cudaDataType::CUDA_R_32F);
        let operation = checked("cublasLtMatmulDescCreate", operation)?;
        // SAFETY: the attribute is one 32-bit value, read during the call.
        checked("cublasLtMatmulDescSetAttribute", unsafe {
            result::set_matmul_desc_attribute(
                operation,
                sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA,
                (&raw const TRANSPOSED).cast(),
                size_of_val(&TRANSPOSED),
            )
        })?;
        let mut plan = GemmPlan {
            shape,
            operation,
            layouts: [
                layout(bf16, inner, columns)?,
                layout(bf16, inner, rows)?,
                layout(output, columns, rows)?,
            ],
            algorithms: Vec::new(),
            chosen: 0,
            _handle: Arc::clone(&self.handle),
        };
        plan.algorithms = self.candidates(&plan)?;
        Ok(plan)
    }

    fn candidates(&self, plan: &GemmPlan) -> Result<Vec<sys::cublasLtMatmulAlgo_t>, Error> {
        let preference = checked(
            "cublasLtMatmulPreferenceCreate",
            result::create_matmul_pref(),
        )?;
        let bytes = WORKSPACE_BYTES as usize;
        let [weight, input, output] = plan.layouts;
        let mut found: [std::mem::MaybeUninit<sys::cublasLtMatmulHeuristicResult_t>; CANDIDATES] =
            [const { std::mem::MaybeUninit::zeroed() }; CANDIDATES];
        let mut count = 0;
        // SAFETY: all handles live; `found` has room for the count asked for.
        let status = unsafe {
            let limit =
                sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
            let limited = result::set_matmul_pref_attribute(
                preference,
                limit,
                (&raw const bytes).cast(),
                size_of_val(&bytes),
            );
            let status = limited.and_then(|()| {
                sys::cublasLtMatmulAlgoGetHeuristic(
                    self.handle.0,
                    plan.operation,
                    weight,
                    input,
                    output,
                    output,
                    preference,
                    CANDIDATES as i32,
                    found.as_mut_ptr().cast(),
                    &raw mut count,
                )
                .result()
            });
            let _ = result::destroy_matmul_pref(preference);
            status
        };
        checked("cublasLtMatmulAlgoGetHeuristic", status)?;
        // SAFETY: the library has written the first `count` results.
        let found = found[..count as usize]
            .iter()
            .map(|result| unsafe { result.assume_init_ref() });
        let algorithms: Vec<_> = found
            .filter(|result| result.state == sys::cublasStatus_t::CUBLAS_STATUS_SUCCESS)
            .map(|result| result.algo)
            .collect();
        if algorithms.is_empty() {
            let status = format!("no algorithm for {:?}", plan.shape);
            return Err(Error::Blas {
                call: "cublasLtMatmulAlgoGetHeuristic",
                status,
            });
        }
        Ok(algorithms)
    }

    /// Submits the product to `stream`; `accumulate` adds it to what `output` holds.
    ///
    /// # Errors
    /// A typed argument error for buffers too short or misaligned, or what the library refuses.
    pub fn launch(
        &self,
        stream: &Stream,
        plan: &GemmPlan,
        input: View,
        weight: View,
        output: View,
        accumulate: bool,
    ) -> Result<(), Error> {
        plan.shape.check_buffers(input, weight, output)?;
        self.submit(
            stream,
            plan,
            plan.chosen,
            [input, weight, output],
            accumulate,
        )
    }

    fn submit(
        &self,
        stream: &Stream,
        plan: &GemmPlan,
        algorithm: usize,
        [input, weight, output]: [View; 3],
        accumulate: bool,
    ) -> Result<(), Error> {
        let one = 1.0_f32;
        let beta = if accumulate { 1.0_f32 } else { 0.0 };
        let [weight_layout, input_layout, output_layout] = plan.layouts;
        let pointer = |view: View| view.address() as *mut c_void;
        // SAFETY: all handles live; the buffers cover the shape; scalars are read during the call.
        let status = unsafe {
            result::matmul(
                self.handle.0,
                plan.operation,
                (&raw const one).cast(),
                (&raw const beta).cast(),
                pointer(weight),
                weight_layout,
                pointer(input),
                input_layout,
                pointer(output),
                output_layout,
                pointer(output),
                output_layout,
                &raw const plan.algorithms[algorithm],
                pointer(self.workspace.view()),
                WORKSPACE_BYTES as usize,
                stream.handle.cast(),
            )
        };
        checked("cublasLtMatmul", status)
    }

    /// Times the candidates on real buffers and keeps the fastest; `output` is overwritten.
    /// Returns its time \[ns\], the median of seven runs.
    ///
    /// # Errors
    /// As [`Gemm::launch`].
    pub fn tune(
        &self,
        stream: &Stream,
        plan: &mut GemmPlan,
        input: View,
        weight: View,
        output: View,
    ) -> Result<u64, Error> {
        plan.shape.check_buffers(input, weight, output)?;
        let (start, end) = (Event::new(&self.gpu)?, Event::new(&self.gpu)?);
        let mut best = (u64::MAX, 0);
        for algorithm in 0..plan.algorithms.len() {
            let mut times = Vec::with_capacity(7);
            for _ in 0..8 {
                start.record(stream)?;
                self.submit(stream, plan, algorithm, [input, weight, output], false)?;
                end.record(stream)?;
                end.synchronize()?;
                times.push(end.nanos_since(&start)?);
            }
            // The first run loads code.
            times.remove(0);
            times.sort_unstable();
            best = best.min((times[3], algorithm));
        }
        plan.chosen = best.1;
        Ok(best.0)
    }
}

impl GemmShape {
    fn check(&self) -> Result<(), ArgumentError> {
        let most = (1 << 31) - 1;
        within("gemm", "rows", self.rows.into(), 1, most)?;
        within("gemm", "columns", self.columns.into(), 1, most)?;
        within("gemm", "inner", self.inner.into(), 1, most)
    }

    fn check_buffers(&self, input: View, weight: View, output: View) -> Result<(), ArgumentError> {
        let (rows, columns, inner) = (
            u64::from(self.rows),
            u64::from(self.columns),
            u64::from(self.inner),
        );
        let element = match self.output {
            GemmOutput::Bf16 => 2,
            GemmOutput::Float => 4,
        };
        // The chosen algorithms load vectors of 16 bytes.
        holds("gemm", "input", input, 2 * rows * inner, 16)?;
        holds("gemm", "weight", weight, 2 * columns * inner, 16)?;
        holds("gemm", "output", output, element * rows * columns, 16)
    }
}

impl GemmPlan {
    /// The shape it was made for.
    pub fn shape(&self) -> GemmShape {
        self.shape
    }
}

impl Drop for GemmPlan {
    fn drop(&mut self) {
        // SAFETY: each was created once, in `plan`.
        unsafe {
            for layout in self.layouts {
                let _ = result::destroy_matrix_layout(layout);
            }
            let _ = result::destroy_matmul_desc(self.operation);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once, after the last plan.
        unsafe {
            let _ = result::destroy_handle(self.0);
        }
    }
}

/// One element of the product, in double precision.
pub fn reference(input_row: &[half::bf16], weight_row: &[half::bf16]) -> f64 {
    input_row
        .iter()
        .zip(weight_row)
        .map(|(x, w)| x.to_f64() * w.to_f64())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: GemmShape = GemmShape {
        rows: 3,
        columns: 5,
        inner: 8,
        output: GemmOutput::Float,
    };

    #[test]
    fn an_element_is_the_inner_product_of_two_rows() {
        let row = [1.0, 2.0, 3.0].map(half::bf16::from_f32);
        let weight = [4.0, -5.0, 6.0].map(half::bf16::from_f32);
        assert!((reference(&row, &weight) - 12.0).abs() < 1e-12);
    }

    #[test]
    fn empty_shapes_and_short_buffers_are_refused() {
        assert!(GemmShape { inner: 0, ..SHAPE }.check().is_err());
        let wide = View::new(0, 1 << 10);
        assert!(SHAPE.check_buffers(wide, wide, View::new(0, 60)).is_ok());
        let error = SHAPE
            .check_buffers(wide, wide, View::new(0, 59))
            .unwrap_err();
        assert!(matches!(
            error,
            ArgumentError::TooShort {
                name: "output",
                need: 60,
                ..
            }
        ));
    }
}
