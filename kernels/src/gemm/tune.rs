//! Which of the library's algorithms is the fastest here.

use super::{Gemm, GemmPlan};
use crate::gpu::{Error, Event, Stream, View};

/// Rounds over the candidates; the first loads code and is not counted.
const ROUNDS: usize = 6;
/// Launches timed together, of products that take some ten microseconds. From [`LONG_ROWS`] on a launch is long enough by itself.
const LAUNCHES: usize = 4;
/// See [`LAUNCHES`].
const LONG_ROWS: u32 = 512;

impl Gemm {
    /// Times the candidates on real buffers and keeps the fastest; `output` is overwritten, or added to. The weights are used in turn: enough
    /// of them that none is in L2 when its turn comes make the candidates read from HBM, as a pass over many layers does. `between` submits
    /// what stands between two products in a pass, and is part of the time: products alone would overlap each other as they never do there.
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
        weights: &[View],
        output: View,
        between: &dyn Fn() -> Result<(), Error>,
    ) -> Result<u64, Error> {
        for &weight in weights {
            plan.shape.check_buffers(input, weight, output)?;
        }
        let mut weights = weights.iter().copied().cycle();
        let (start, end) = (Event::new(&self.gpu)?, Event::new(&self.gpu)?);
        let mut times = vec![Vec::with_capacity(ROUNDS); plan.algorithms.len()];
        let launches = if plan.shape.rows < LONG_ROWS {
            LAUNCHES
        } else {
            1
        };
        for _ in 0..ROUNDS {
            for (algorithm, times) in times.iter_mut().enumerate() {
                start.record(stream)?;
                for weight in weights.by_ref().take(launches) {
                    self.submit(stream, plan, algorithm, [input, weight, output])?;
                    between()?;
                }
                end.record(stream)?;
                end.synchronize()?;
                times.push(end.nanos_since(&start)? / launches as u64);
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
