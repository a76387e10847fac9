//! From a run spec to a finished run folder, on any device; sweeps and faults.

pub mod oracle;
