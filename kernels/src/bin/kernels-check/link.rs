//! The host link: a paged Llama-2-7B session of 2,048 tokens (1 GiB), by every copy method.
//!
//! 128 blocks of 16 tokens, 64 pieces of 128 KiB in each, scattered over a layer-major pool; then a model
//! with eight KV heads (pieces of 32 KiB); then both directions at once.

use std::path::Path;
use std::time::Instant;

use kernels::gather::{Gather, GatherBlocks};
use kernels::gpu::{
    BatchCopy, BatchMethod, DeviceBuffer, Error, Event, Gpu, HostPool, Piece, Stream, View,
};
use kernels::kv::{KvLayout, KvOrder, KvPool};
use kernels::random::Random;
use kernels::scatter::{Scatter, ScatterBlocks};
use kernels::staged::{StagedBlocks, StagedCopy};

use crate::suite::scrambled;
use crate::timing::{Table, gigabytes_per_second, median_nanos};

const BLOCKS: u32 = 128;
const REPEATS: usize = 5;

/// A session in HBM and room for it in the host pool, twice: one half for each direction.
struct Session {
    gpu: Gpu,
    kv: KvPool,
    _pool: DeviceBuffer,
    host: HostPool,
    /// Block ids, and slot ids, in GPU memory: the first half for D2H, the second for H2D.
    blocks: DeviceBuffer,
    slots: DeviceBuffer,
    block_ids: Vec<i32>,
    slot_ids: Vec<u32>,
    gather: Gather,
    scatter: Scatter,
}

pub fn measure(gpu: &Gpu, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut pools = Table::new(
        gpu,
        "host_pool",
        "bytes,threads,milliseconds,seconds_per_gib",
    );
    let started = Instant::now();
    let threads = std::thread::available_parallelism()?.get();
    let bytes = 8_u64 << 30;
    let host = HostPool::new(gpu, bytes, threads, &mut |_| ())?;
    let seconds = started.elapsed().as_secs_f64();
    pools.row(&format!(
        "{bytes},{threads},{:.0},{:.4}",
        seconds * 1e3,
        seconds / 8.0
    ));
    pools.save(folder)?;
    drop(host);

    let mut table = Table::new(
        gpu,
        "link",
        "direction,method,piece_bytes,ctas,bytes,nanos,gb_per_s",
    );
    for (kv_heads, order) in [
        (32, KvOrder::LayerMajor),
        (32, KvOrder::BlockMajor),
        (8, KvOrder::LayerMajor),
    ] {
        let layout = KvLayout {
            order,
            block_count: 2 * BLOCKS + 7,
            layers: 32,
            kv_heads,
            block_tokens: 16,
            head_dim: 128,
        };
        let session = Session::new(gpu, layout)?;
        if order == KvOrder::BlockMajor {
            session.whole_blocks(&mut table)?;
        } else {
            session.kernels(&mut table)?;
            session.batches(&mut table)?;
            session.duplex(&mut table)?;
            session.staged(&mut table)?;
        }
    }
    table.save(folder)?;
    Ok(())
}

impl Session {
    fn new(gpu: &Gpu, layout: KvLayout) -> Result<Self, Error> {
        let stream = Stream::new(gpu)?;
        let pool = DeviceBuffer::new(gpu, layout.pool_bytes())?;
        Random::load(gpu)?.fill(&stream, pool.view(), 1, 1.0)?;
        let host = HostPool::new(
            gpu,
            2 * u64::from(BLOCKS) * layout.block_bytes(),
            16,
            &mut |_| (),
        )?;
        let block_ids = scrambled(1, layout.block_count)[..2 * BLOCKS as usize].to_vec();
        let slot_ids = scrambled(2, 2 * BLOCKS);
        Ok(Self {
            gpu: gpu.clone(),
            kv: KvPool {
                layout,
                view: pool.view(),
            },
            _pool: pool,
            host,
            blocks: DeviceBuffer::from_slice(&stream, &block_ids)?,
            slots: DeviceBuffer::from_slice(&stream, &slot_ids)?,
            block_ids,
            slot_ids: slot_ids.iter().map(|&slot| slot as u32).collect(),
            gather: Gather::load(gpu)?,
            scatter: Scatter::load(gpu)?,
        })
    }

    fn bytes(&self) -> u64 {
        u64::from(BLOCKS) * self.kv.layout.block_bytes()
    }

    fn lists(&self, half: u64) -> Result<(View, View), Error> {
        let bytes = 4 * u64::from(BLOCKS);
        Ok((
            self.blocks.view().slice(half * bytes, bytes)?,
            self.slots.view().slice(half * bytes, bytes)?,
        ))
    }

