//! What is timed, on a GPU with 4 GiB free and a host with 3.
//!
//! Device time comes from GPU events and is a median after warm-up (an idle GPU needs milliseconds to raise its
//! clocks); latencies are host time, seen by polling, as the replay sees its completions.

use super::fit::Point;
use kernels::gather::{Gather, GatherBlocks};
use kernels::gpu::{
    BatchCopy, BatchMethod, DeviceBuffer, Error, Event, Gpu, HostPool, Piece, Stream, View,
};
use kernels::kv::{KvLayout, KvOrder, KvPool};
use kernels::occupy::Occupy;
use kernels::scatter::{Scatter, ScatterBlocks};
use kernels::staged::{StagedBlocks, StagedCopy};
use model::Direction;
use std::time::{Duration, Instant};

const WARM_UP: Duration = Duration::from_millis(20);
const REPEATS: usize = 7;
/// The largest copy of the sweep; each side of the link has as much.
const LARGEST: u64 = 512 << 20;
/// 64 blocks of Llama-2-7B: 16 tokens, 64 pieces of 128 KiB (K and V of 32 layers), 8 MiB.
const PAGED: KvLayout = KvLayout {
    order: KvOrder::LayerMajor,
    block_count: 64,
    layers: 32,
    kv_heads: 32,
    block_tokens: 16,
    head_dim: 128,
};
/// CTAs of gathers and scatters over the link, and to staging buffers.
const CTAS: [u32; 2] = [64, 16];

/// Memory on both sides of the link, and a stream for each direction.
pub(super) struct Bench {
    gpu: Gpu,
    device: DeviceBuffer,
    host: HostPool,
    streams: [Stream; 2],
    compute: Stream,
    occupy: Occupy,
    sink: DeviceBuffer,
}

/// Ways of copying scattered pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// One memcpy per piece.
    Memcpy,
    /// One batched memcpy.
    Batch,
    /// A kernel over mapped host memory.
    Gather,
    /// A kernel to a staging buffer, and one memcpy per block from there.
    Staged,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Memcpy, Self::Batch, Self::Gather, Self::Staged];
}

