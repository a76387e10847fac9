//! What the engine runs on, and what it costs.
//!
//! ```text
//!   configs/hardware ─► HardwareProfile ─┬─► StepCost ─┬─► SimDevice    computes
//!   configs/models   ─► ModelGeometry ───┴─► LinkCost ─┤
//!                                     └─► DiskCost ─┴─► HostDevice   moves real bytes, in the same or in wall time
//! ```

mod capacity;
mod catalog;
pub mod conformance;
mod cost;
mod disk;
mod error;
mod geometry;
mod hardware;
mod host;
mod jitter;
mod link;
pub mod playback;
pub mod predict;
mod ramp;
mod roofline;
mod sim;
mod table;
mod throttle;
mod totals;

pub use capacity::{HbmBudget, activation_bytes};
pub use catalog::{
    hardware, hardware_names, hardware_text, model, model_names, model_text, parse_hardware,
    parse_model,
};
pub use cost::{IdleCost, StepCost};
pub use disk::DiskCost;
pub use error::ProfileError;
pub use geometry::{Experts, ModelGeometry};
pub use hardware::{
    ComputeSection, CopyMethod, DiskSection, Formula, HardwareProfile, LaneSection, Linear,
    LinkSection, MemorySection, PieceCost, Provenance,
};
pub use host::{CopyFault, FaultPlan, HostDevice, HostPools};
pub use jitter::Jitter;
pub use link::{Beside, LaneCost, LinkCost};
pub use ramp::{Ramp, SlowDown};
pub use roofline::Roofline;
pub use sim::SimDevice;
pub use table::StepTable;
pub use throttle::{Felt, Load, Sustained, Throttle, Work};
pub use totals::StepTotals;
