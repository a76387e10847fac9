//! Stand-ins for compute: `touch` reads memory at HBM speed, `spin` passes time on one multiprocessor.
//! Shapes, grid and traffic: `occupy.cu`.

use crate::arguments::{holds, multiple, within};
use crate::gpu::{ArgumentError, Error, Gpu, Image, Kernel, Launch, Module, Stream, View, image};

/// The shipped kernels.
pub const IMAGE: Image = image!("occupy");

/// Keeps the GPU busy.
pub struct Occupy {
    touch: Kernel,
    spin: Kernel,
    ctas: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct TouchParameters {
    input: u64,
    vector_count: u64,
    sink: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct SpinParameters {
    nanos: u64,
}

impl Occupy {
    /// Loads the kernels.
    ///
    /// # Errors
    /// [`Error::Module`] if the GPU takes neither of their forms.
    pub fn load(gpu: &Gpu) -> Result<Self, Error> {
        let module = Module::load(gpu, &IMAGE)?;
        let (touch, spin) = (module.kernel("touch", 0)?, module.kernel("spin", 0)?);
        Ok(Self {
            touch,
            spin,
            ctas: 8 * gpu.info().multiprocessors,
        })
    }

    /// Reads all of `input` once and adds the sum of its 32-bit words to `sink`, a uint64.
    ///
    /// # Errors
    /// A typed argument error for a length or an address that is no multiple of 16 bytes, or what the driver refuses.
    pub fn touch(&self, stream: &Stream, input: View, sink: View) -> Result<(), Error> {
        let parameters = check_touch(input, sink)?;
        // SAFETY: 1. the struct mirrors `TouchArgs`. 2. checked above.
        unsafe {
            self.touch.launch(
                stream,
                Launch {
                    grid: [self.ctas, 1, 1],
                    threads: 256,
                },
                &parameters,
            )
        }
    }

    /// Takes `nanos` nanoseconds of device time, give or take the timer's step of about a microsecond.
    ///
    /// # Errors
    /// A typed argument error beyond 100 s, or what the driver refuses.
    pub fn spin(&self, stream: &Stream, nanos: u64) -> Result<(), Error> {
        within("spin", "nanos", nanos, 0, 100_000_000_000)?;
        // SAFETY: 1. the struct mirrors `SpinArgs`. 2. it holds no address.
        unsafe {
            self.spin.launch(
                stream,
                Launch {
                    grid: [1, 1, 1],
                    threads: 1,
                },
                &SpinParameters { nanos },
            )
        }
    }
}

fn check_touch(input: View, sink: View) -> Result<TouchParameters, ArgumentError> {
    multiple("touch", "input", input.bytes(), 16)?;
    holds("touch", "input", input, 16, 16)?;
    holds("touch", "sink", sink, 8, 8)?;
    Ok(TouchParameters {
        input: input.address(),
        vector_count: input.bytes() / 16,
        sink: sink.address(),
    })
}

/// What `touch` adds to its sink.
pub fn reference(words: &[u32]) -> u64 {
    words
        .iter()
        .fold(0, |sum, &word| sum.wrapping_add(word.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_wider_than_its_words() {
        assert_eq!(
            reference(&[u32::MAX, u32::MAX, 2]),
            2 * u64::from(u32::MAX) + 2
        );
    }

    #[test]
    fn an_odd_length_and_a_short_sink_are_refused() {
        assert!(check_touch(View::new(0, 64), View::new(0, 8)).is_ok());
        assert!(check_touch(View::new(0, 60), View::new(0, 8)).is_err());
        assert!(check_touch(View::new(0, 64), View::new(0, 4)).is_err());
    }
}
