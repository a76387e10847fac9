//! A small safe layer over the CUDA driver: what a replay needs, and no more.
//!
//! ```text
//!   Gpu ──┬── Stream ──── copy, fill, record, wait, capture ──► Graph
//!         ├── Event       completion (polled) and device time
//!         ├── DeviceBuffer, HostPool ──► View (address and length)
//!         ├── BatchCopy   many pieces in one call
//!         ├── TensorMap   a matrix, as the tensor memory accelerator copies it
//!         └── Module ───► Kernel (cubin where it loads, else PTX)
//! ```
//!
//! Everything asynchronous is explicit: streams are independent of each other and of the default stream,
//! order between them comes from events that the caller records, and nothing is tracked behind the
//! caller's back. The driver library is looked for before the first call, so a machine without it gets
//! [`Error::NoDriver`] and not a panic.
//!
//! A [`View`] is an address range without a borrow: work in flight outlives any Rust scope. Dropping a
//! buffer first waits for the device, so work already submitted never sees freed memory; work
//! submitted later through a stale view ends in a CUDA error or reads what took its place.
//! **Absent on purpose:** managed memory, peer access, memory pools, run-time compilation.

mod batch_copy;
mod context;
mod error;
mod event;
mod graph;
mod host_pool;
mod memory;
mod module;
mod stream;
mod tensor_map;

pub use batch_copy::{BatchCopy, BatchMethod, Piece};
pub use context::{DeviceInfo, Gpu};
pub use error::{ArgumentError, Error};
pub use event::Event;
pub use graph::Graph;
pub use host_pool::{HostPool, PoolPhase};
pub use memory::{DeviceBuffer, Plain, View};
pub(crate) use module::image;
pub use module::{Image, ImageKind, Kernel, Launch, Module};
pub use stream::Stream;
pub(crate) use tensor_map::TensorMap;

pub(crate) use error::{checked, checked_as};
