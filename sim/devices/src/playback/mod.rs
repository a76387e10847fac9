//! What a device told the driver, kept, and told again without the device.
//!
//! ```text
//!   Driver ──► Recording ──► a GPU            Driver ──► Playback
//!                  └─► WakeLog ──► wakes.log ──► WakeLog ──┘
//! ```
//!
//! Everything that a driver learns of the outside comes from its device: the times and completions of its waits, and the
//! answers to `cut`, `progress` and `lane_busy`. A driver that gets the same answers to the same questions decides the same.
//!
//! **What must hold:** questions come in the order of the recording. The first that does not ends the run, and says which.
//! **Absent on purpose:** operations. What was submitted follows from the decisions, which the decision log has.

mod log;
mod player;
mod recording;

pub use log::{Answer, WakeLog, WakeLogError};
pub use player::Playback;
pub use recording::Recording;
