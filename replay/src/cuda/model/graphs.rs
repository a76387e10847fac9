//! CUDA graphs of decode passes: one submission instead of some 300.
//!
//! A graph fixes sizes and addresses. Passes of up to [`SEQUENCES_MAX`] sequences are padded to the next of [`SEQUENCES`]; everything else
//! that changes from step to step (contexts, block tables, slots, what each CTA of attention reads) is in HBM.
//!
//! A pass with chunks is submitted kernel by kernel: it takes tens of milliseconds, and submitting it one or two.

use super::forward::Forward;
use super::inputs::{Inputs, Lists};
use super::step::{Pass, Sizes};
use super::{Limits, ModelError};
use kernels::gpu::{DeviceBuffer, Gpu, Graph, Stream};
use std::collections::BTreeMap;

/// Most sequences of a graph. Beyond, a decode step of any model takes far longer than submitting it.
pub(super) const SEQUENCES_MAX: u32 = 256;

/// Numbers of sequences that graphs are made for. Products hardly take longer for a few rows more, and padding has no KV to read.
pub const SEQUENCES: [u32; 19] = [
    1,
    2,
    4,
    8,
    12,
    16,
    24,
    32,
    40,
    48,
    56,
    64,
    80,
    96,
    112,
    128,
    160,
    208,
    SEQUENCES_MAX,
];

pub(super) struct Graphs {
    /// By sequences.
    made: BTreeMap<u32, Graph>,
    /// What `sampled` holds, while a graph is being made.
    saved: DeviceBuffer,
}

/// Sequences that a decode pass of `sequences` is padded to; none if it is too large for a graph.
pub(super) fn bucket(sequences: u32, most: u32) -> Option<u32> {
    let fits = |bucket: &u32| *bucket >= sequences && *bucket <= most;
    (sequences > 0)
        .then(|| SEQUENCES.into_iter().find(fits))
        .flatten()
}

impl Graphs {
    pub fn new(gpu: &Gpu, limits: &Limits) -> Result<Self, ModelError> {
        Ok(Self {
            made: BTreeMap::new(),
            saved: DeviceBuffer::new(gpu, 4 * u64::from(limits.sequences))?,
        })
    }

    /// Makes the graph of `sequences`, if there is none. What rows sampled last is not touched.
    pub fn prepare(
        &mut self,
        stream: &Stream,
        forward: &mut Forward,
        inputs: &mut Inputs,
        sequences: u32,
    ) -> Result<(), ModelError> {
        if self.made.contains_key(&sequences) {
            return Ok(());
        }
        let padding = Pass::default();
        let plans = forward.plans(&padding, sequences);
        let sizes = Sizes::of(&padding, sequences, &plans);
        let lists = inputs.lists(&sizes)?;
        // Once without being recorded: kernels are loaded when they first run, which recording does not allow.
        let sampled = forward.workspace.sampled();
        stream.copy(self.saved.view(), sampled)?;
        let written = inputs.write(&padding, &sizes, 1, &plans)?;
        inputs.bring(stream, &written)?;
        forward.launch(stream, &sizes, &lists)?;
        stream.copy(sampled, self.saved.view())?;
        let mut failed = None;
        let recorded = Lists {
            in_place: true,
            ..lists
        };
        let graph = stream.capture(|stream| {
            failed = forward.launch(stream, &sizes, &recorded).err();
            Ok(())
        });
        if let Some(error) = failed {
            return Err(error);
        }
        self.made.insert(sequences, graph?);
        Ok(())
    }

    /// Submits a [prepared](Self::prepare) graph.
    pub fn launch(&self, stream: &Stream, sequences: u32) -> Result<(), ModelError> {
        let graph = self.made.get(&sequences);
        let graph = graph.ok_or(ModelError::Unprepared { rows: sequences })?;
        Ok(graph.launch(stream)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_padded_to_the_next_bucket_by_at_most_a_half() {
        assert_eq!(bucket(0, 256), None);
        assert_eq!(bucket(1, 256), Some(1));
        assert_eq!(bucket(33, 256), Some(40));
        assert_eq!(bucket(256, 256), Some(256));
        assert_eq!(bucket(257, 1024), None);
        for sequences in 1..=SEQUENCES_MAX {
            let padded = bucket(sequences, SEQUENCES_MAX).expect("there is one");
            // 5 to 8 and 9 to 12 are the widest.
            assert!(
                padded - sequences <= sequences.max(3) / 2 + 1,
                "{sequences}"
            );
        }
    }

    #[test]
    fn a_bucket_beyond_what_the_workspace_holds_is_not_taken() {
        assert_eq!(bucket(33, 39), None);
        assert_eq!(bucket(31, 39), Some(32));
    }
}