impl Bench {
    pub fn new(gpu: &Gpu) -> Result<Self, Error> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let compute = Stream::new(gpu)?;
        let sink = DeviceBuffer::new(gpu, 16)?;
        compute.fill(sink.view(), 0)?;
        compute.synchronize()?;
        Ok(Self {
            device: DeviceBuffer::new(gpu, 2 * LARGEST)?,
            host: HostPool::new(gpu, 2 * LARGEST, threads, &mut |_| ())?,
            streams: [Stream::new(gpu)?, Stream::new(gpu)?],
            compute,
            occupy: Occupy::load(gpu)?,
            sink,
            gpu: gpu.clone(),
        })
    }

    /// Device time of what `submit` puts into `stream`.
    fn median(
        &self,
        stream: &Stream,
        mut submit: impl FnMut() -> Result<(), Error>,
    ) -> Result<u64, Error> {
        let (start, end) = (Event::new(&self.gpu)?, Event::new(&self.gpu)?);
        let begun = Instant::now();
        while begun.elapsed() < WARM_UP {
            submit()?;
            stream.synchronize()?;
        }
        let mut times = Vec::with_capacity(REPEATS);
        for _ in 0..REPEATS {
            start.record(stream)?;
            submit()?;
            end.record(stream)?;
            end.synchronize()?;
            times.push(end.nanos_since(&start)?);
        }
        times.sort_unstable();
        Ok(times[REPEATS / 2])
    }

    /// Both ends of a copy; each direction has its half of both sides.
    fn ends(&self, direction: Direction, offset: u64, bytes: u64) -> Result<Piece, Error> {
        let at = direction.index() as u64 * LARGEST + offset;
        let (device, host) = (
            self.device.view().slice(at, bytes)?,
            self.host.view().slice(at, bytes)?,
        );
        Ok(match direction {
            Direction::D2h => Piece {
                to: host,
                from: device,
            },
            Direction::H2d => Piece {
                to: device,
                from: host,
            },
        })
    }

    fn copy(&self, direction: Direction, offset: u64, bytes: u64) -> Result<(), Error> {
        let piece = self.ends(direction, offset, bytes)?;
        self.streams[direction.index()].copy(piece.to, piece.from)
    }

    /// One memcpy, from 4 KiB to 512 MiB.
    pub fn sweep(&self, direction: Direction) -> Result<Vec<Point>, Error> {
        let sizes = (12..=29).map(|power| 1_u64 << power);
        sizes
            .map(|bytes| {
                let stream = &self.streams[direction.index()];
                let nanos = self.median(stream, || self.copy(direction, 0, bytes))?;
                Ok(Point { bytes, nanos })
            })
            .collect()
    }

    /// Rates \[bytes/s\] of both directions while both run: chunks of 32 MiB that ended before either side ran out.
    pub fn duplex(&self) -> Result<[u64; 2], Error> {
        const CHUNK: u64 = 32 << 20;
        const CHUNKS: u64 = 64;
        let start = Event::new(&self.gpu)?;
        let mut marks: [Vec<Event>; 2] = Default::default();
        start.record(&self.streams[0])?;
        self.streams[1].wait(&start)?;
        for chunk in 0..CHUNKS {
            for direction in Direction::ALL {
                self.copy(direction, chunk % (LARGEST / CHUNK) * CHUNK, CHUNK)?;
                let mark = Event::new(&self.gpu)?;
                mark.record(&self.streams[direction.index()])?;
                marks[direction.index()].push(mark);
            }
        }
        self.gpu.synchronize()?;
        let mut ends = [Vec::new(), Vec::new()];
        for (ends, marks) in ends.iter_mut().zip(&marks) {
            *ends = marks
                .iter()
                .map(|mark| mark.nanos_since(&start))
                .collect::<Result<Vec<u64>, _>>()?;
        }
        let last = ends
            .iter()
            .filter_map(|ends| ends.last().copied())
            .min()
            .unwrap_or(0);
        Ok(ends.map(|ends| {
            let inside: Vec<u64> = ends.into_iter().filter(|&end| end <= last).collect();
            let nanos = inside.last().copied().unwrap_or(0).max(1);
            (u128::from(inside.len() as u64 * CHUNK) * 1_000_000_000 / u128::from(nanos)) as u64
        }))
    }

    /// Time of an 8 MiB copy behind a 512 MiB one of its direction on another stream: what a demand restore would wait.
    pub fn head_of_line(&self, direction: Direction) -> Result<u64, Error> {
        const SMALL: u64 = 8 << 20;
        let (start, end) = (Event::new(&self.gpu)?, Event::new(&self.gpu)?);
        let other = Stream::new(&self.gpu)?;
        let mut times = Vec::new();
        for _ in 0..REPEATS {
            start.record(&self.streams[direction.index()])?;
            self.copy(direction, 0, LARGEST)?;
            other.wait(&start)?;
            let piece = self.ends(direction, 0, SMALL)?;
            other.copy(piece.to, piece.from)?;
            end.record(&other)?;
            self.gpu.synchronize()?;
            times.push(end.nanos_since(&start)?);
        }
        times.sort_unstable();
        Ok(times[REPEATS / 2])
    }

    /// Time of a kernel that reads HBM: alone, and beside copies of each direction.
    pub fn interference(&self) -> Result<[u64; 3], Error> {
        let input = DeviceBuffer::new(&self.gpu, 2 << 30)?;
        let touch = || {
            self.occupy
                .touch(&self.compute, input.view(), self.sink.view().slice(0, 8)?)
        };
        let alone = self.median(&self.compute, touch)?;
        let mut times = [alone; 3];
        for direction in Direction::ALL {
            let (start, end) = (Event::new(&self.gpu)?, Event::new(&self.gpu)?);
            let mut beside = Vec::new();
            for _ in 0..REPEATS {
                // 2 GiB of copies last some 39 ms; the kernel, half a millisecond in their middle.
                for _ in 0..4 {
                    self.copy(direction, 0, LARGEST)?;
                }
                for _ in 0..8 {
                    start.record(&self.compute)?;
                    touch()?;
                    end.record(&self.compute)?;
                    end.synchronize()?;
                    beside.push(end.nanos_since(&start)?);
                }
                self.gpu.synchronize()?;
            }
            beside.sort_unstable();
            times[1 + direction.index()] = beside[beside.len() / 2];
        }
        Ok(times)
    }

    /// Time of 4,096 scattered pieces of 128 KiB (512 MiB).
    pub fn scattered(&self, direction: Direction, method: Method) -> Result<u64, Error> {
        let stream = &self.streams[direction.index()];
        match method {
            Method::Memcpy | Method::Batch => {
                let mut batch = BatchCopy::new(&self.gpu);
                if method == Method::Memcpy {
                    batch.prefer(BatchMethod::Loop);
                }
                let pieces = self.pieces(direction)?;
                self.median(stream, || batch.submit(stream, &pieces))
            }
            Method::Gather => self.kernel(direction),
            Method::Staged => self.staged(direction),
        }
    }

    fn pieces(&self, direction: Direction) -> Result<Vec<Piece>, Error> {
        let bytes = PAGED.piece_bytes();
        let count = PIECES;
        (0..count)
            .map(|piece| {
                // 1,031 is odd and so has no factor in common with a power of two: every place once.
                let place = piece * 1_031 % count * bytes;
                let (scattered, dense) = (
                    self.ends(direction, place, bytes)?,
                    self.ends(direction, piece * bytes, bytes)?,
                );
                Ok(match direction {
                    Direction::D2h => Piece {
                        to: dense.to,
                        from: scattered.from,
                    },
                    Direction::H2d => Piece {
                        to: scattered.to,
                        from: dense.from,
                    },
                })
            })
            .collect()
    }

    fn pool(&self) -> Result<(KvPool, View), Error> {
        let view = self.device.view().slice(0, PAGED.pool_bytes())?;
        Ok((
            KvPool {
                layout: PAGED,
                view,
            },
            self.host.view().slice(0, PAGED.pool_bytes())?,
        ))
    }

    /// Block ids in an order that looks like none, and slots in order.
    fn ids(&self) -> Result<[DeviceBuffer; 2], Error> {
        let count = PAGED.block_count as i32;
        let scattered: Vec<i32> = (0..count).map(|block| block * 37 % count).collect();
        let dense: Vec<i32> = (0..count).collect();
        Ok([
            DeviceBuffer::from_slice(&self.compute, &scattered)?,
            DeviceBuffer::from_slice(&self.compute, &dense)?,
        ])
    }

    fn kernel(&self, direction: Direction) -> Result<u64, Error> {
        let stream = &self.streams[direction.index()];
        let ((pool, slots), [blocks, dense]) = (self.pool()?, self.ids()?);
        let (block_count, ctas) = (PAGED.block_count, CTAS[0]);
        match direction {
            Direction::D2h => {
                let gather = Gather::load(&self.gpu)?;
                let (from, to) = (blocks.view(), dense.view());
                self.median(stream, || {
                    gather.launch(
                        stream,
                        &GatherBlocks {
                            pool,
                            slots,
                            from,
                            to,
                            block_count,
                            ctas,
                        },
                    )
                })
            }
            Direction::H2d => {
                let scatter = Scatter::load(&self.gpu)?;
                let (from, to) = (dense.view(), blocks.view());
                self.median(stream, || {
                    scatter.launch(
                        stream,
                        &ScatterBlocks {
                            pool,
                            slots,
                            from,
                            to,
                            block_count,
                            ctas,
                        },
                    )
                })
            }
        }
    }

    fn staged(&self, direction: Direction) -> Result<u64, Error> {
        let stream = &self.streams[direction.index()];
        let ((pool, host), [blocks, _]) = (self.pool()?, self.ids()?);
        let slots: Vec<u32> = (0..PAGED.block_count).collect();
        let staged = StagedCopy::new(&self.gpu, PAGED.block_bytes(), 8, CTAS[1])?;
        let moved = StagedBlocks {
            pool,
            host,
            blocks: blocks.view(),
            slots: &slots,
        };
        self.median(stream, || match direction {
            Direction::D2h => staged.leave(stream, &moved),
            Direction::H2d => staged.enter(stream, &moved),
        })
    }

    /// Host time from submission to the completion seen by polling, of an empty kernel and of a 4 KiB copy: P50 and P99.
    pub fn latencies(&self) -> Result<[[u64; 2]; 2], Error> {
        let kernel = self.latency(|| self.occupy.spin(&self.compute, 0), &self.compute)?;
        let copy = self.latency(|| self.copy(Direction::H2d, 0, 4_096), &self.streams[1])?;
        Ok([kernel, copy])
    }

    fn latency(
        &self,
        mut submit: impl FnMut() -> Result<(), Error>,
        stream: &Stream,
    ) -> Result<[u64; 2], Error> {
        const TRIES: usize = 2_000;
        let mark = Event::new(&self.gpu)?;
        let mut times = Vec::with_capacity(TRIES);
        for _ in 0..TRIES {
            let begun = Instant::now();
            submit()?;
            mark.record(stream)?;
            while !mark.is_done()? {
                std::hint::spin_loop();
            }
            times.push(begun.elapsed().as_nanos() as u64);
        }
        times.sort_unstable();
        Ok([times[TRIES / 2], times[TRIES * 99 / 100]])
    }
}

/// Pieces of the scattered copies.
pub(super) const PIECES: u64 = 4_096;
/// Bytes of them.
pub(super) const SCATTERED_BYTES: u64 = 512 << 20;

/// Time to take and to give back so much HBM.
pub(super) fn allocation(gpu: &Gpu, bytes: u64) -> Result<[u64; 2], Error> {
    let begun = Instant::now();
    let buffer = DeviceBuffer::new(gpu, bytes)?;
    let taken = begun.elapsed();
    let begun = Instant::now();
    drop(buffer);
    Ok([taken, begun.elapsed()].map(|span| span.as_nanos() as u64))
}

/// Time to take so much pinned host memory.
pub(super) fn host_pool(gpu: &Gpu, bytes: u64) -> Result<u64, Error> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let begun = Instant::now();
    let pool = HostPool::new(gpu, bytes, threads, &mut |_| ())?;
    let taken = begun.elapsed();
    drop(pool);
    Ok(taken.as_nanos() as u64)
}
