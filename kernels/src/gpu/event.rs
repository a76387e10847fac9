//! Events: marks in a stream that say whether the work before them is done, and when it was.

use std::ffi::c_int;
use std::sync::OnceLock;

use cudarc::driver::{result, sys};

use super::{Error, Gpu, Stream, checked, checked_as};

/// A mark in a stream, with device time.
pub struct Event {
    pub(crate) handle: sys::CUevent,
    gpu: Gpu,
}

// SAFETY: event handles may be used from any thread; the driver locks them itself.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

impl Event {
    /// A new event, recorded nowhere yet.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn new(gpu: &Gpu) -> Result<Self, Error> {
        gpu.bind_thread()?;
        let handle = checked_as(
            "cuEventCreate",
            result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT),
        )?;
        Ok(Self {
            handle,
            gpu: gpu.clone(),
        })
    }

    /// Marks the present end of `stream`. An event may be recorded again; the last mark counts.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn record(&self, stream: &Stream) -> Result<(), Error> {
        // SAFETY: both handles live as long as their owners.
        checked("cuEventRecord", unsafe {
            sys::cuEventRecord(self.handle, stream.handle)
        })
    }

    /// Whether the work before the mark is done; never blocks. True for an event never recorded.
    ///
    /// # Errors
    /// What the driver refuses; a fault of the work before the mark surfaces here.
    pub fn is_done(&self) -> Result<bool, Error> {
        // SAFETY: the handle lives as long as `self`.
        match unsafe { sys::cuEventQuery(self.handle) } {
            sys::CUresult::CUDA_ERROR_NOT_READY => Ok(false),
            other => checked("cuEventQuery", other).map(|()| true),
        }
    }

    /// Blocks until the work before the mark is done.
    ///
    /// # Errors
    /// As [`Event::is_done`].
    pub fn synchronize(&self) -> Result<(), Error> {
        // SAFETY: the handle lives as long as `self`.
        checked("cuEventSynchronize", unsafe {
            sys::cuEventSynchronize(self.handle)
        })
    }

    /// Device time from `start` to `self` \[ns\]; the hardware's resolution is about half a microsecond.
    ///
    /// # Errors
    /// What the driver refuses, such as an event that is not done.
    pub fn nanos_since(&self, start: &Event) -> Result<u64, Error> {
        let mut millis = 0.0_f32;
        // SAFETY: both handles live; the call writes one float.
        let status = unsafe { elapsed_time()?(&raw mut millis, start.handle, self.handle) };
        if status != 0 {
            return Err(Error::Cuda {
                call: "cuEventElapsedTime",
                name: format!("CUDA error {status}"),
            });
        }
        Ok((f64::from(millis) * 1e6).round().max(0.0) as u64)
    }
}

type ElapsedTime = unsafe extern "C" fn(*mut f32, sys::CUevent, sys::CUevent) -> c_int;

/// The first form of `cuEventElapsedTime`, looked up by hand: every driver has it, while the second, the
/// only one that cudarc offers for CUDA 13, is missing from drivers of CUDA 12.
fn elapsed_time() -> Result<ElapsedTime, Error> {
    static FOUND: OnceLock<Option<ElapsedTime>> = OnceLock::new();
    // SAFETY: the library is loaded, for an `Event` exists; the type is the documented signature.
    let found = FOUND.get_or_init(|| unsafe {
        sys::culib()
            .get::<ElapsedTime>(b"cuEventElapsedTime")
            .ok()
            .map(|symbol| *symbol)
    });
    found.ok_or_else(|| Error::Cuda {
        call: "cuEventElapsedTime",
        name: "the driver has no such function".into(),
    })
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: created in `new`, destroyed once. A refusal here has no one left to act on it.
        unsafe {
            let _ = self.gpu.bind_thread();
            let _ = result::event::destroy(self.handle);
        }
    }
}
