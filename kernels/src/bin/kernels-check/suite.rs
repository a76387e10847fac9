//! The list of comparisons: what each found, and whether all held.

use half::bf16;
use kernels::gpu::{DeviceBuffer, Error, Gpu, Stream};

/// Comparisons on one GPU, printed as they finish.
pub struct Suite {
    /// The GPU.
    pub gpu: Gpu,
    /// The stream that the comparisons use.
    pub stream: Stream,
    run: u32,
    failed: u32,
}

impl Suite {
    pub fn new(gpu: &Gpu) -> Result<Self, Error> {
        Ok(Self {
            gpu: gpu.clone(),
            stream: Stream::new(gpu)?,
            run: 0,
            failed: 0,
        })
    }

    /// A buffer with `values`; the elements after them stay whatever they were.
    pub fn upload<T: kernels::gpu::Plain>(&self, values: &[T]) -> Result<DeviceBuffer, Error> {
        DeviceBuffer::from_slice(&self.stream, values)
    }

    /// A buffer of bytes 0xff, which are NaN as bf16 and as float: an element never written shows.
    pub fn poisoned(&self, bytes: u64) -> Result<DeviceBuffer, Error> {
        let buffer = DeviceBuffer::new(&self.gpu, bytes)?;
        self.stream.fill(buffer.view(), 0xff)?;
        Ok(buffer)
    }

    /// Holds when `have` equals `want`, element for element.
    pub fn equal<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, have: &[T], want: &[T]) {
        let differs = have.iter().zip(want).position(|(a, b)| a != b);
        match differs {
            _ if have.len() != want.len() => {
                self.report(
                    what,
                    false,
                    &format!("{} elements for {}", have.len(), want.len()),
                );
            }
            Some(at) => {
                self.report(
                    what,
                    false,
                    &format!("element {at}: {:?} for {:?}", have[at], want[at]),
                );
            }
            None => self.report(what, true, &format!("{} elements equal", have.len())),
        }
    }

    /// Holds when the norm of the difference is at most `bound` times the norm of `want`; NaN never does.
    pub fn close(&mut self, what: &str, have: &[f64], want: &[f64], bound: f64) {
        if have.len() != want.len() {
            return self.report(
                what,
                false,
                &format!("{} elements for {}", have.len(), want.len()),
            );
        }
        let squares =
            |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
        let error = squares(&mut have.iter().zip(want).map(|(a, b)| a - b));
        let norm = squares(&mut want.iter().copied());
        let relative = if norm > 0.0 { error / norm } else { error };
        self.report(
            what,
            relative <= bound,
            &format!("relative error {relative:.1e}, bound {bound:.0e}"),
        );
    }

    /// Holds when `condition` does.
    pub fn holds(&mut self, what: &str, condition: bool, found: &str) {
        self.report(what, condition, found);
    }

    fn report(&mut self, what: &str, held: bool, found: &str) {
        self.run += 1;
        self.failed += u32::from(!held);
        println!("{} {what}: {found}", if held { "ok    " } else { "FAILED" });
    }

    /// Prints the count; true if all held.
    pub fn finish(self) -> bool {
        println!("{} comparisons, {} failed", self.run, self.failed);
        self.failed == 0
    }
}

/// `count` bf16 values, uniform in `[-bound, bound)`.
pub fn random(seed: u64, count: usize, bound: f32) -> Vec<bf16> {
    (0..count as u64)
        .map(|index| kernels::random::reference(seed, index, bound))
        .collect()
}

/// Widened, for comparisons.
pub fn doubles(values: &[bf16]) -> Vec<f64> {
    values.iter().map(|value| value.to_f64()).collect()
}

/// The numbers below `count` in a scrambled order: no block next to its successor by construction.
pub fn scrambled(seed: u64, count: u32) -> Vec<i32> {
    let mut ids: Vec<i32> = (0..count as i32).collect();
    ids.sort_by_key(|&id| {
        (
            kernels::mix::mix64(seed ^ kernels::mix::mix64(id as u64)),
            id,
        )
    });
    ids
}
