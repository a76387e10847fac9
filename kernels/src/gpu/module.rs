//! Shipped kernels: machine code where it fits the GPU, PTX otherwise.

use std::ffi::{CString, c_void};
use std::sync::Arc;

use cudarc::driver::{result, sys};

use super::error::name_of;
use super::{Error, Gpu, Stream, checked, checked_as};

/// The two forms in which a kernel source ships.
#[derive(Clone, Copy)]
pub struct Image {
    /// Name of the source, without its ending.
    pub name: &'static str,
    /// Machine code for compute capability 9.0.
    pub cubin: &'static [u8],
    /// PTX for compute capability 8.0 and later, compiled by the driver as it loads.
    pub ptx: &'static [u8],
}

/// Which of the two forms a module was loaded from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKind {
    /// Machine code.
    Cubin,
    /// PTX.
    Ptx,
}

/// The [`Image`] of `ptx/<name>`, embedded.
macro_rules! image {
    ($name:literal) => {
        $crate::gpu::Image {
            name: $name,
            cubin: include_bytes!(concat!("../ptx/", $name, ".sm_90a.cubin")),
            ptx: include_bytes!(concat!("../ptx/", $name, ".ptx")),
        }
    };
}
pub(crate) use image;

/// A loaded image.
pub struct Module {
    loaded: Arc<Loaded>,
    kind: ImageKind,
}

struct Loaded {
    handle: sys::CUmodule,
    gpu: Gpu,
}

// SAFETY: module handles may be used from any thread; the driver locks them itself.
unsafe impl Send for Loaded {}
// SAFETY: as above.
unsafe impl Sync for Loaded {}

impl Module {
    /// Loads `image`: its machine code if the GPU takes it, else its PTX.
    ///
    /// # Errors
    /// [`Error::Module`] if the GPU takes neither.
    pub fn load(gpu: &Gpu, image: &Image) -> Result<Self, Error> {
        let machine_code = if gpu.ptx_only() {
            Err("not tried".to_owned())
        } else {
            Self::load_as(gpu, image, ImageKind::Cubin)
        };
        match machine_code {
            Ok(module) => Ok(module),
            Err(cubin) => Self::load_as(gpu, image, ImageKind::Ptx).map_err(|ptx| Error::Module {
                module: image.name,
                device: gpu.info().name.clone(),
                driver: gpu.info().driver,
                cubin,
                ptx,
            }),
        }
    }

    /// Loads one form of `image`; the error is CUDA's name of the reason.
    fn load_as(gpu: &Gpu, image: &Image, kind: ImageKind) -> Result<Self, String> {
        gpu.bind_thread().map_err(|error| error.to_string())?;
        let handle = match kind {
            // SAFETY: a complete ELF image, which states its own length.
            ImageKind::Cubin => unsafe { result::module::load_data(image.cubin.as_ptr().cast()) },
            ImageKind::Ptx => {
                let text = CString::new(image.ptx).map_err(|error| error.to_string())?;
                // SAFETY: text that ends with a zero byte.
                unsafe { result::module::load_data(text.as_ptr().cast()) }
            }
        };
        let handle = handle.map_err(|error| name_of(error.0))?;
        Ok(Self {
            loaded: Arc::new(Loaded {
                handle,
                gpu: gpu.clone(),
            }),
            kind,
        })
    }

    /// Which form was loaded.
    pub fn kind(&self) -> ImageKind {
        self.kind
    }

