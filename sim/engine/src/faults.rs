//! Defects that can be injected: the five "critical bugs" of the original implementation.
//!
//! Each is a way in which a real system was wrong while its counters looked right. The simulator can carry them, so that their
//! effect on the metrics is a measurement.

use model::Nanos;

/// Which defects are active. The default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// P0-1: a restore copies, reports success, and drops its copy. The turn recomputes.
    pub restore_drops_copy: bool,
    /// P0-2: an eviction copies out and frees nothing: both copies stay until the session returns.
    pub evict_frees_nothing: bool,
    /// P1-3: `COMPUTE` starts a restore although the prefetch of the same KV is in flight; the bytes move twice.
    pub prefetch_races_compute: bool,
    /// P1-4: synchronous I/O on the hot path: each request and each signal holds up the scheduler this long.
    pub io_on_hot_path: Nanos,
    /// P2-5: `IO_WAIT` is lost without an error.
    pub signal_lost: bool,
}

impl Faults {
    /// Names, in the order of the original list.
    pub const NAMES: [&'static str; 5] = [
        "restore-drops-copy",
        "evict-frees-nothing",
        "prefetch-races-compute",
        "io-on-hot-path",
        "signal-lost",
    ];

    /// Adds the fault called `name`. Returns whether there is one.
    pub fn add(&mut self, name: &str) -> bool {
        match name {
            "restore-drops-copy" => self.restore_drops_copy = true,
            "evict-frees-nothing" => self.evict_frees_nothing = true,
            "prefetch-races-compute" => self.prefetch_races_compute = true,
            // Chosen: an append and flush of a line to a local disk, 1 to 10 ms.
            "io-on-hot-path" => self.io_on_hot_path = Nanos::from_millis(5),
            "signal-lost" => self.signal_lost = true,
            _ => return false,
        }
        true
    }
}
