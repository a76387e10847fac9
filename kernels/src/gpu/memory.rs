//! GPU memory: buffers that own it, views that name a part of it.

use cudarc::driver::{result, sys};

use super::{ArgumentError, Error, Gpu, checked_as};

/// Element types whose every bit pattern is a value, and which have no padding.
pub trait Plain: Copy + Default + sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! plain {
    ($($type:ty),*) => { $(impl sealed::Sealed for $type {} impl Plain for $type {})* };
}
plain!(u8, u16, i32, u32, u64, f32, half::bf16);

/// An address range that the GPU can read and write: HBM, or pinned host memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    address: u64,
    bytes: u64,
}

impl View {
    pub(crate) fn new(address: u64, bytes: u64) -> Self {
        Self { address, bytes }
    }

    /// The GPU address of the first byte.
    pub fn address(self) -> u64 {
        self.address
    }

    /// Length in bytes.
    pub fn bytes(self) -> u64 {
        self.bytes
    }

    /// The `bytes` bytes from `offset` on.
    ///
    /// # Errors
    /// [`ArgumentError::TooShort`] if they reach past the end.
    pub fn slice(self, offset: u64, bytes: u64) -> Result<Self, Error> {
        let need = offset.saturating_add(bytes);
        if need > self.bytes {
            let error = ArgumentError::TooShort {
                operation: "slice",
                name: "view",
                have: self.bytes,
                need,
            };
            return Err(error.into());
        }
        Ok(Self {
            address: self.address + offset,
            bytes,
        })
    }
}

/// One allocation in HBM, freed with the value, after the GPU has finished what was submitted.
pub struct DeviceBuffer {
    view: View,
    gpu: Gpu,
}

impl DeviceBuffer {
    /// Takes `bytes` bytes of HBM; their content is whatever was there.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] with what is free, [`ArgumentError::OutOfRange`] for zero bytes.
    pub fn new(gpu: &Gpu, bytes: u64) -> Result<Self, Error> {
        if bytes == 0 {
            let (operation, name) = ("device buffer", "bytes");
            return Err(ArgumentError::OutOfRange {
                operation,
                name,
                value: 0,
                least: 1,
                most: u64::MAX,
            }
            .into());
        }
        gpu.bind_thread()?;
        // SAFETY: freed once, in `Drop`.
        match unsafe { result::malloc_sync(bytes as usize) } {
            Ok(address) => Ok(Self {
                view: View::new(address, bytes),
                gpu: gpu.clone(),
            }),
            Err(error) if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                let (free, total) = gpu.memory()?;
                Err(Error::OutOfMemory {
                    requested: bytes,
                    free,
                    total,
                })
            }
            Err(error) => checked_as("cuMemAlloc", Err(error)),
        }
    }

    /// A buffer of `values.len()` elements that holds `values`.
    ///
    /// # Errors
    /// As [`DeviceBuffer::new`], or what the driver refuses.
    pub fn from_slice<T: Plain>(stream: &super::Stream, values: &[T]) -> Result<Self, Error> {
        let buffer = Self::new(&stream.gpu, size_of_val(values) as u64)?;
        stream.upload(buffer.view(), values)?;
        Ok(buffer)
    }

    /// All of it.
    pub fn view(&self) -> View {
        self.view
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        // SAFETY: allocated once, freed once; the wait keeps the memory for work already submitted.
        unsafe {
            let _ = self.gpu.synchronize();
            let _ = result::free_sync(self.view.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_of_a_view_is_an_offset_and_a_length() {
        let view = View::new(1 << 20, 4096);
        assert_eq!(
            view.slice(1024, 3072).unwrap(),
            View::new((1 << 20) + 1024, 3072)
        );
    }

    #[test]
    fn a_slice_past_the_end_names_what_it_needs() {
        let text = View::new(1 << 20, 4096)
            .slice(1024, 3073)
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("has 4096 bytes") && text.contains("needs 4097"),
            "{text}"
        );
        assert!(View::new(0, 8).slice(u64::MAX, 2).is_err());
    }
}
