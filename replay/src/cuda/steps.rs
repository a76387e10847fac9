//! The compute queue of a GPU: a forward pass, or what stands in for one.

use super::model::{Limits, Model, ModelError, Placement};
use super::{Compute, CudaOptions};
use crate::backend::{StepQueue, Work};
use devices::StepCost;
use engine::device::{PrefillChunk, StepShape};
use kernels::gpu::{DeviceBuffer, Error, Event, Gpu, Stream, View};
use kernels::kv::KvPool;
use kernels::occupy::Occupy;
use kernels::random::Random;

/// Bytes that `touch` reads at a time: some 60 us on an H200, for which an urgent kernel may have to wait.
const SLICE: u64 = 256 << 20;

/// Rows of logits and block tables that a model has memory for at most.
const SEQUENCES_MAX: u32 = 1_024;
/// Tokens of a pass; larger steps become several.
pub const TOKENS_MAX: u32 = 8_192;
/// Blocks of a sequence, and of all block tables of a pass together.
const TABLE_WIDTH_MAX: u32 = 1 << 14;
const TABLE_ENTRIES: u32 = 1 << 21;

/// Launches steps, on a thread of its own.
pub struct CudaSteps {
    gpu: Gpu,
    stream: Stream,
    occupy: Occupy,
    kind: Kind,
    spare: Vec<Event>,
}

/// What a step is, with the memory that it needs beside the pool.
enum Kind {
    Touch {
        weights: Option<DeviceBuffer>,
        kv_token_bytes: u64,
        kv: View,
        /// Where in the pool the next step begins to read.
        kv_at: u64,
        sink: DeviceBuffer,
    },
    Spin(Box<StepCost>),
    Model(Box<(Model, Placement)>),
}

impl CudaSteps {
    /// Steps over `pool`, which has the blocks of `options` and, for a model, some behind them.
    pub(super) fn new(gpu: &Gpu, pool: KvPool, options: &CudaOptions) -> Result<Self, ModelError> {
        let stream = Stream::new(gpu)?;
        let kind = match &options.compute {
            Compute::Spin(cost) => Kind::Spin(cost.clone()),
            Compute::Touch {
                weight_bytes,
                kv_token_bytes,
            } => {
                let sink = DeviceBuffer::new(gpu, 16)?;
                stream.fill(sink.view(), 0)?;
                Kind::Touch {
                    weights: (*weight_bytes >= 16)
                        .then(|| DeviceBuffer::new(gpu, weight_bytes / 16 * 16))
                        .transpose()?,
                    kv_token_bytes: *kv_token_bytes,
                    kv: pool.view,
                    kv_at: 0,
                    sink,
                }
            }
            Compute::Model {
                geometry,
                tokens,
                sequences,
            } => {
                let sequences = (*sequences).clamp(1, SEQUENCES_MAX);
                let limits = Limits {
                    tokens: (*tokens).clamp(sequences, TOKENS_MAX),
                    sequences,
                    table_width: pool.layout.block_count.min(TABLE_WIDTH_MAX),
                    table_entries: TABLE_ENTRIES,
                };
                // KV that nobody has written is attended to as well.
                Random::load(gpu)?.fill(&stream, pool.view, 0, 1.0)?;
                let mut model = Model::new(gpu, &stream, geometry, pool, limits)?;
                model.warm_up(&stream, sequences)?;
                let layout = &options.layout;
                let placement = Placement::new(
                    layout.block_count,
                    layout.block_tokens,
                    geometry.vocab,
                    limits,
                );
                Kind::Model(Box::new((model, placement)))
            }
        };
        let mut steps = Self {
            gpu: gpu.clone(),
            occupy: Occupy::load(gpu)?,
            stream,
            kind,
            spare: Vec::new(),
        };
        if let Compute::Model { .. } = &options.compute {
            let layout = &options.layout;
            steps.warm_up(layout.block_count.min(TABLE_WIDTH_MAX) * layout.block_tokens)?;
        }
        Ok(steps)
    }

    /// Runs a step of each kind, none of more than `context` tokens: the driver loads a kernel when it is first launched, and may wait for
    /// the steps before it to end. For a model; what stands in for one has a kernel, and nothing to wait for.
    fn warm_up(&mut self, context: u32) -> Result<(), ModelError> {
        // Behind a context a prompt is split, and its parts are merged.
        for (tokens, before, decode_seqs) in [(0, 0, 1), (0, 0, 8), (200, 1_024, 4), (2_048, 0, 0)]
        {
            let tokens = context.min(tokens);
            let chunk = PrefillChunk {
                tokens,
                context: (context - tokens).min(before),
            };
            let work = self.launch(&StepShape {
                prefill: vec![chunk],
                decode_seqs,
                decode_kv_tokens: u64::from(decode_seqs * context.min(1_024)),
            })?;
            self.finish(work);
        }
        Ok(self.stream.synchronize()?)
    }

    fn event(&mut self) -> Result<Event, Error> {
        self.spare.pop().map_or_else(|| Event::new(&self.gpu), Ok)
    }

    fn launch(&mut self, shape: &StepShape) -> Result<Work<Event>, ModelError> {
        let [begun, ended] = [self.event()?, self.event()?];
        let (stream, occupy) = (&self.stream, &self.occupy);
        match &mut self.kind {
            Kind::Spin(cost) => {
                begun.record(stream)?;
                occupy.spin(stream, cost.step_ps(shape) / 1_000)?;
            }
            Kind::Touch {
                weights,
                kv_token_bytes,
                kv,
                kv_at,
                sink,
            } => {
                begun.record(stream)?;
                let sink = sink.view().slice(0, 8)?;
                if let Some(weights) = weights {
                    let view = weights.view();
                    read(occupy, stream, (view, sink), 0, view.bytes())?;
                }
                let kv_bytes = shape.kv_tokens() * *kv_token_bytes / 16 * 16;
                *kv_at = read(occupy, stream, (*kv, sink), *kv_at, kv_bytes)?;
            }
            Kind::Model(model) => {
                let (model, placement) = &mut **model;
                let mut mark = Some(&begun);
                for laid in placement.lay_out(shape) {
                    laid.pass(|pass| model.submit(stream, pass, mark.take()))?;
                }
                // A step without tokens has no pass.
                mark.map_or(Ok(()), |begun| begun.record(stream))?;
            }
        }
        ended.record(stream)?;
        Ok(Work {
            begun,
            ended,
            checked: None,
            slot: None,
        })
    }
}

/// Reads `bytes` bytes of a memory from `at` on, round and round. Returns where the next may begin.
fn read(
    occupy: &Occupy,
    stream: &Stream,
    (memory, sink): (View, View),
    mut at: u64,
    mut bytes: u64,
) -> Result<u64, Error> {
    while bytes > 0 {
        if at >= memory.bytes() {
            at = 0;
        }
        let slice = bytes.min(SLICE).min(memory.bytes() - at);
        occupy.touch(stream, memory.slice(at, slice)?, sink)?;
        at += slice;
        bytes -= slice;
    }
    Ok(at)
}

impl StepQueue for CudaSteps {
    type Mark = Event;

    fn step(&mut self, shape: &StepShape) -> Result<Work<Event>, String> {
        self.launch(shape).map_err(|error| error.to_string())
    }

    fn finish(&mut self, work: Work<Event>) {
        self.spare.extend([work.begun, work.ended]);
    }
}

impl Drop for CudaSteps {
    /// A run that was stopped leaves work behind, whose memory must not go before it.
    fn drop(&mut self) {
        // What could be wrong has been reported by the work itself.
        let _ = self.stream.synchronize();
    }
}