    /// The kernel `name`, allowed `shared_bytes` of dynamic shared memory.
    ///
    /// # Errors
    /// What the driver refuses: an unknown name, or more shared memory than the GPU has.
    pub fn kernel(&self, name: &str, shared_bytes: u32) -> Result<Kernel, Error> {
        self.loaded.gpu.bind_thread()?;
        let symbol = CString::new(name).map_err(|_| Error::Cuda {
            call: "cuModuleGetFunction",
            name: format!("`{name:?}` is no kernel name"),
        })?;
        // SAFETY: the module is loaded as long as `self.loaded` lives, which the kernel shares.
        let function = checked_as("cuModuleGetFunction", unsafe {
            result::module::get_function(self.loaded.handle, symbol)
        })?;
        if shared_bytes > 0 {
            let attribute =
                sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: as above.
            let status =
                unsafe { sys::cuFuncSetAttribute(function, attribute, shared_bytes as i32) };
            checked("cuFuncSetAttribute", status)?;
        }
        Ok(Kernel {
            function,
            shared_bytes,
            kind: self.kind,
            _module: Arc::clone(&self.loaded),
        })
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // SAFETY: loaded once, unloaded once, after the last kernel of it; the wait lets running ones end.
        unsafe {
            let _ = self.gpu.synchronize();
            let _ = result::module::unload(self.handle);
        }
    }
}

/// How many CTAs, and how many threads in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    /// CTAs along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a CTA.
    pub threads: u32,
}

/// A kernel ready to launch.
pub struct Kernel {
    function: sys::CUfunction,
    shared_bytes: u32,
    kind: ImageKind,
    _module: Arc<Loaded>,
}

// SAFETY: function handles may be used from any thread; the driver locks them itself.
unsafe impl Send for Kernel {}
// SAFETY: as above.
unsafe impl Sync for Kernel {}

impl Kernel {
    /// Which form of the image the kernel comes from.
    pub fn kind(&self) -> ImageKind {
        self.kind
    }

    /// Submits the kernel with one struct as its parameter.
    ///
    /// # Safety
    /// 1. `P` has the layout of the kernel's parameter struct.
    /// 2. Every address in it covers what the kernel reads and writes for this grid.
    ///
    /// # Errors
    /// What the driver refuses, such as a grid beyond its limits.
    pub unsafe fn launch<P: Copy>(
        &self,
        stream: &Stream,
        launch: Launch,
        parameters: &P,
    ) -> Result<(), Error> {
        let mut pointers = [std::ptr::from_ref(parameters).cast_mut().cast::<c_void>()];
        let [x, y, z] = launch.grid;
        // SAFETY: handles live; the driver copies the parameters before it returns; the rest is the caller's word.
        let status = unsafe {
            sys::cuLaunchKernel(
                self.function,
                x,
                y,
                z,
                launch.threads,
                1,
                1,
                self.shared_bytes,
                stream.handle,
                pointers.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        checked("cuLaunchKernel", status)
    }

    /// The same, and the kernel may start while the one before it in `stream` is ending (programmatic dependent launch).
    ///
    /// Machine code of 9.0 knows how to wait for its predecessor; the PTX form does not, and starts after it.
    ///
    /// # Safety
    /// As [`Kernel::launch`], and:
    /// 3. Every thread calls `await_predecessor` (`overlap.cuh`) before it touches what a kernel that it may overlap with writes or reads.
    ///
    /// # Errors
    /// As [`Kernel::launch`].
    pub unsafe fn launch_overlapping<P: Copy>(
        &self,
        stream: &Stream,
        launch: Launch,
        parameters: &P,
    ) -> Result<(), Error> {
        if self.kind == ImageKind::Ptx {
            // SAFETY: the caller's word covers it.
            return unsafe { self.launch(stream, launch, parameters) };
        }
        let mut pointers = [std::ptr::from_ref(parameters).cast_mut().cast::<c_void>()];
        let mut overlap = sys::CUlaunchAttribute {
            id: sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
            pad: [0; 4],
            value: sys::CUlaunchAttributeValue {
                programmaticStreamSerializationAllowed: 1,
            },
        };
        let [x, y, z] = launch.grid;
        let config = sys::CUlaunchConfig {
            gridDimX: x,
            gridDimY: y,
            gridDimZ: z,
            blockDimX: launch.threads,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: self.shared_bytes,
            hStream: stream.handle,
            attrs: &raw mut overlap,
            numAttrs: 1,
        };
        // SAFETY: handles live; configuration and parameters are copied before the call returns; the rest is the caller's word.
        let status = unsafe {
            sys::cuLaunchKernelEx(
                &raw const config,
                self.function,
                pointers.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        checked("cuLaunchKernelEx", status)
    }
}
