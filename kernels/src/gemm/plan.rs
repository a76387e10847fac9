//! A shape with the algorithm chosen for it.

use std::sync::Arc;

use cudarc::cublaslt::{result, sys};

use super::{Gemm, GemmOutput, GemmShape, Handle, WORKSPACE_BYTES, checked};
use crate::gpu::Error;

/// `CUBLAS_OP_T`, which cudarc declares for cuBLAS but not for cuBLASLt.
static TRANSPOSED: i32 = 1;
/// Algorithms that tuning times.
const CANDIDATES: usize = 8;

/// A shape with the algorithm chosen for it.
pub struct GemmPlan {
    pub(super) shape: GemmShape,
    pub(super) operation: sys::cublasLtMatmulDesc_t,
    pub(super) layouts: [sys::cublasLtMatrixLayout_t; 3],
    pub(super) algorithms: Vec<sys::cublasLtMatmulAlgo_t>,
    pub(super) chosen: usize,
    _handle: Arc<Handle>,
}

// SAFETY: descriptors are plain memory of the library, changed by nobody after `plan`.
unsafe impl Send for GemmPlan {}

impl Gemm {
    /// Chooses an algorithm for `shape`: the library's first guess.
    ///
    /// # Errors
    /// A typed argument error for an empty shape, or [`Error::Blas`] if no algorithm fits.
    pub fn plan(&self, shape: GemmShape) -> Result<GemmPlan, Error> {
        let mut plan = self.described(shape)?;
        plan.algorithms = self.candidates(&plan)?;
        Ok(plan)
    }

    /// A plan without an algorithm.
    fn described(&self, shape: GemmShape) -> Result<GemmPlan, Error> {
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
        Ok(GemmPlan {
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
        })
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
