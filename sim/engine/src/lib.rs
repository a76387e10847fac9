//! The control loop of the laboratory: one driver, any device, any policy.
//!
//! ```text
//!   Workload ──► Driver ──► Recorder
//!                │  ▲ ▲
//!      Op ───────┘  │ └──── Policy (asked, told)
//!      ▼            │ Completion
//!      Device ──────┘
//! ```
//!
//! | module | what |
//! |---|---|
//! | `driver` | the loop: completions, signals, scheduling (vLLM v1), idle KV, copy lanes |
//! | `memory` | the ledger: who holds which block, in HBM and on the host |
//! | `device` | what the loop runs on |
//! | `hints`  | what policies are told about waits |
//! | `record` | what the loop reports |
//! | `decisions` | the decision log, as text |
//!
//! **Absent on purpose:** files, configuration formats, metrics. Those are `results` and `lab`.

mod batch;
mod config;
pub mod decisions;
pub mod device;
mod driver;
mod events;
mod faults;
mod hints;
pub mod memory;
pub mod record;

pub use config::{Batching, EndSignal, EngineConfig};
pub use driver::{Driver, OffloadSummary, RunError, RunSummary, Truth};
pub use faults::Faults;
pub use hints::{HintConfig, HintKind, HintNoise, mix64};
pub use memory::LedgerConfig;
pub use record::Recorder;
