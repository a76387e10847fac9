//! Products, element-wise kernels and integrity, at the shapes of Llama-2-7B.

use std::path::Path;

use kernels::checksum::Checksum;
use kernels::gemm::{Gemm, GemmOutput, GemmShape};
use kernels::gpu::{DeviceBuffer, Error, Gpu, Stream, View};
use kernels::kv::{KvLayout, KvOrder, KvPool};
use kernels::occupy::Occupy;
use kernels::random::Random;
use kernels::rms_norm::{RmsNorm, RmsNormRows};
use kernels::rope::{self, Rope, RopeTokens};
use kernels::silu_mul::{SiluMul, SiluMulRows};
use kernels::stamp::{BlockContents, Stamp};

use crate::suite::scrambled;
use crate::timing::{Table, gigabytes_per_second, median_nanos};

pub const REPEATS: usize = 9;

/// What the measurements share.
pub struct Bench {
    pub gpu: Gpu,
    pub stream: Stream,
    random: Random,
}

impl Bench {
    pub fn new(gpu: &Gpu) -> Result<Self, Error> {
        Ok(Self {
            gpu: gpu.clone(),
            stream: Stream::new(gpu)?,
            random: Random::load(gpu)?,
        })
    }

    /// A buffer of random bf16 values.
    pub fn filled(&self, bytes: u64) -> Result<DeviceBuffer, Error> {
        let buffer = DeviceBuffer::new(&self.gpu, bytes)?;
        self.random.fill(&self.stream, buffer.view(), bytes, 1.0)?;
        Ok(buffer)
    }

    /// cuBLASLt into `gemm.csv`.
    pub fn products(&self, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let mut table = Table::new(
            &self.gpu,
            "gemm",
            "rows,columns,inner,first_nanos,tuned_nanos,tuned_gb_per_s,tuned_tflop_per_s",
        );
        let gemm = Gemm::new(&self.gpu)?;
        for rows in [1, 8, 32, 128, 2048] {
            for (columns, inner) in [(12_288, 4096), (4096, 4096), (22_016, 4096), (4096, 11_008)] {
                let weight_bytes = 2 * u64::from(columns) * u64::from(inner);
                // Enough copies of the weight that none is still in L2 when its turn comes again.
                let copies = (200_u64 << 20).div_ceil(weight_bytes) + 1;
                let weights = self.filled(copies * weight_bytes)?;
                let input = self.filled(2 * u64::from(rows) * u64::from(inner))?;
                let output =
                    DeviceBuffer::new(&self.gpu, 2 * u64::from(rows) * u64::from(columns))?;
                let mut plan = gemm.plan(GemmShape {
                    rows,
                    columns,
                    inner,
                    output: GemmOutput::Bf16,
                    accumulate: false,
                })?;
                let mut times = [0; 2];
                for time in &mut times {
                    let graph = self.stream.capture(|stream| {
                        (0..copies).try_for_each(|copy| {
                            let weight = weights.view().slice(copy * weight_bytes, weight_bytes)?;
                            gemm.launch(stream, &plan, input.view(), weight, output.view())
                        })
                    })?;
                    *time = median_nanos(&self.gpu, &self.stream, REPEATS, || {
                        graph.launch(&self.stream)
                    })? / copies;
                    let all = (0..copies)
                        .map(|copy| weights.view().slice(copy * weight_bytes, weight_bytes))
                        .collect::<Result<Vec<_>, _>>()?;
                    gemm.tune(
                        &self.stream,
                        &mut plan,
                        input.view(),
                        &all,
                        output.view(),
                        &|| Ok(()),
                    )?;
                }
                let [first, tuned] = times;
                let rate = gigabytes_per_second(weight_bytes, tuned);
                let work = (u64::from(rows) * weight_bytes) as f64 / tuned as f64 / 1e3;
                table.row(&format!(
                    "{rows},{columns},{inner},{first},{tuned},{rate:.0},{work:.0}"
                ));
            }
        }
        table.save(folder)?;
        Ok(())
    }

