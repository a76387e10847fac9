//! Random weights: uniform bf16 values that are a function of seed and index alone, made where they are used.
//! Shape, grid and traffic: `random.cu`.

use half::bf16;

use crate::arguments::{holds, multiple, within};
use crate::gpu::{ArgumentError, Error, Gpu, Image, Kernel, Launch, Module, Stream, View, image};
use crate::mix::mix64;

/// The shipped kernel.
pub const IMAGE: Image = image!("random");

/// Fills buffers with random values.
pub struct Random {
    kernel: Kernel,
    ctas: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Parameters {
    output: u64,
    element_count: u64,
    seed: u64,
    bound: f32,
}

impl Random {
    /// Loads the kernel.
    ///
    /// # Errors
    /// [`Error::Module`] if the GPU takes neither of its forms.
    pub fn load(gpu: &Gpu) -> Result<Self, Error> {
        let kernel = Module::load(gpu, &IMAGE)?.kernel("random_uniform", 0)?;
        Ok(Self {
            kernel,
            ctas: 8 * gpu.info().multiprocessors,
        })
    }

    /// Fills all of `output` with bf16 values from `[-bound, bound)`.
    ///
    /// # Errors
    /// A typed argument error for a length or an address that is no multiple of 16 bytes, or what the driver refuses.
    pub fn fill(&self, stream: &Stream, output: View, seed: u64, bound: f32) -> Result<(), Error> {
        let parameters = check(output, seed, bound)?;
        // SAFETY: 1. the struct mirrors `RandomArgs`. 2. `check` takes the count from the buffer.
        unsafe {
            self.kernel.launch(
                stream,
                Launch {
                    grid: [self.ctas, 1, 1],
                    threads: 256,
                },
                &parameters,
            )
        }
    }
}

fn check(output: View, seed: u64, bound: f32) -> Result<Parameters, ArgumentError> {
    within("random", "output", output.bytes(), 16, u64::MAX)?;
    multiple("random", "output", output.bytes(), 16)?;
    holds("random", "output", output, 16, 16)?;
    Ok(Parameters {
        output: output.address(),
        element_count: output.bytes() / 2,
        seed,
        bound,
    })
}

/// Element `index` of a buffer filled with `seed` and `bound`.
pub fn reference(seed: u64, index: u64, bound: f32) -> bf16 {
    let draw = mix64(mix64(seed).wrapping_add(index)) >> 40;
    bf16::from_f32((draw as f32 * (1.0 / 8_388_608.0) - 1.0) * bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_fill_the_interval_evenly() {
        let draws: Vec<f64> = (0..10_000).map(|i| reference(1, i, 0.5).to_f64()).collect();
        assert!(draws.iter().all(|x| (-0.5..=0.5).contains(x)));
        // Mean 0 +- 0.5 / sqrt(3 * 10,000) = 0.0029 a standard deviation; variance 0.25 / 3.
        let mean = draws.iter().sum::<f64>() / 10_000.0;
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / 10_000.0;
        assert!(mean.abs() < 0.012, "{mean}");
        assert!((variance - 0.25 / 3.0).abs() < 0.005, "{variance}");
    }

    #[test]
    fn another_seed_gives_other_draws() {
        assert!((0..100).any(|i| reference(1, i, 1.0) != reference(2, i, 1.0)));
    }

    #[test]
    fn a_buffer_of_no_whole_vectors_is_refused() {
        assert!(check(View::new(0, 32), 1, 1.0).is_ok());
        assert!(check(View::new(0, 40), 1, 1.0).is_err());
        assert!(check(View::new(0, 0), 1, 1.0).is_err());
        assert!(check(View::new(8, 32), 1, 1.0).is_err());
    }
}
