//! Streams: queues of GPU work, in order within one, independent between them.

use cudarc::driver::{result, sys};

use super::{ArgumentError, Error, Event, Gpu, Graph, Plain, View, checked, checked_as};

/// A queue of GPU work; independent of the default stream.
pub struct Stream {
    pub(crate) handle: sys::CUstream,
    pub(crate) gpu: Gpu,
}

// SAFETY: stream handles may be used from any thread; the driver locks them itself.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Sync for Stream {}

impl Stream {
    /// A new stream of ordinary priority.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn new(gpu: &Gpu) -> Result<Self, Error> {
        gpu.bind_thread()?;
        let handle = checked_as(
            "cuStreamCreate",
            result::stream::create(result::stream::StreamKind::NonBlocking),
        )?;
        Ok(Self {
            handle,
            gpu: gpu.clone(),
        })
    }

    /// A new stream of the highest priority: its kernels take free multiprocessors before those of other streams.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn urgent(gpu: &Gpu) -> Result<Self, Error> {
        gpu.bind_thread()?;
        let (mut least, mut greatest) = (0, 0);
        let mut handle = std::ptr::null_mut();
        // SAFETY: each call writes what it is given the address of.
        unsafe {
            checked(
                "cuCtxGetStreamPriorityRange",
                sys::cuCtxGetStreamPriorityRange(&raw mut least, &raw mut greatest),
            )?;
            let flags = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
            checked(
                "cuStreamCreateWithPriority",
                sys::cuStreamCreateWithPriority(&raw mut handle, flags, greatest),
            )?;
        }
        Ok(Self {
            handle,
            gpu: gpu.clone(),
        })
    }

    /// Copies all of `from` to `to`, which has the same length; HBM and pinned host memory in any combination.
    ///
    /// # Errors
    /// [`ArgumentError::Unequal`] for different lengths, or what the driver refuses.
    pub fn copy(&self, to: View, from: View) -> Result<(), Error> {
        equal_length(to, from)?;
        // SAFETY: addresses are GPU or registered host ranges by construction of `View`.
        let status = unsafe {
            sys::cuMemcpyAsync(
                to.address(),
                from.address(),
                to.bytes() as usize,
                self.handle,
            )
        };
        checked("cuMemcpyAsync", status)
    }

    /// Sets every byte of `to`.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn fill(&self, to: View, byte: u8) -> Result<(), Error> {
        // SAFETY: as in `copy`.
        let status =
            unsafe { sys::cuMemsetD8Async(to.address(), byte, to.bytes() as usize, self.handle) };
        checked("cuMemsetD8Async", status)
    }

    /// Copies `values` to the front of `to` and waits until they are there. For set-up, not for the hot path.
    ///
    /// # Errors
    /// [`ArgumentError::TooShort`] if `to` cannot hold them, or what the driver refuses.
    pub fn upload<T: Plain>(&self, to: View, values: &[T]) -> Result<(), Error> {
        let need = size_of_val(values) as u64;
        if to.bytes() < need {
            return Err(ArgumentError::TooShort {
                operation: "upload",
                name: "to",
                have: to.bytes(),
                need,
            }
            .into());
        }
        // SAFETY: `values` outlives the copy because of the wait below.
        let status = unsafe {
            sys::cuMemcpyHtoDAsync_v2(
                to.address(),
                values.as_ptr().cast(),
                need as usize,
                self.handle,
            )
        };
        checked("cuMemcpyHtoDAsync", status)?;
        self.synchronize()
    }

    /// Reads all of `from` as values of `T`, after everything submitted before. For tests and set-up.
    ///
    /// # Errors
    /// [`ArgumentError::NotMultiple`] if the length is not a whole number of values, or what the driver refuses.
    pub fn download<T: Plain>(&self, from: View) -> Result<Vec<T>, Error> {
        let size = size_of::<T>() as u64;
        if !from.bytes().is_multiple_of(size) {
            let error = ArgumentError::NotMultiple {
                operation: "download",
                name: "from",
                value: from.bytes(),
                multiple: size,
            };
            return Err(error.into());
        }
        let mut values = vec![T::default(); (from.bytes() / size) as usize];
        // SAFETY: `values` has exactly that many bytes and outlives the copy because of the wait below.
        let status = unsafe {
            sys::cuMemcpyDtoHAsync_v2(
                values.as_mut_ptr().cast(),
                from.address(),
                from.bytes() as usize,
                self.handle,
            )
        };
        checked("cuMemcpyDtoHAsync", status)?;
        self.synchronize()?;
        Ok(values)
    }

    /// Makes later work of this stream wait for `event`.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn wait(&self, event: &Event) -> Result<(), Error> {
        // SAFETY: both handles live.
        checked("cuStreamWaitEvent", unsafe {
            sys::cuStreamWaitEvent(self.handle, event.handle, 0)
        })
    }

    /// Blocks until everything submitted to this stream is done.
    ///
    /// # Errors
    /// What the driver refuses; a fault of an earlier kernel surfaces here.
    pub fn synchronize(&self) -> Result<(), Error> {
        // SAFETY: the handle lives.
        checked("cuStreamSynchronize", unsafe {
            sys::cuStreamSynchronize(self.handle)
        })
    }

    /// Records what `submit` puts into this stream as a graph, without running it.
    ///
    /// # Errors
    /// The error of `submit`, or what the driver refuses (waiting inside `submit`, for one).
    pub fn capture(&self, submit: impl FnOnce(&Self) -> Result<(), Error>) -> Result<Graph, Error> {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the handle lives.
        checked("cuStreamBeginCapture", unsafe {
            sys::cuStreamBeginCapture_v2(self.handle, mode)
        })?;
        let submitted = submit(self);
        // SAFETY: capture began above; it must end whatever `submit` returned.
        let captured = checked_as("cuStreamEndCapture", unsafe {
            result::stream::end_capture(self.handle)
        });
        submitted?;
        Graph::instantiate(&self.gpu, captured?)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: created in `new`, destroyed once; the driver frees it when its work is done.
        unsafe {
            let _ = self.gpu.bind_thread();
            let _ = result::stream::destroy(self.handle);
        }
    }
}

pub(super) fn equal_length(to: View, from: View) -> Result<(), Error> {
    if to.bytes() == from.bytes() {
        return Ok(());
    }
    let error = ArgumentError::Unequal {
        operation: "copy",
        name: "to",
        value: to.bytes(),
        other: "from",
        other_value: from.bytes(),
    };
    Err(error.into())
}
