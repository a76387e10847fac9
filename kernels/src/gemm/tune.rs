//! Which of the library's algorithms is the fastest here.

use super::{Gemm, GemmPlan};
use crate::gpu::{Error, Event, Stream, View};

/// Rounds over the candidates; the first loads code and is not counted.
const ROUNDS: usize = 6;
/// Launches timed together.
const LAUNCHES: u64 = 3;

impl Gemm {
    /// Times the candidates on real buffers and keeps the fastest; `output` is overwritten.
    /// Returns its time \[ns\], the median of five rounds. A round times every candidate, so that they share the clocks that the
    /// GPU's power allows.
    ///
    /// # Errors
    /// As [`Gemm::launch`].
    pub fn tune(
        &self,
        stream: &Stream,
        plan: &mut GemmPlan,
        input: View,
        weight: View,
        output: View,
    ) -> Result<u64, Error> {
        plan.shape.check_buffers(input, weight, output)?;
        let (start, end) = (Event::new(&self.gpu)?, Event::new(&self.gpu)?);
        let mut times = vec![Vec::with_capacity(ROUNDS); plan.algorithms.len()];
        for _ in 0..ROUNDS {
            for (algorithm, times) in times.iter_mut().enumerate() {
                start.record(stream)?;
                for _ in 0..LAUNCHES {
                    self.submit(stream, plan, algorithm, [input, weight, output], false)?;
                }
                end.record(stream)?;
                end.synchronize()?;
                times.push(end.nanos_since(&start)? / LAUNCHES);
            }
        }
        let mut best = (u64::MAX, 0);
        for (algorithm, times) in times.iter_mut().enumerate() {
            times.remove(0);
            times.sort_unstable();
            best = best.min((times[times.len() / 2], algorithm));
        }
        plan.chosen = best.1;
        Ok(best.0)
    }
}
