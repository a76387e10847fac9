//! CUDA graphs: a recorded sequence of work, submitted with one call.

use cudarc::driver::{result, sys};

use super::{Error, Gpu, Stream, checked_as};

/// A recorded sequence of work. What it reads and writes must live while it may run.
pub struct Graph {
    handle: sys::CUgraphExec,
    gpu: Gpu,
}

// SAFETY: graph handles may move between threads; `launch` on one graph is serialised by the driver.
unsafe impl Send for Graph {}

impl Graph {
    pub(super) fn instantiate(gpu: &Gpu, graph: sys::CUgraph) -> Result<Self, Error> {
        // SAFETY: `graph` came from a finished capture and is destroyed once, here.
        let executable = unsafe {
            let executable = result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0));
            let _ = result::graph::destroy(graph);
            executable
        };
        Ok(Self {
            handle: checked_as("cuGraphInstantiate", executable)?,
            gpu: gpu.clone(),
        })
    }

    /// Submits the recorded work to `stream`.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn launch(&self, stream: &Stream) -> Result<(), Error> {
        // SAFETY: both handles live.
        checked_as("cuGraphLaunch", unsafe {
            result::graph::launch(self.handle, stream.handle)
        })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: instantiated once, destroyed once.
        unsafe {
            let _ = self.gpu.bind_thread();
            let _ = result::graph::exec_destroy(self.handle);
        }
    }
}
