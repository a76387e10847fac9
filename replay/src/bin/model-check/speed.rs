//! Times of decode steps and prefills, beside the floor that the memory sets.
//!
//! A row is the median of five runs of passes submitted back to back, timed by events on the GPU. The floor of a decode step is the weights
//! and the KV that it must read over the read bandwidth of this card, which is measured first.

use crate::{Failure, write};
use kernels::gpu::{DeviceBuffer, Event, Gpu, Stream};
use kernels::kv::{KvOrder, KvPool};
use kernels::occupy::Occupy;
use kernels::random::Random;
use replay::cuda::model::{Decode, Geometry, Limits, Model, Pass, Prefill};
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

const BLOCK_TOKENS: u32 = 16;
const RUNS: usize = 5;
const WARM_UP: Duration = Duration::from_millis(200);
/// Decode: sequences and context.
const DECODES: [[u32; 2]; 7] = [
    [1, 1024],
    [8, 1024],
    [16, 1024],
    [32, 1024],
    [64, 1024],
    [128, 1024],
    [32, 4096],
];
/// Prefill: tokens, and tokens before them.
const PREFILLS: [[u32; 2]; 4] = [[512, 0], [2048, 0], [8192, 0], [512, 3584]];

struct Bench {
    gpu: Gpu,
    stream: Stream,
    model: Model,
    geometry: Geometry,
    bytes_per_s: f64,
    text: String,
}

pub fn run(gpu: &Gpu, folder: &Path, name: &str) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|cause| Failure::File {
        path: folder.to_owned(),
        cause,
    })?;
    let geometry = Geometry::of(&devices::model(name)?)?;
    let stream = Stream::new(gpu)?;
    let most = DECODES.map(|[sequences, context]| sequences * context.div_ceil(BLOCK_TOKENS));
    let block_count = most.into_iter().max().unwrap_or(0);
    let layout = geometry.kv_layout(KvOrder::BlockMajor, block_count, BLOCK_TOKENS);
    let memory = DeviceBuffer::new(gpu, layout.pool_bytes())?;
    Random::load(gpu)?.fill(&stream, memory.view(), 1, 1.0)?;
    let pool = KvPool {
        layout,
        view: memory.view(),
    };
    let bytes_per_s = read_rate(gpu, &stream, &memory)?;
    let limits = Limits {
        tokens: 8192,
        sequences: 128,
        table_width: 512,
        table_entries: 1 << 16,
    };
    let begun = Instant::now();
    let mut model = Model::new(gpu, &stream, &geometry, pool, limits)?;
    model.warm_up(&stream, 128)?;
    let ready = begun.elapsed().as_secs_f64();
    let mut bench = Bench {
        gpu: gpu.clone(),
        stream,
        model,
        geometry,
        bytes_per_s,
        text: format!(
            "# device: {}; driver: CUDA {}; model: {name}; read bandwidth {:.3} TB/s; ready in {ready:.1} s\n\
             # command: model-check speed FOLDER --model {name}\n\
             kind,sequences,tokens,context,nanos,floor_nanos,over_floor,tflop_per_s\n",
            gpu.info().name,
            gpu.info().driver,
            bytes_per_s / 1e12,
        ),
    };
    print!("{}", bench.text);
    let mut products = "product,rows,kernel,nanos\n".to_owned();
    for (product, rows, kernel, nanos) in bench.model.products() {
        let _ = writeln!(products, "{product},{rows},{kernel},{nanos}");
    }
    write(folder.join(format!("products-{name}.csv")), &products)?;
    for decode in DECODES {
        bench.decode(decode)?;
    }
    for prefill in PREFILLS {
        bench.prefill(prefill)?;
    }
    write(folder.join(format!("speed-{name}.csv")), &bench.text)
}

