//! The replay: a trace under the simulator's own driver and policies, on a real GPU.
//!
//! ```text
//!   lab::run::record ──► engine::Driver ──► device::ReplayDevice ──► backend::Backend
//!                                            accounts, watchdog        └─ cuda::CudaBackend
//! ```
//!
//! | module | is |
//! |---|---|
//! | [`backend`] | what the replay needs from a GPU, as a small trait |
//! | [`device`] | the engine's `Device` over it: order, cuts, completions, watchdog |
//! | [`cuda`] | the GPU: pools, queues, stamps, stand-ins for compute |
//! | [`check`] | is every injected defect caught? |
//! | [`soak`] | copies both ways by the terabyte, every block verified |
//! | [`calibrate`] | measures the machine, and writes its hardware profile |
//!
//! Builds and is linted without CUDA. What needs a GPU says so when there is none.

pub mod backend;
pub mod calibrate;
pub mod check;
pub mod cuda;
pub mod device;
pub mod harness;
pub mod run;
pub mod soak;

#[cfg(test)]
mod fake;

/// A GPU as a device of the engine.
pub type CudaDevice = device::ReplayDevice<cuda::CudaBackend>;
