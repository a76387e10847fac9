//! Logits of small geometries, with what is needed to compute them elsewhere.
//!
//! Each geometry leaves `NAME.json` (geometry, the list of weights, every sequence's tokens, and which logits are which) and `NAME.f32`
//! (rows of float logits, little-endian).

use crate::scenario::{Part, SEQUENCES, SHARED, SHARER, passes};
use crate::{Failure, write};
use kernels::gpu::{DeviceBuffer, Gpu, Stream};
use kernels::kv::{KvOrder, KvPool};
use kernels::mix::mix64;
use replay::cuda::model::{
    Decode, EPSILON, Geometry, Limits, Model, Pass, Prefill, ROPE_BASE, Tensor, tensors,
};
use serde_json::{Value, json};
use std::path::Path;

const BLOCK_TOKENS: u32 = 16;
const BLOCK_COUNT: u32 = 512;
const LIMITS: Limits = Limits {
    tokens: 1024,
    sequences: 32,
    table_width: 64,
    table_entries: 4096,
};

/// Many heads; few KV heads; a bias and a tied embedding; norms on heads. Both head widths, both layouts.
fn geometries() -> [(&'static str, KvOrder, Geometry); 4] {
    let base = Geometry {
        layers: 2,
        hidden: 256,
        intermediate: 688,
        q_heads: 4,
        kv_heads: 4,
        head_dim: 64,
        vocab: 1000,
        qkv_bias: false,
        qk_norm: false,
        tied_embeddings: false,
    };
    let grouped = Geometry {
        layers: 3,
        hidden: 512,
        intermediate: 1376,
        q_heads: 8,
        kv_heads: 2,
        head_dim: 128,
        ..base
    };
    let biased = Geometry {
        hidden: 448,
        q_heads: 14,
        kv_heads: 2,
        qkv_bias: true,
        tied_embeddings: true,
        ..base
    };
    let normed = Geometry {
        hidden: 320,
        intermediate: 968,
        q_heads: 6,
        kv_heads: 3,
        head_dim: 128,
        qk_norm: true,
        ..base
    };
    [
        ("many-heads", KvOrder::BlockMajor, base),
        ("grouped", KvOrder::LayerMajor, grouped),
        ("biased", KvOrder::BlockMajor, biased),
        ("normed", KvOrder::LayerMajor, normed),
    ]
}

/// A sequence as it grows.
#[derive(Default)]
struct Sequence {
    tokens: Vec<i32>,
    /// Tokens that have KV.
    computed: u32,
    blocks: Vec<u32>,
}

pub fn run(gpu: &Gpu, folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|cause| Failure::File {
        path: folder.to_owned(),
        cause,
    })?;
    for (name, order, geometry) in geometries() {
        let (description, logits) = one(gpu, order, &geometry)?;
        let text =
            serde_json::to_string(&description).map_err(|e| Failure::Wrong(e.to_string()))?;
        write(folder.join(format!("{name}.json")), text)?;
        let bytes: Vec<u8> = logits.iter().flat_map(|x| x.to_le_bytes()).collect();
        write(folder.join(format!("{name}.f32")), bytes)?;
        println!(
            "{name}: {} rows of logits",
            logits.len() / geometry.vocab as usize
        );
    }
    Ok(())
}

fn one(gpu: &Gpu, order: KvOrder, geometry: &Geometry) -> Result<(Value, Vec<f32>), Failure> {
    let stream = Stream::new(gpu)?;
    let layout = geometry.kv_layout(order, BLOCK_COUNT, BLOCK_TOKENS);
    let memory = DeviceBuffer::new(gpu, layout.pool_bytes())?;
    // NaN wherever nothing has been written: one element too many shows.
    stream.fill(memory.view(), 0xff)?;
    let pool = KvPool {
        layout,
        view: memory.view(),
    };
    let mut model = Model::new(gpu, &stream, geometry, pool, LIMITS)?;
    let mut sequences: Vec<Sequence> = (0..SEQUENCES).map(|_| Sequence::default()).collect();
    let mut free = blocks();
    let (mut all, mut rows) = (Vec::new(), Vec::new());
    for parts in passes() {
        for part in &parts {
            extend(&mut sequences, part, geometry.vocab, &mut free)?;
        }
        submit(&mut model, &stream, &sequences, &parts)?;
        let logits = model.logits(&stream, parts.len() as u32)?;
        let sampled = model.sampled(&stream, parts.len() as u32)?;
        for ((part, row), token) in parts
            .iter()
            .zip(logits.chunks(geometry.vocab as usize))
            .zip(sampled)
        {
            let at = sequence_of(part);
            let sequence = &mut sequences[at];
            sequence.computed += tokens_of(part);
            rows.push(json!([at, sequence.computed - 1]));
            let want = kernels::argmax::reference(row);
            if token != want {
                let text =
                    format!("sequence {at} sampled {token}, but its largest logit is {want}");
                return Err(Failure::Wrong(text));
            }
            // A later chunk of its prompt follows what it sampled, as a next turn does.
            if sequence.computed as usize == sequence.tokens.len() {
                sequence.tokens.push(token);
            }
        }
        all.extend(logits);
    }
    Ok((describe(geometry, &sequences, &rows), all))
}

