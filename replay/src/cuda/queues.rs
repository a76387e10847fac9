//! The [`Backend`] of a GPU: its marks are CUDA events, its errors one line each.

use super::{CudaBackend, CudaSteps, content_word};
use crate::backend::{Backend, Chunk, Mark, Mismatch, Work};
use kernels::gpu::Event;
use model::ContentId;

impl Mark for Event {
    fn is_done(&self) -> Result<bool, String> {
        Event::is_done(self).map_err(|error| error.to_string())
    }

    fn nanos_since(&self, earlier: &Self) -> Result<u64, String> {
        Event::nanos_since(self, earlier).map_err(|error| error.to_string())
    }
}

impl Backend for CudaBackend {
    type Mark = Event;
    type Steps = CudaSteps;

    fn take_steps(&mut self) -> Option<CudaSteps> {
        self.steps.take()
    }

    fn pools(&self) -> [u32; 2] {
        [self.options.layout.block_count, self.options.host_blocks]
    }

    fn greeting(&self) -> Box<dyn FnOnce() + Send> {
        let gpu = self.gpu.clone();
        // A refusal shows in the first mark that is asked.
        Box::new(move || drop(gpu.bind_thread()))
    }

    fn copy(&mut self, chunk: &Chunk<'_>) -> Result<Work<Event>, String> {
        self.launch_copy(chunk).map_err(|error| error.to_string())
    }

    fn wrote(&mut self, block: u32, content: ContentId) {
        if self.options.integrity {
            self.unstamped.insert(block, content_word(content));
        }
    }

    fn flush(&mut self) -> Result<(), String> {
        if self.unstamped.is_empty() {
            return Ok(());
        }
        self.write_stamps().map_err(|error| error.to_string())
    }

    fn finish(&mut self, work: Work<Event>) -> Result<(), Mismatch> {
        let Work {
            begun,
            ended,
            checked,
            slot,
        } = work;
        self.spare.extend([begun, ended].into_iter().chain(checked));
        let found = slot.and_then(|slot| self.lists.take_back(slot));
        found.map_or(Ok(()), |(index, words)| Err(Mismatch { index, words }))
    }
}
