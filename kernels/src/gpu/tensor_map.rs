//! What the tensor memory accelerator knows of a matrix: where it is, its shape, and the boxes that are copied.

use cudarc::driver::sys;

use super::{Error, View, checked};

/// A matrix of bf16 in HBM, to be copied in boxes of [`TensorMap::BOX_COLUMNS`] columns, laid out in shared memory as `tma.cuh` says.
///
/// A kernel parameter: 128 bytes, passed by value, which name an address and own nothing.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct TensorMap(sys::CUtensorMap);

impl TensorMap {
    /// Columns of a box: the 128 bytes that the swizzle permutes.
    pub const BOX_COLUMNS: u32 = 64;

    /// Describes `[rows][columns]` of bf16 from the start of `matrix` on, in boxes of `box_rows`, at most 256.
    ///
    /// # Errors
    /// What the driver refuses: addresses that are no multiple of 16 bytes, columns that are none of eight.
    pub(crate) fn new(matrix: View, rows: u32, columns: u32, box_rows: u32) -> Result<Self, Error> {
        let shape = [u64::from(columns), u64::from(rows)];
        let row_bytes = 2 * u64::from(columns);
        let boxed = [Self::BOX_COLUMNS, box_rows];
        let every = [1_u32; 2];
        let mut map = std::mem::MaybeUninit::<sys::CUtensorMap>::uninit();
        // SAFETY: all arrays have as many elements as the rank says; the address is only written down.
        let status = unsafe {
            sys::cuTensorMapEncodeTiled(
                map.as_mut_ptr(),
                sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                2,
                matrix.address() as *mut _,
                shape.as_ptr(),
                &raw const row_bytes,
                boxed.as_ptr(),
                every.as_ptr(),
                sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
                sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_NONE,
                sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        };
        checked("cuTensorMapEncodeTiled", status)?;
        // SAFETY: the call succeeded, so it has written the map.
        Ok(Self(unsafe { map.assume_init() }))
    }
}