    fn gather(&self, stream: &Stream, ctas: u32) -> Result<(), Error> {
        let (from, to) = self.lists(0)?;
        let (pool, slots) = (self.kv, self.host.view());
        self.gather.launch(
            stream,
            &GatherBlocks {
                pool,
                slots,
                from,
                to,
                block_count: BLOCKS,
                ctas,
            },
        )
    }

    fn scatter(&self, stream: &Stream, ctas: u32) -> Result<(), Error> {
        let (to, from) = self.lists(1)?;
        let (pool, slots) = (self.kv, self.host.view());
        self.scatter.launch(
            stream,
            &ScatterBlocks {
                pool,
                slots,
                from,
                to,
                block_count: BLOCKS,
                ctas,
            },
        )
    }

    fn row(&self, table: &mut Table, direction: &str, method: &str, ctas: u32, nanos: u64) {
        let (piece, bytes) = (self.kv.layout.piece_bytes(), self.bytes());
        let rate = gigabytes_per_second(bytes, nanos);
        table.row(&format!(
            "{direction},{method},{piece},{ctas},{bytes},{nanos},{rate:.2}"
        ));
    }

    fn kernels(&self, table: &mut Table) -> Result<(), Error> {
        let stream = Stream::new(&self.gpu)?;
        for ctas in [8, 16, 32, 64, 132, 264, 528] {
            let nanos = median_nanos(&self.gpu, &stream, REPEATS, || self.gather(&stream, ctas))?;
            self.row(table, "d2h", "gather", ctas, nanos);
            let nanos = median_nanos(&self.gpu, &stream, REPEATS, || self.scatter(&stream, ctas))?;
            self.row(table, "h2d", "scatter", ctas, nanos);
        }
        Ok(())
    }

    /// The pieces of half the blocks: device side, and host side in order.
    fn pieces(&self, half: usize) -> Result<Vec<(View, View)>, Error> {
        let layout = &self.kv.layout;
        let mut pieces = Vec::new();
        for (slot, &block) in self
            .block_ids
            .iter()
            .enumerate()
            .skip(half * BLOCKS as usize)
            .take(BLOCKS as usize)
        {
            for piece in 0..layout.piece_count() {
                let device = self.kv.view.slice(
                    layout.piece_offset(block as u32, piece),
                    layout.piece_bytes(),
                )?;
                let offset =
                    slot as u64 * layout.block_bytes() + u64::from(piece) * layout.piece_bytes();
                pieces.push((
                    device,
                    self.host.view().slice(offset, layout.piece_bytes())?,
                ));
            }
        }
        Ok(pieces)
    }

    fn batches(&self, table: &mut Table) -> Result<(), Error> {
        let stream = Stream::new(&self.gpu)?;
        let out: Vec<Piece> = self
            .pieces(0)?
            .into_iter()
            .map(|(device, host)| Piece {
                to: host,
                from: device,
            })
            .collect();
        let back: Vec<Piece> = self
            .pieces(1)?
            .into_iter()
            .map(|(device, host)| Piece {
                to: device,
                from: host,
            })
            .collect();
        let mut copy = BatchCopy::new(&self.gpu);
        for method in [BatchMethod::Second, BatchMethod::First, BatchMethod::Loop] {
            if copy.prefer(method) != method {
                continue;
            }
            for (direction, pieces) in [("d2h", &out), ("h2d", &back)] {
                let nanos =
                    median_nanos(&self.gpu, &stream, REPEATS, || copy.submit(&stream, pieces))?;
                self.row(
                    table,
                    direction,
                    &format!("batch-{method:?}").to_lowercase(),
                    0,
                    nanos,
                );
            }
        }
        Ok(())
    }

    /// One memcpy per block of a block-major pool; then the same for the other direction, then both.
    fn whole_blocks(&self, table: &mut Table) -> Result<(), Error> {
        let layout = &self.kv.layout;
        let half = |half: usize| -> Result<Vec<(View, View)>, Error> {
            let ids = self
                .block_ids
                .iter()
                .enumerate()
                .skip(half * BLOCKS as usize)
                .take(BLOCKS as usize);
            ids.map(|(slot, &block)| {
                let device = self
                    .kv
                    .view
                    .slice(layout.piece_offset(block as u32, 0), layout.block_bytes())?;
                Ok((
                    device,
                    self.host
                        .view()
                        .slice(slot as u64 * layout.block_bytes(), layout.block_bytes())?,
                ))
            })
            .collect()
        };
        let (out, back) = (half(0)?, half(1)?);
        let (d2h, h2d) = (Stream::new(&self.gpu)?, Stream::new(&self.gpu)?);
        let leave = || {
            out.iter()
                .try_for_each(|&(device, host)| d2h.copy(host, device))
        };
        let enter = || {
            back.iter()
                .try_for_each(|&(device, host)| h2d.copy(device, host))
        };
        let nanos = median_nanos(&self.gpu, &d2h, REPEATS, leave)?;
        self.row(table, "d2h", "block-memcpy", 0, nanos);
        let nanos = median_nanos(&self.gpu, &h2d, REPEATS, enter)?;
        self.row(table, "h2d", "block-memcpy", 0, nanos);
        self.both(table, "block-memcpy", 0, &d2h, &h2d, leave, enter)
    }