/// Bytes per second of a kernel that reads 8 GiB.
fn read_rate(gpu: &Gpu, stream: &Stream, memory: &DeviceBuffer) -> Result<f64, Failure> {
    let (occupy, sink) = (Occupy::load(gpu)?, DeviceBuffer::new(gpu, 8)?);
    let input = memory.view().slice(0, memory.view().bytes().min(8 << 30))?;
    let (start, end) = (Event::new(gpu)?, Event::new(gpu)?);
    let mut rates = Vec::new();
    for _ in 0..9 {
        start.record(stream)?;
        occupy.touch(stream, input, sink.view())?;
        end.record(stream)?;
        end.synchronize()?;
        rates.push(input.bytes() as f64 / end.nanos_since(&start)? as f64 * 1e9);
    }
    rates.sort_by(f64::total_cmp);
    Ok(rates[rates.len() / 2])
}

impl Bench {
    fn decode(&mut self, [sequences, context]: [u32; 2]) -> Result<(), Failure> {
        let each = context.div_ceil(BLOCK_TOKENS);
        let blocks: Vec<u32> = (0..sequences * each).collect();
        let decode: Vec<Decode<'_>> = blocks
            .chunks(each as usize)
            .map(|blocks| Decode { blocks, context })
            .collect();
        let pass = Pass {
            decode: &decode,
            prefill: &[],
        };
        let nanos = self.time(&pass, 20)?;
        let g = &self.geometry;
        let kv_token = 4 * u64::from(g.layers) * u64::from(g.kv_heads) * u64::from(g.head_dim);
        let kv = kv_token * u64::from(sequences) * u64::from(context);
        let floor = (g.weight_bytes_read() + kv) as f64 / self.bytes_per_s * 1e9;
        let over = nanos as f64 / floor;
        self.row(&format!(
            "decode,{sequences},{sequences},{context},{nanos},{floor:.0},{over:.3},"
        ));
        Ok(())
    }

    fn prefill(&mut self, [tokens, past]: [u32; 2]) -> Result<(), Failure> {
        let blocks: Vec<u32> = (0..(tokens + past).div_ceil(BLOCK_TOKENS)).collect();
        let ids: Vec<i32> = (0..tokens as i32).map(|i| i * 7 % 31_991).collect();
        let prefill = [Prefill {
            blocks: &blocks,
            past,
            tokens: &ids,
        }];
        let pass = Pass {
            decode: &[],
            prefill: &prefill,
        };
        let nanos = self.time(&pass, 5)?;
        // Layers for every token, causal attention, the logits of one: two operations for each product.
        let g = &self.geometry;
        let logits = 2 * u64::from(g.vocab) * u64::from(g.hidden);
        let layers = g.weight_bytes_read() - logits;
        let seen =
            u64::from(tokens) * u64::from(past) + u64::from(tokens) * u64::from(tokens + 1) / 2;
        let attention = 4 * u64::from(g.layers) * u64::from(g.q_width()) * seen;
        let operations = (layers * u64::from(tokens) + logits + attention) as f64;
        let rate = operations / nanos as f64 / 1e3;
        self.row(&format!(
            "prefill,1,{tokens},{},{nanos},,,{rate:.0}",
            tokens + past
        ));
        Ok(())
    }

    /// Median time of one of `count` passes in a row \[ns\].
    fn time(&mut self, pass: &Pass<'_>, count: u64) -> Result<u64, Failure> {
        let begun = Instant::now();
        while begun.elapsed() < WARM_UP {
            self.model.submit(&self.stream, pass, None)?;
            self.stream.synchronize()?;
        }
        let (start, end) = (Event::new(&self.gpu)?, Event::new(&self.gpu)?);
        let mut times = Vec::with_capacity(RUNS);
        for _ in 0..RUNS {
            start.record(&self.stream)?;
            for _ in 0..count {
                self.model.submit(&self.stream, pass, None)?;
            }
            end.record(&self.stream)?;
            end.synchronize()?;
            times.push(end.nanos_since(&start)? / count);
        }
        times.sort_unstable();
        Ok(times[RUNS / 2])
    }

    fn row(&mut self, row: &str) {
        println!("{row}");
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{row}");
    }
}
