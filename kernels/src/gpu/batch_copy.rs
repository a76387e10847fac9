//! Many copies in one call: `cuMemcpyBatchAsync`, in whichever form the driver has.
//!
//! One `cuMemcpyAsync` per piece costs about 4 µs of submission each; a batch about 0.5 µs a piece
//! (H200, 128 KiB pieces). Drivers of CUDA 13 have a second form of the call without the index of the
//! failed copy; 12.8 and 12.9 have the first only; older ones have neither and get a loop.

use std::ffi::c_int;

use cudarc::driver::sys;

use super::stream::equal_length;
use super::{Error, Gpu, Stream, View};

/// One copy of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where to.
    pub to: View,
    /// Where from; as long as `to`.
    pub from: View,
}

/// How a batch reaches the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchMethod {
    /// `cuMemcpyBatchAsync_v2`, from CUDA 13.0 on.
    Second,
    /// `cuMemcpyBatchAsync`, from CUDA 12.8 on.
    First,
    /// One `cuMemcpyAsync` per piece.
    Loop,
}

type FirstForm = unsafe extern "C" fn(
    *mut u64,
    *mut u64,
    *mut usize,
    usize,
    *mut Attributes,
    *mut usize,
    usize,
    *mut usize,
    sys::CUstream,
) -> c_int;
type SecondForm = unsafe extern "C" fn(
    *mut u64,
    *mut u64,
    *mut usize,
    usize,
    *mut Attributes,
    *mut usize,
    usize,
    sys::CUstream,
) -> c_int;

/// `CUmemcpyAttributes`: order of source accesses, location hints (type, id) of source and target, flags.
#[repr(C)]
#[derive(Clone, Copy)]
struct Attributes {
    source_order: u32,
    source_hint: [c_int; 2],
    target_hint: [c_int; 2],
    flags: u32,
}

/// Sources are read in stream order: neither before earlier work of the stream, nor by the call itself.
const IN_STREAM_ORDER: Attributes = Attributes {
    source_order: 1,
    source_hint: [0; 2],
    target_hint: [0; 2],
    flags: 0,
};

/// Submits batches of copies; keeps the arrays that the driver reads from batch to batch.
pub struct BatchCopy {
    method: BatchMethod,
    first: Option<FirstForm>,
    second: Option<SecondForm>,
    to: Vec<u64>,
    from: Vec<u64>,
    bytes: Vec<usize>,
}

impl BatchCopy {
    /// Takes the best form that the driver has.
    pub fn new(_: &Gpu) -> Self {
        // SAFETY: the library is loaded, for a `Gpu` exists; both types are the documented signatures,
        // with the result as the integer it is, since newer drivers may return values unknown to cudarc.
        let (first, second) = unsafe {
            let library = sys::culib();
            let first = library
                .get::<FirstForm>(b"cuMemcpyBatchAsync")
                .ok()
                .map(|symbol| *symbol);
            let second = library
                .get::<SecondForm>(b"cuMemcpyBatchAsync_v2")
                .ok()
                .map(|symbol| *symbol);
            (first, second)
        };
        let method = match (&first, &second) {
            (_, Some(_)) => BatchMethod::Second,
            (Some(_), None) => BatchMethod::First,
            (None, None) => BatchMethod::Loop,
        };
        Self {
            method,
            first,
            second,
            to: Vec::new(),
            from: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// The form in use, for the manifest.
    pub fn method(&self) -> BatchMethod {
        self.method
    }

    /// Uses `method` from now on, if the driver has it; returns the one in use.
    pub fn prefer(&mut self, method: BatchMethod) -> BatchMethod {
        let known = match method {
            BatchMethod::Second => self.second.is_some(),
            BatchMethod::First => self.first.is_some(),
            BatchMethod::Loop => true,
        };
        if known {
            self.method = method;
        }
        self.method
    }

    /// Submits all `pieces` to `stream`. Their order among each other is undefined; none overlap.
    ///
    /// # Errors
    /// `ArgumentError::Unequal` for a piece of two lengths, or what the driver refuses.
    pub fn submit(&mut self, stream: &Stream, pieces: &[Piece]) -> Result<(), Error> {
        if pieces.is_empty() {
            return Ok(());
        }
        for piece in pieces {
            equal_length(piece.to, piece.from)?;
        }
        if self.method == BatchMethod::Loop {
            return pieces
                .iter()
                .try_for_each(|piece| stream.copy(piece.to, piece.from));
        }
        self.to.clear();
        self.to
            .extend(pieces.iter().map(|piece| piece.to.address()));
        self.from.clear();
        self.from
            .extend(pieces.iter().map(|piece| piece.from.address()));
        self.bytes.clear();
        self.bytes
            .extend(pieces.iter().map(|piece| piece.to.bytes() as usize));
        let (to, from, bytes) = (
            self.to.as_mut_ptr(),
            self.from.as_mut_ptr(),
            self.bytes.as_mut_ptr(),
        );
        let mut attributes = IN_STREAM_ORDER;
        let mut attributes_from = 0_usize;
        let (attributes, index) = (&raw mut attributes, &raw mut attributes_from);
        // SAFETY: three arrays of `pieces.len()` elements, one attribute that applies from piece 0 on;
        // the driver reads them before it returns.
        let status = match (self.method, self.first, self.second) {
            (BatchMethod::Second, _, Some(call)) => unsafe {
                call(
                    to,
                    from,
                    bytes,
                    pieces.len(),
                    attributes,
                    index,
                    1,
                    stream.handle,
                )
            },
            (BatchMethod::First, Some(call), _) => unsafe {
                let mut failed = usize::MAX;
                call(
                    to,
                    from,
                    bytes,
                    pieces.len(),
                    attributes,
                    index,
                    1,
                    &raw mut failed,
                    stream.handle,
                )
            },
            _ => unreachable!("`new` and `prefer` take only forms that the driver has"),
        };
        if status == 0 {
            return Ok(());
        }
        Err(Error::Cuda {
            call: "cuMemcpyBatchAsync",
            name: format!("CUDA error {status}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attributes_have_the_size_that_the_driver_expects() {
        assert_eq!(
            size_of::<Attributes>(),
            size_of::<sys::CUmemcpyAttributes>()
        );
        let order = sys::CUmemcpySrcAccessOrder_enum::CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
        assert_eq!(IN_STREAM_ORDER.source_order, order as u32);
    }
}