/// Blocks in an order that looks like none.
fn blocks() -> Vec<u32> {
    (0..BLOCK_COUNT)
        .map(|block| block * 181 % BLOCK_COUNT)
        .collect()
}

fn sequence_of(part: &Part) -> usize {
    match *part {
        Part::Decode(sequence) | Part::Chunk(sequence, _) => sequence,
    }
}

fn tokens_of(part: &Part) -> u32 {
    match *part {
        Part::Decode(_) => 1,
        Part::Chunk(_, tokens) => tokens,
    }
}

/// Gives a sequence the tokens and the blocks that its part needs.
fn extend(
    sequences: &mut [Sequence],
    part: &Part,
    vocab: u32,
    free: &mut Vec<u32>,
) -> Result<(), Failure> {
    let at = sequence_of(part);
    if at == SHARER && sequences[at].tokens.is_empty() {
        let (tokens, blocks) = (
            sequences[at - 1].tokens[..SHARED as usize].to_vec(),
            sequences[at - 1].blocks[..(SHARED / BLOCK_TOKENS) as usize].to_vec(),
        );
        let sequence = &mut sequences[at];
        (sequence.tokens, sequence.blocks) = (tokens, blocks);
        sequence.computed = SHARED;
    }
    let sequence = &mut sequences[at];
    let end = sequence.computed + tokens_of(part);
    while (sequence.tokens.len() as u32) < end {
        let draw = mix64((at as u64) << 32 | sequence.tokens.len() as u64);
        sequence.tokens.push((draw % u64::from(vocab)) as i32);
    }
    while sequence.blocks.len() as u32 * BLOCK_TOKENS < end {
        let block = free
            .pop()
            .ok_or_else(|| Failure::Wrong("too few blocks".to_owned()))?;
        sequence.blocks.push(block);
    }
    Ok(())
}

fn submit(
    model: &mut Model,
    stream: &Stream,
    sequences: &[Sequence],
    parts: &[Part],
) -> Result<(), Failure> {
    let (mut decode, mut prefill, mut last) = (Vec::new(), Vec::new(), Vec::new());
    for part in parts {
        let sequence = &sequences[sequence_of(part)];
        match *part {
            Part::Decode(_) => {
                decode.push(Decode {
                    blocks: &sequence.blocks,
                    context: sequence.computed + 1,
                });
                last.push(sequence.tokens[sequence.computed as usize]);
            }
            Part::Chunk(_, tokens) => {
                let past = sequence.computed;
                prefill.push(Prefill {
                    blocks: &sequence.blocks,
                    past,
                    tokens: &sequence.tokens[past as usize..(past + tokens) as usize],
                });
            }
        }
    }
    if !last.is_empty() {
        model.continue_with(stream, &last)?;
    }
    let pass = Pass {
        decode: &decode,
        prefill: &prefill,
    };
    Ok(model.submit(stream, &pass, None)?)
}

fn describe(geometry: &Geometry, sequences: &[Sequence], rows: &[Value]) -> Value {
    let tensor = |(seed, tensor): (usize, Tensor)| json!({"name": tensor.name, "rows": tensor.rows, "columns": tensor.columns, "bound": tensor.bound, "seed": seed});
    json!({
        "layers": geometry.layers,
        "hidden": geometry.hidden,
        "intermediate": geometry.intermediate,
        "q_heads": geometry.q_heads,
        "kv_heads": geometry.kv_heads,
        "head_dim": geometry.head_dim,
        "vocab": geometry.vocab,
        "qkv_bias": geometry.qkv_bias,
        "qk_norm": geometry.qk_norm,
        "tied_embeddings": geometry.tied_embeddings,
        "epsilon": EPSILON,
        "rope_base": ROPE_BASE,
        "weights": tensors(geometry).into_iter().enumerate().map(tensor).collect::<Vec<_>>(),
        "sequences": sequences.iter().map(|sequence| &sequence.tokens).collect::<Vec<_>>(),
        "rows": rows,
    })
}
