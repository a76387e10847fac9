//! What is timed beneath the device, on a GPU with 4 GiB free and a host with 3: single memcpys, allocations, latencies.
//!
//! Device time comes from GPU events and is a median after warm-up (an idle GPU needs milliseconds to raise its
//! clocks); latencies are host time, seen by polling, as the replay sees its completions.

use super::fit::Point;
use kernels::gpu::{DeviceBuffer, Error, Event, Gpu, HostPool, Piece, Stream};
use kernels::occupy::Occupy;
use model::Direction;
use std::time::{Duration, Instant};

const WARM_UP: Duration = Duration::from_millis(20);
const REPEATS: usize = 7;
/// The largest copy of the sweep; each side of the link has as much.
const LARGEST: u64 = 512 << 20;
/// Memory on both sides of the link, and a stream for each direction.
pub(super) struct Bench {
    gpu: Gpu,
    device: DeviceBuffer,
    host: HostPool,
    streams: [Stream; 2],
    compute: Stream,
    occupy: Occupy,
}

impl Bench {
    pub fn new(gpu: &Gpu) -> Result<Self, Error> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let compute = Stream::new(gpu)?;
        Ok(Self {
            device: DeviceBuffer::new(gpu, 2 * LARGEST)?,
            host: HostPool::new(gpu, 2 * LARGEST, threads, &mut |_| ())?,
            streams: [Stream::new(gpu)?, Stream::new(gpu)?],
            compute,
            occupy: Occupy::load(gpu)?,
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
            _ => Piece {
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
