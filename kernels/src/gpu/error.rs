//! What can go wrong between us and the GPU, each with the value and the remedy.

use cudarc::driver::sys::CUresult;

/// A call that the GPU, its driver or our own checks refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The driver library is not on this machine.
    #[error(
        "no CUDA driver here: libcuda.so.1 was not found; run on a machine with an NVIDIA GPU and a driver of CUDA 12.8 or newer"
    )]
    NoDriver,
    /// A library of the CUDA toolkit is not on this machine.
    #[error(
        "{library} was not found; install the CUDA 12 or 13 runtime libraries, or add their folder to LD_LIBRARY_PATH"
    )]
    NoLibrary {
        /// The library, as its vendor calls it.
        library: &'static str,
    },
    /// The driver is there, the GPU is not.
    #[error("there is no GPU {ordinal}: the driver sees {count}; GPUs count from 0")]
    NoDevice {
        /// The index asked for.
        ordinal: u32,
        /// GPUs that the driver sees.
        count: u32,
    },
    /// The GPU has too little free memory.
    #[error(
        "GPU memory: {requested} bytes asked for, {free} of {total} are free; lower the pool size or end other programs"
    )]
    OutOfMemory {
        /// Bytes of the refused allocation.
        requested: u64,
        /// Bytes free at that moment.
        free: u64,
        /// Bytes that the GPU has.
        total: u64,
    },
    /// Host memory could not be mapped.
    #[error("host pool: mapping {bytes} bytes failed: {source}; lower the pool size")]
    HostMap {
        /// Bytes asked for.
        bytes: u64,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// Host memory was mapped, but the driver would not pin it.
    #[error(
        "host pool: the driver would not pin {bytes} bytes ({name}); lower the pool size or raise the locked-memory limit"
    )]
    HostPin {
        /// Bytes asked for.
        bytes: u64,
        /// CUDA's name of the error.
        name: String,
    },
    /// Neither form of a shipped kernel loads on this GPU and driver.
    #[error(
        "kernel module `{module}` does not load on {device} (driver {driver}): cubin {cubin}, PTX {ptx}; it needs compute capability 8.0 and a driver of CUDA 12.8, or newer"
    )]
    Module {
        /// Name of the module.
        module: &'static str,
        /// The GPU's name.
        device: String,
        /// CUDA version of the driver, such as 12080.
        driver: i32,
        /// Why the machine code was refused.
        cubin: String,
        /// Why the PTX was refused.
        ptx: String,
    },
    /// Any other refusal by the driver.
    #[error("{call} failed: {name}")]
    Cuda {
        /// The driver function.
        call: &'static str,
        /// CUDA's name of the error.
        name: String,
    },
    /// A refusal by cuBLAS.
    #[error("{call} failed: {status}")]
    Blas {
        /// The cuBLASLt function.
        call: &'static str,
        /// cuBLAS's name of the status.
        status: String,
    },
    /// Arguments that a kernel or a copy cannot take.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
}

/// Arguments that a kernel or a copy cannot take, found before anything is submitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// A buffer is shorter than the shape needs.
    #[error(
        "{operation}: `{name}` has {have} bytes, but the shape needs {need}; pass a larger buffer or a smaller shape"
    )]
    TooShort {
        /// Kernel or copy.
        operation: &'static str,
        /// The argument.
        name: &'static str,
        /// Its bytes.
        have: u64,
        /// Bytes that the shape needs.
        need: u64,
    },
    /// A number must be a multiple of another.
    #[error("{operation}: `{name}` is {value}, but must be a multiple of {multiple}")]
    NotMultiple {
        /// Kernel or copy.
        operation: &'static str,
        /// The argument.
        name: &'static str,
        /// Its value.
        value: u64,
        /// What must divide it.
        multiple: u64,
    },
    /// A number is outside its range.
    #[error("{operation}: `{name}` is {value}, but must be {least} to {most}")]
    OutOfRange {
        /// Kernel or copy.
        operation: &'static str,
        /// The argument.
        name: &'static str,
        /// Its value.
        value: u64,
        /// Smallest value allowed.
        least: u64,
        /// Largest value allowed.
        most: u64,
    },
    /// A number is not among those a kernel was built for.
    #[error("{operation}: `{name}` is {value}; the kernel exists for {known}")]
    Unsupported {
        /// Kernel or copy.
        operation: &'static str,
        /// The argument.
        name: &'static str,
        /// Its value.
        value: u64,
        /// The values it was built for.
        known: &'static str,
    },
    /// Two sizes must agree.
    #[error("{operation}: `{name}` is {value}, but `{other}` is {other_value}; they must be equal")]
    Unequal {
        /// Kernel or copy.
        operation: &'static str,
        /// One argument.
        name: &'static str,
        /// Its value.
        value: u64,
        /// The other argument.
        other: &'static str,
        /// Its value.
        other_value: u64,
    },
}

/// CUDA's name of a result, such as `CUDA_ERROR_INVALID_VALUE`.
pub(crate) fn name_of(result: CUresult) -> String {
    format!("{result:?}")
}

/// Turns the result of the driver function `call` into ours.
pub(crate) fn checked(call: &'static str, result: CUresult) -> Result<(), Error> {
    if result == CUresult::CUDA_SUCCESS {
        return Ok(());
    }
    Err(Error::Cuda {
        call,
        name: name_of(result),
    })
}

/// The same for cudarc's thin wrappers, which return a value.
pub(crate) fn checked_as<T>(
    call: &'static str,
    result: Result<T, cudarc::driver::result::DriverError>,
) -> Result<T, Error> {
    result.map_err(|error| Error::Cuda {
        call,
        name: name_of(error.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_call_names_the_function_and_the_reason() {
        let error = checked("cuEventQuery", CUresult::CUDA_ERROR_INVALID_HANDLE).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cuEventQuery failed: CUDA_ERROR_INVALID_HANDLE"
        );
        assert!(checked("cuEventQuery", CUresult::CUDA_SUCCESS).is_ok());
    }

    #[test]
    fn a_missing_driver_is_one_sentence_with_a_remedy() {
        let text = Error::NoDriver.to_string();
        assert!(
            text.contains("libcuda.so.1 was not found") && text.contains("12.8"),
            "{text}"
        );
        assert!(!text.contains('\n'));
    }
}
