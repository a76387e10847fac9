//! Measures a machine, and writes the profile that the simulator reads.
//!
//! ```text
//!   measure (GPU) ──► fit (medians, held-out points) ──► profile (TOML) and sweep (CSV)
//! ```
//!
//! Measured: the link (sizes, both directions at once, scattered pieces by every method, head of line), what copies cost a
//! kernel that reads HBM, allocations, latencies.
//! **Absent on purpose:** step times. They need a model that computes; the profile keeps the shipped ones and says so.

mod fit;
mod measure;
mod profile;

pub use fit::{Line, Point};
pub use measure::Method;
pub use profile::{Origin, csv, toml};

use kernels::gpu::{Error, Gpu};
use measure::{Bench, PIECES, SCATTERED_BYTES, allocation, host_pool};
use model::Direction;

/// Everything that was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// D2H and H2D.
    pub lanes: [LaneMeasured; 2],
    /// A kernel that reads 2 GiB: alone, beside D2H, beside H2D \[ns\].
    pub touch_ns: [u64; 3],
    /// From submission to completion seen, P50 and P99: an empty kernel, a copy of 4 KiB \[ns\].
    pub latency_ns: [[u64; 2]; 2],
    /// Bytes of HBM, and the time to take and to give them back \[ns\].
    pub allocation_ns: Vec<(u64, [u64; 2])>,
    /// Pinned host memory.
    pub host_pool_s_per_gib: f64,
}

/// One direction of the link.
#[derive(Clone, Debug, PartialEq)]
pub struct LaneMeasured {
    /// One memcpy, by size.
    pub sweep: Vec<Point>,
    /// What was fitted to it.
    pub line: Line,
    /// Rate while the other direction is busy.
    pub bytes_per_s_shared: u64,
    /// Cost of a scattered piece beyond its bytes, by [`Method`].
    pub piece_ns: [u64; 4],
    /// Rate of scattered pieces of 128 KiB, by [`Method`].
    pub scattered_bytes_per_s: [u64; 4],
    /// How much longer a kernel that reads HBM takes beside it.
    pub slowdown_ppm: u32,
    /// 8 MiB behind 512 MiB.
    pub head_of_line_ns: u64,
}

impl Measured {
    /// Fixed cost of a copy: the mean of both directions.
    pub fn copy_ns(&self) -> u64 {
        self.lanes
            .iter()
            .map(|lane| lane.line.fixed_ns)
            .sum::<u64>()
            / 2
    }
}

/// Measures; `progress` hears what is next.
///
/// # Errors
/// If the GPU or the host has too little memory, or the driver refuses a call.
pub fn measure(gpu: &Gpu, progress: &mut dyn FnMut(&str)) -> Result<Measured, Error> {
    progress("allocations");
    let sizes = [2_u64 << 20, 1 << 30, 8 << 30];
    let allocation_ns = sizes
        .into_iter()
        .map(|bytes| Ok((bytes, allocation(gpu, bytes)?)))
        .collect::<Result<_, Error>>()?;
    let gibs = 4;
    let host_pool_s_per_gib = host_pool(gpu, gibs << 30)? as f64 / 1e9 / gibs as f64;
    let bench = Bench::new(gpu)?;
    progress("latencies");
    let latency_ns = bench.latencies()?;
    progress("interference with a kernel that reads HBM");
    let touch_ns = bench.interference()?;
    progress("both directions at once");
    let shared = bench.duplex()?;
    let lane =
        |direction: Direction, progress: &mut dyn FnMut(&str)| -> Result<LaneMeasured, Error> {
            progress(&format!("{direction}, by size"));
            let sweep = bench.sweep(direction)?;
            let line = fit::line(&sweep).unwrap_or(Line {
                fixed_ns: 0,
                bytes_per_s: 1,
                error_median: 1.0,
                error_max: 1.0,
            });
            progress(&format!("{direction}, scattered pieces"));
            let (mut piece_ns, mut scattered_bytes_per_s) = ([0; 4], [0; 4]);
            for (place, method) in Method::ALL.into_iter().enumerate() {
                let nanos = bench.scattered(direction, method)?;
                piece_ns[place] = fit::piece_ns(nanos, PIECES, SCATTERED_BYTES, line.bytes_per_s);
                scattered_bytes_per_s[place] = SCATTERED_BYTES * 1_000_000_000 / nanos.max(1);
            }
            Ok(LaneMeasured {
                sweep,
                line,
                bytes_per_s_shared: shared[direction.index()],
                piece_ns,
                scattered_bytes_per_s,
                slowdown_ppm: fit::slowdown_ppm(touch_ns[0], touch_ns[1 + direction.index()]),
                head_of_line_ns: bench.head_of_line(direction)?,
            })
        };
    let lanes = [
        lane(Direction::D2h, progress)?,
        lane(Direction::H2d, progress)?,
    ];
    Ok(Measured {
        lanes,
        touch_ns,
        latency_ns,
        allocation_ns,
        host_pool_s_per_gib,
    })
}
