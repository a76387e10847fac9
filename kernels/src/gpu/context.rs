//! One GPU: its primary context, and what the driver says about it.

use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cudarc::driver::{result, sys};

use super::{Error, checked, checked_as};

/// A handle on one GPU; clones share the context.
#[derive(Clone)]
pub struct Gpu {
    pub(crate) context: Arc<Context>,
}

/// The primary context of a GPU, retained until the last handle is gone.
pub(crate) struct Context {
    device: sys::CUdevice,
    handle: sys::CUcontext,
    info: DeviceInfo,
    ptx_only: AtomicBool,
}

// SAFETY: contexts and devices are process-wide handles; the driver API locks them itself.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

/// What a run's manifest says about the GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Index among the GPUs that the driver shows to this process.
    pub ordinal: u32,
    /// Name by the vendor, such as `NVIDIA H200`.
    pub name: String,
    /// Compute capability, major and minor.
    pub capability: (u32, u32),
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of L2 cache.
    pub l2_bytes: u64,
    /// Bytes of HBM.
    pub memory_bytes: u64,
    /// Copy engines that run beside kernels.
    pub copy_engines: u32,
    /// Highest CUDA version of the driver: 12080 is 12.8.
    pub driver: i32,
}

impl Gpu {
    /// GPUs that the driver shows to this process.
    ///
    /// # Errors
    /// [`Error::NoDriver`] if there is no driver library.
    pub fn count() -> Result<u32, Error> {
        initialise()?;
        let count = checked_as("cuDeviceGetCount", result::device::get_count())?;
        Ok(u32::try_from(count).unwrap_or(0))
    }

    /// Opens GPU `ordinal` and makes it current on this thread.
    ///
    /// # Errors
    /// [`Error::NoDriver`], [`Error::NoDevice`], or what the driver refuses.
    pub fn open(ordinal: u32) -> Result<Self, Error> {
        let count = match Self::count() {
            // A driver without a GPU says so at its initialisation.
            Err(Error::Cuda { name, .. }) if name == "CUDA_ERROR_NO_DEVICE" => 0,
            other => other?,
        };
        if ordinal >= count {
            return Err(Error::NoDevice { ordinal, count });
        }
        let device = checked_as("cuDeviceGet", result::device::get(ordinal as c_int))?;
        let info = describe(device, ordinal)?;
        // SAFETY: `device` came from the driver; released in `Drop`.
        let handle = checked_as("cuDevicePrimaryCtxRetain", unsafe {
            result::primary_ctx::retain(device)
        })?;
        let gpu = Self {
            context: Arc::new(Context {
                device,
                handle,
                info,
                ptx_only: AtomicBool::new(false),
            }),
        };
        gpu.bind_thread()?;
        Ok(gpu)
    }

    /// Makes this GPU current on the calling thread; every thread that calls into the GPU needs it once.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn bind_thread(&self) -> Result<(), Error> {
        // SAFETY: the context is retained as long as `self` lives.
        checked_as("cuCtxSetCurrent", unsafe {
            result::ctx::set_current(self.context.handle)
        })
    }

    /// Waits until all work submitted to this GPU is done.
    ///
    /// # Errors
    /// What the driver refuses; a fault of an earlier kernel surfaces here.
    pub fn synchronize(&self) -> Result<(), Error> {
        self.bind_thread()?;
        checked_as("cuCtxSynchronize", result::ctx::synchronize())
    }

    /// Loads kernels from PTX from now on, even where machine code fits: to check here what other GPUs run.
    pub fn load_ptx_only(&self) {
        self.context.ptx_only.store(true, Ordering::Relaxed);
    }

    pub(super) fn ptx_only(&self) -> bool {
        self.context.ptx_only.load(Ordering::Relaxed)
    }

    /// What the driver says about this GPU.
    pub fn info(&self) -> &DeviceInfo {
        &self.context.info
    }

    /// Bytes of HBM: free, and in all.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn memory(&self) -> Result<(u64, u64), Error> {
        self.bind_thread()?;
        let (free, total) = checked_as("cuMemGetInfo", result::mem_get_info())?;
        Ok((free as u64, total as u64))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: retained once in `open`. A refusal at this point has no one left to act on it.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}

/// Looks for the library before any call into it: cudarc panics on the first call without one.
fn initialise() -> Result<(), Error> {
    // SAFETY: loads a library by its well-known name and runs its constructors, as any CUDA program does.
    if !unsafe { sys::is_culib_present() } {
        return Err(Error::NoDriver);
    }
    checked_as("cuInit", result::init())
}

fn describe(device: sys::CUdevice, ordinal: u32) -> Result<DeviceInfo, Error> {
    use sys::CUdevice_attribute as Attribute;
    let attribute = |which: Attribute| -> Result<u32, Error> {
        // SAFETY: `device` came from the driver.
        let value = unsafe { result::device::get_attribute(device, which) };
        Ok(u32::try_from(checked_as("cuDeviceGetAttribute", value)?).unwrap_or(0))
    };
    let mut driver = 0;
    // SAFETY: writes one integer.
    checked("cuDriverGetVersion", unsafe {
        sys::cuDriverGetVersion(&raw mut driver)
    })?;
    Ok(DeviceInfo {
        ordinal,
        name: checked_as("cuDeviceGetName", result::device::get_name(device))?,
        capability: (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ),
        multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        l2_bytes: attribute(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?.into(),
        // SAFETY: `device` came from the driver.
        memory_bytes: checked_as("cuDeviceTotalMem", unsafe {
            result::device::total_mem(device)
        })? as u64,
        copy_engines: attribute(Attribute::CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT)?,
        driver,
    })
}
