//! The latest values of a duration: mean, quantile and distribution.
//!
//! Spans are integers, so that the mean does not depend on the order of additions.

use model::Nanos;
use std::collections::VecDeque;

/// A window over the latest values.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    window: usize,
    order: VecDeque<Nanos>,
    sorted: Vec<Nanos>,
    sum: u128,
}

impl Sample {
    /// Keeps the latest `window` values, at least one.
    pub fn new(window: usize) -> Self {
        Self {
            window: window.max(1),
            order: VecDeque::new(),
            sorted: Vec::new(),
            sum: 0,
        }
    }

    /// Takes in a value, and forgets the oldest if there are too many.
    pub fn push(&mut self, value: Nanos) {
        if self.order.len() == self.window {
            let oldest = self.order.pop_front().expect("the window is full");
            let at = self.sorted.partition_point(|&v| v < oldest);
            self.sorted.remove(at);
            self.sum -= u128::from(oldest.0);
        }
        self.order.push_back(value);
        let at = self.sorted.partition_point(|&v| v <= value);
        self.sorted.insert(at, value);
        self.sum += u128::from(value.0);
    }

    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// All values, the smallest first.
    pub fn sorted(&self) -> &[Nanos] {
        &self.sorted
    }

    /// The mean in seconds, rounded down to a nanosecond; `None` without values.
    pub fn mean_s(&self) -> Option<f64> {
        let count = self.sorted.len() as u128;
        (count > 0).then(|| (self.sum / count) as f64 / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_values_count() {
        let mut sample = Sample::new(3);
        assert_eq!(sample.mean_s(), None);
        for seconds in [9, 1, 5, 3] {
            sample.push(Nanos(seconds * 1_000_000_000));
        }
        // 9 has left: 1, 5, 3 remain, with mean 3.
        let seconds: Vec<_> = sample
            .sorted()
            .iter()
            .map(|v| v.0 / 1_000_000_000)
            .collect();
        assert_eq!((seconds, sample.len()), (vec![1, 3, 5], 3));
        assert_eq!(sample.mean_s(), Some(3.0));
    }
}