    /// Integrity and element-wise kernels into `memory.csv`.
    pub fn memory(&self, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let mut table = Table::new(
            &self.gpu,
            "memory",
            "kernel,shape,bytes_moved,nanos,gb_per_s",
        );
        let stream = &self.stream;
        let mut row = |kernel: &str,
                       shape: &str,
                       bytes: u64,
                       submit: &mut dyn FnMut() -> Result<(), Error>|
         -> Result<(), Error> {
            let nanos = median_nanos(&self.gpu, stream, REPEATS, submit)?;
            table.row(&format!(
                "{kernel},{shape},{bytes},{nanos},{:.0}",
                gigabytes_per_second(bytes, nanos)
            ));
            Ok(())
        };
        // 256 blocks of Llama-2-7B: 2 GiB.
        let layout = KvLayout {
            order: KvOrder::LayerMajor,
            block_count: 256,
            layers: 32,
            kv_heads: 32,
            block_tokens: 16,
            head_dim: 128,
        };
        let memory = self.filled(layout.pool_bytes())?;
        let pool = KvPool {
            layout,
            view: memory.view(),
        };
        let ids = DeviceBuffer::from_slice(stream, &scrambled(1, 256))?;
        let contents = DeviceBuffer::from_slice(stream, &(0..256).collect::<Vec<u64>>())?;
        let found = DeviceBuffer::new(&self.gpu, 8 * 256)?;
        let blocks = |block_count| BlockContents {
            pool,
            blocks: ids.view(),
            contents: contents.view(),
            block_count,
            ctas: 4 * self.gpu.info().multiprocessors,
        };
        let (stamp, checksum, occupy) = (
            Stamp::load(&self.gpu)?,
            Checksum::load(&self.gpu)?,
            Occupy::load(&self.gpu)?,
        );
        let (all, one) = (layout.pool_bytes(), layout.block_bytes());
        row("stamp", "256 blocks", all, &mut || {
            stamp.write(stream, &blocks(256))
        })?;
        row("stamp_verify", "256 blocks", all, &mut || {
            stamp.verify(stream, &blocks(256), found.view())
        })?;
        row("checksum", "256 blocks", all, &mut || {
            checksum.launch(stream, &blocks(256), found.view())
        })?;
        row("checksum", "1 block", one, &mut || {
            checksum.launch(stream, &blocks(1), found.view())
        })?;
        row("touch", "2 GiB", all, &mut || {
            occupy.touch(stream, memory.view(), found.view())
        })?;
        row("random", "2 GiB", all, &mut || {
            self.random.fill(stream, memory.view(), 1, 1.0)
        })?;

        let (norm, silu, rotate) = (
            RmsNorm::load(&self.gpu)?,
            SiluMul::load(&self.gpu)?,
            Rope::load(&self.gpu)?,
        );
        let part = |index: u64, bytes: u64| -> Result<View, Error> {
            memory.view().slice(index * (256 << 20), bytes)
        };
        let frequency = DeviceBuffer::from_slice(stream, &rope::frequencies(128, 1e4))?;
        for rows in [1_u32, 32, 2048] {
            let tokens = u64::from(rows);
            let bytes = 2 * 4096 * tokens;
            let rows_of = RmsNormRows {
                input: part(0, bytes)?,
                residual: Some(part(1, bytes)?),
                weight: part(2, 2 * 4096)?,
                output: part(3, bytes)?,
                row_count: rows,
                hidden: 4096,
                epsilon: 1e-5,
            };
            row(
                "rms_norm",
                &format!("{rows} x 4096 with residual"),
                4 * bytes,
                &mut || norm.launch(stream, &rows_of),
            )?;
            let width = 11_008;
            let bytes = 2 * u64::from(width) * tokens;
            let gated = SiluMulRows {
                gate_up: part(0, 2 * bytes)?,
                output: part(3, bytes)?,
                row_count: rows,
                width,
            };
            row(
                "silu_mul",
                &format!("{rows} x {width}"),
                3 * bytes,
                &mut || silu.launch(stream, &gated),
            )?;
            let positions =
                DeviceBuffer::from_slice(stream, &(0..rows as i32).collect::<Vec<_>>())?;
            let rotated = RopeTokens {
                qkv: part(0, 2 * 96 * 128 * tokens)?,
                bias: None,
                norm: None,
                epsilon: 1e-5,
                positions: positions.view(),
                slots: positions.view(),
                frequency: frequency.view(),
                pool,
                layer: 31,
                q_heads: 32,
                token_count: rows,
            };
            let moved = 2 * 2 * 96 * 128 * tokens;
            row(
                "rope",
                &format!("{rows} x 96 heads of 128"),
                moved,
                &mut || rotate.launch(stream, &rotated),
            )?;
        }
        table.save(folder)?;
        Ok(())
    }
}
