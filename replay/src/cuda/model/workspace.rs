//! Memory that a pass works in, taken once.

use super::{Geometry, Limits, ModelError};
use kernels::decode_attention::DecodeWorkspace;
use kernels::gpu::{DeviceBuffer, Gpu, Stream, View};
use kernels::kv::KvLayout;
use kernels::prefill_attention::PrefillWorkspace;
use kernels::rope::frequencies;

/// Activations; rows are tokens, or samples in the last three.
pub(super) struct Workspace {
    /// `[tokens][hidden]` bf16: the residual stream.
    hidden: DeviceBuffer,
    /// `[tokens][hidden]` bf16.
    normed: DeviceBuffer,
    /// `[tokens][qkv_width]` bf16.
    qkv: DeviceBuffer,
    /// `[tokens][q_width]` bf16.
    attended: DeviceBuffer,
    /// `[tokens][intermediate / 8][2][8]` bf16.
    gate_up: DeviceBuffer,
    /// `[tokens][intermediate]` bf16.
    gated: DeviceBuffer,
    /// `[samples][hidden]` bf16.
    last: DeviceBuffer,
    /// `[samples][vocab]` float.
    logits: DeviceBuffer,
    /// `[samples]` int32: the token that each row sampled last.
    sampled: DeviceBuffer,
    /// `[head_dim / 2]` float.
    frequency: DeviceBuffer,
    /// For the partial sums of decode attention.
    pub decode: DecodeWorkspace,
    /// For the splits of prefill attention.
    pub prefill: PrefillWorkspace,
}

/// Base of the rotary angles. Models differ in it; the work does not.
pub const ROPE_BASE: f64 = 10_000.0;

macro_rules! views {
    ($($name:ident),*) => { impl Workspace { $(pub fn $name(&self) -> View { self.$name.view() })* } };
}
views!(
    hidden, normed, qkv, attended, gate_up, gated, last, logits, sampled, frequency
);

impl Workspace {
    pub fn new(
        gpu: &Gpu,
        stream: &Stream,
        geometry: &Geometry,
        layout: &KvLayout,
        limits: &Limits,
    ) -> Result<Self, ModelError> {
        let rows = |count: u32, elements: u32, size: u64| {
            DeviceBuffer::new(gpu, size * u64::from(count) * u64::from(elements))
        };
        let (tokens, samples) = (limits.tokens, limits.sequences);
        let sampled = rows(samples, 1, 4)?;
        stream.fill(sampled.view(), 0)?;
        Ok(Self {
            hidden: rows(tokens, geometry.hidden, 2)?,
            normed: rows(tokens, geometry.hidden, 2)?,
            qkv: rows(tokens, geometry.qkv_width(), 2)?,
            attended: rows(tokens, geometry.q_width(), 2)?,
            gate_up: rows(tokens, 2 * geometry.intermediate, 2)?,
            gated: rows(tokens, geometry.intermediate, 2)?,
            last: rows(samples, geometry.hidden, 2)?,
            logits: rows(samples, geometry.vocab, 4)?,
            sampled,
            frequency: DeviceBuffer::from_slice(
                stream,
                &frequencies(geometry.head_dim, ROPE_BASE),
            )?,
            decode: DecodeWorkspace::new(stream, layout, geometry.q_heads)?,
            prefill: PrefillWorkspace::new(gpu, geometry.head_dim)?,
        })
    }

    /// The largest input and output of a product, for tuning.
    pub fn largest(&self) -> [View; 2] {
        let inputs = [self.normed(), self.attended(), self.gated()];
        let outputs = [self.qkv(), self.hidden(), self.gate_up(), self.logits()];
        let of = |views: &[View]| views.iter().copied().max_by_key(|view| view.bytes());
        [of(&inputs), of(&outputs)].map(|largest| largest.expect("neither list is empty"))
    }
}