    fn duplex(&self, table: &mut Table) -> Result<(), Error> {
        let (d2h, h2d) = (Stream::new(&self.gpu)?, Stream::new(&self.gpu)?);
        for ctas in [16, 32, 64, 132] {
            self.both(
                table,
                "kernels",
                ctas,
                &d2h,
                &h2d,
                || self.gather(&d2h, ctas),
                || self.scatter(&h2d, ctas),
            )?;
        }
        Ok(())
    }

    /// Through staging buffers of 64 MiB a half: each direction alone, both, and each against the other's kernel.
    fn staged(&self, table: &mut Table) -> Result<(), Error> {
        let chunk = ((64_u64 << 20) / self.kv.layout.block_bytes()) as u32;
        let (d2h, h2d) = (Stream::new(&self.gpu)?, Stream::new(&self.gpu)?);
        for ctas in [16, 64] {
            let staged = || StagedCopy::new(&self.gpu, self.kv.layout.block_bytes(), chunk, ctas);
            let (out, back) = (staged()?, staged()?);
            let moved = |half: usize| -> Result<StagedBlocks<'_>, Error> {
                let slots = &self.slot_ids[half * BLOCKS as usize..][..BLOCKS as usize];
                Ok(StagedBlocks {
                    pool: self.kv,
                    host: self.host.view(),
                    blocks: self.lists(half as u64)?.0,
                    slots,
                })
            };
            let (leaving, entering) = (moved(0)?, moved(1)?);
            let leave = || out.leave(&d2h, &leaving);
            let enter = || back.enter(&h2d, &entering);
            let nanos = median_nanos(&self.gpu, &d2h, REPEATS, leave)?;
            self.row(table, "d2h", "staged", ctas, nanos);
            let nanos = median_nanos(&self.gpu, &h2d, REPEATS, enter)?;
            self.row(table, "h2d", "staged", ctas, nanos);
            self.both(table, "staged", ctas, &d2h, &h2d, leave, enter)?;
            self.both(
                table,
                "gather-staged",
                ctas,
                &d2h,
                &h2d,
                || self.gather(&d2h, ctas),
                enter,
            )?;
            self.both(table, "staged-scatter", ctas, &d2h, &h2d, leave, || {
                self.scatter(&h2d, ctas)
            })?;
        }
        Ok(())
    }

    /// Both directions for some 150 ms; each one's rate over its own time, and the sum over the time of both.
    #[allow(clippy::too_many_arguments)] // Two directions, each with its stream and its work.
    fn both(
        &self,
        table: &mut Table,
        method: &str,
        ctas: u32,
        d2h: &Stream,
        h2d: &Stream,
        mut leave: impl FnMut() -> Result<(), Error>,
        mut enter: impl FnMut() -> Result<(), Error>,
    ) -> Result<(), Error> {
        const ROUNDS: u64 = 6;
        let marks: Vec<Event> = (0..3)
            .map(|_| Event::new(&self.gpu))
            .collect::<Result<_, _>>()?;
        let [start, out_done, in_done] = marks.as_slice() else {
            unreachable!("three events")
        };
        start.record(d2h)?;
        h2d.wait(start)?;
        for _ in 0..ROUNDS {
            leave()?;
            enter()?;
        }
        out_done.record(d2h)?;
        in_done.record(h2d)?;
        out_done.synchronize()?;
        in_done.synchronize()?;
        let (out, back) = (out_done.nanos_since(start)?, in_done.nanos_since(start)?);
        self.row(table, "d2h-duplex", method, ctas, out / ROUNDS);
        self.row(table, "h2d-duplex", method, ctas, back / ROUNDS);
        self.row(
            table,
            "sum-duplex",
            method,
            ctas,
            out.max(back) / ROUNDS / 2,
        );
        Ok(())
    }
}
