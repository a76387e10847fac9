//! What the device saw of each operation, beyond what `ops.csv` keeps: GPU time, checks, and when the driver heard.

use std::fmt::Write as _;

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Number of the operation, as in `ops.csv`.
    pub op: u64,
    /// `steps`, `d2h` or `h2d`.
    pub kind: &'static str,
    /// Steps or chunks.
    pub units: u32,
    /// Seen to begin and to end, in host time since the start of the run.
    pub start_ns: u64,
    /// As above.
    pub end_ns: u64,
    /// Time that the GPU's own events give for the same, without what lay between its units.
    pub gpu_ns: u64,
    /// From the end of each chunk until its check was seen to be over, summed over chunks; those of other chunks overlap it.
    pub check_ns: u64,
    /// When the driver was told.
    pub told_ns: u64,
}

impl Timing {
    /// From the end seen to the driver's wake.
    pub fn harness_ns(&self) -> u64 {
        self.told_ns.saturating_sub(self.end_ns)
    }
}

/// `device.csv`.
pub fn csv(timings: &[Timing]) -> String {
    let mut text = "op,kind,units,start_ns,end_ns,gpu_ns,check_ns,told_ns\n".to_owned();
    for Timing {
        op,
        kind,
        units,
        start_ns,
        end_ns,
        gpu_ns,
        check_ns,
        told_ns,
    } in timings
    {
        let _ = writeln!(
            text,
            "{op},{kind},{units},{start_ns},{end_ns},{gpu_ns},{check_ns},{told_ns}"
        );
    }
    text
}
