//! Matrix products by cuBLASLt: `output = input * weight^T`, or `output += ..`, bf16 in, float accumulation.
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

use crate::gpu::{DeviceBuffer, Error, Gpu, Stream, View};

mod plan;
mod shape;
mod tune;

pub use plan::GemmPlan;
pub use shape::{GemmOutput, GemmShape};

/// Bytes of scratch memory for split products; 32 MiB is what the library's guide asks for on Hopper.
const WORKSPACE_BYTES: u64 = 32 << 20;

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

    /// Submits the product to `stream`.
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
    ) -> Result<(), Error> {
        plan.shape.check_buffers(input, weight, output)?;
        self.submit(stream, plan, plan.chosen, [input, weight, output])
    }

    fn submit(
        &self,
        stream: &Stream,
        plan: &GemmPlan,
        algorithm: usize,
        [input, weight, output]: [View; 3],
    ) -> Result<(), Error> {
        let one = 1.0_f32;
        let beta = if plan.shape.accumulate { 1.0_f32 } else { 0.0 };
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

    #[test]
    fn an_element_is_the_inner_product_of_two_rows() {
        let row = [1.0, 2.0, 3.0].map(half::bf16::from_f32);
        let weight = [4.0, -5.0, 6.0].map(half::bf16::from_f32);
        assert!((reference(&row, &weight) - 12.0).abs() < 1e-12);
    }
}
