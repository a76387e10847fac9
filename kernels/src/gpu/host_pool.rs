//! The pinned host pool: one range of host memory that copies and kernels reach at link speed.
//!
//! ```text
//!   map (transparent huge pages) ──► touch, all threads ──► pin (register with the driver)
//! ```
//!
//! The driver's own allocation call zeroes 4 KiB pages on one thread and takes 0.5 to 0.95 s a GiB;
//! this order of steps took 0.044 (H200 host, 16 cores). The pool is therefore taken once, ahead of time.
//! **Invariant:** pages stay resident and pinned from `new` to drop.
//! **Absent on purpose:** write-combined memory (reading it from the CPU is slow, and checks do read it), and
//! a comparison with the host's free memory (virtual machines that grow on demand understate it): a pool
//! larger than the host ends as the host ends programs that are too large.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cudarc::driver::sys;

use super::error::name_of;
use super::{ArgumentError, Error, Gpu, View, checked};

/// What a growing pool is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolPhase {
    /// Pages are being touched: bytes done, of bytes in all.
    Touching {
        /// Bytes touched so far.
        done: u64,
        /// Bytes of the pool.
        total: u64,
    },
    /// All pages are there; the driver pins them, in one call.
    Pinning {
        /// Bytes of the pool.
        total: u64,
    },
}

/// Pinned host memory, mapped into the GPU's address space.
pub struct HostPool {
    mapping: Mapping,
    view: View,
    gpu: Gpu,
}

const HUGE_PAGE: u64 = 2 << 20;
/// Bytes that a thread touches at a time: small enough for smooth progress, large enough to be free.
const TOUCH_STEP: u64 = 64 << 20;

impl HostPool {
    /// Takes `bytes` bytes, touched by `threads` threads; `progress` hears of it about ten times a second.
    ///
    /// # Errors
    /// [`Error::HostMap`] or [`Error::HostPin`] when there is not enough memory, and then nothing is kept;
    /// [`ArgumentError::OutOfRange`] for zero bytes.
    pub fn new(
        gpu: &Gpu,
        bytes: u64,
        threads: usize,
        progress: &mut dyn FnMut(PoolPhase),
    ) -> Result<Self, Error> {
        gpu.bind_thread()?;
        let mapping = Mapping::new(bytes)?;
        mapping.touch(threads, progress);
        progress(PoolPhase::Pinning { total: bytes });
        let flags = sys::CU_MEMHOSTREGISTER_PORTABLE | sys::CU_MEMHOSTREGISTER_DEVICEMAP;
        // SAFETY: a mapped range, unregistered in `Drop` before it is unmapped.
        let status = unsafe {
            sys::cuMemHostRegister_v2(mapping.start.cast(), mapping.bytes as usize, flags)
        };
        if status != sys::CUresult::CUDA_SUCCESS {
            return Err(Error::HostPin {
                bytes,
                name: name_of(status),
            });
        }
        let mut address = 0;
        // SAFETY: the range was registered for mapping just above.
        let status =
            unsafe { sys::cuMemHostGetDevicePointer_v2(&raw mut address, mapping.start.cast(), 0) };
        let pool = Self {
            view: View::new(address, bytes),
            mapping,
            gpu: gpu.clone(),
        };
        checked("cuMemHostGetDevicePointer", status)?;
        Ok(pool)
    }

    /// All of it, as the GPU sees it: for copies and for kernels.
    pub fn view(&self) -> View {
        self.view
    }

    /// Copies bytes from `offset` on into `target`. Bytes under a copy in flight come out old or new.
    ///
    /// # Panics
    /// If the range reaches past the end.
    pub fn read(&self, offset: u64, target: &mut [u8]) {
        self.assert_inside(offset, target.len());
        // SAFETY: inside the mapping, which never moves; `target` is ours alone.
        unsafe {
            let from = self.mapping.start.add(offset as usize);
            std::ptr::copy_nonoverlapping(from, target.as_mut_ptr(), target.len());
        }
    }

    /// Copies `source` into the pool from `offset` on. A GPU copy in flight sees bytes old or new.
    ///
    /// # Panics
    /// If the range reaches past the end.
    pub fn write(&mut self, offset: u64, source: &[u8]) {
        self.assert_inside(offset, source.len());
        // SAFETY: inside the mapping; `&mut self` keeps other host access away.
        unsafe {
            let to = self.mapping.start.add(offset as usize);
            std::ptr::copy_nonoverlapping(source.as_ptr(), to, source.len());
        }
    }

    fn assert_inside(&self, offset: u64, length: usize) {
        let end = offset.checked_add(length as u64);
        assert!(
            end.is_some_and(|end| end <= self.view.bytes()),
            "host pool of {} bytes: {length} bytes from {offset} on reach past its end",
            self.view.bytes()
        );
    }
}

impl Drop for HostPool {
    fn drop(&mut self) {
        // SAFETY: registered once, unregistered once, after the GPU has finished; the mapping goes after.
        unsafe {
            let _ = self.gpu.synchronize();
            let _ = sys::cuMemHostUnregister(self.mapping.start.cast());
        }
    }
}

/// An anonymous mapping that starts at a huge-page boundary.
struct Mapping {
    start: *mut u8,
    bytes: u64,
    /// What `mmap` returned, and how much of it.
    whole: (*mut c_void, usize),
}

// SAFETY: the mapping is a range of memory; nothing in it belongs to a thread.
unsafe impl Send for Mapping {}
// SAFETY: access through `&self` writes disjoint steps (`touch`) or goes through raw copies (`HostPool::read`).
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(bytes: u64) -> Result<Self, Error> {
        let most = (isize::MAX as u64) - 2 * HUGE_PAGE;
        if bytes == 0 || bytes > most {
            let (operation, name) = ("host pool", "bytes");
            return Err(ArgumentError::OutOfRange {
                operation,
                name,
                value: bytes,
                least: 1,
                most,
            }
            .into());
        }
        let bytes = bytes.next_multiple_of(HUGE_PAGE);
        let length = (bytes + HUGE_PAGE) as usize;
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(Error::HostMap {
                bytes,
                source: std::io::Error::last_os_error(),
            });
        }
        let skip = (base as usize).next_multiple_of(HUGE_PAGE as usize) - base as usize;
        // SAFETY: `skip` is less than one huge page, of which the mapping has one more than `bytes`.
        let start = unsafe { base.cast::<u8>().add(skip) };
        // Advice: a kernel without huge pages refuses it, and the pool then takes longer to touch.
        // SAFETY: inside the mapping.
        unsafe { libc::madvise(start.cast(), bytes as usize, libc::MADV_HUGEPAGE) };
        Ok(Self {
            start,
            bytes,
            whole: (base, length),
        })
    }

    /// Writes one byte per 4 KiB page, so that every page exists whatever its size.
    fn touch(&self, threads: usize, progress: &mut dyn FnMut(PoolPhase)) {
        let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
        let start = self.start as usize;
        std::thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                scope.spawn(|| {
                    loop {
                        let from = next.fetch_add(TOUCH_STEP, Ordering::Relaxed);
                        if from >= self.bytes {
                            break;
                        }
                        let to = self.bytes.min(from + TOUCH_STEP);
                        for offset in (from..to).step_by(4096) {
                            // SAFETY: inside the mapping; steps are disjoint between threads.
                            unsafe { ((start + offset as usize) as *mut u8).write_volatile(0) };
                        }
                        done.fetch_add(to - from, Ordering::Relaxed);
                    }
                });
            }
            let mut told = None;
            loop {
                let now = done.load(Ordering::Relaxed);
                if told != Some(now) {
                    progress(PoolPhase::Touching {
                        done: now,
                        total: self.bytes,
                    });
                    told = Some(now);
                }
                if now == self.bytes {
                    break;
                }
                std::thread::sleep(Duration::from_millis(if self.bytes > 1 << 30 {
                    100
                } else {
                    1
                }));
            }
        });
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped once, unmapped once; nothing refers to it any more.
        unsafe { libc::munmap(self.whole.0, self.whole.1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_starts_at_a_huge_page_and_holds_whole_ones() {
        let mapping = Mapping::new((2 << 20) + 1).unwrap();
        assert_eq!(mapping.start as u64 % HUGE_PAGE, 0);
        assert_eq!(mapping.bytes, 4 << 20);
    }

    #[test]
    fn touching_reports_from_nothing_to_everything_and_never_backwards() {
        // 130 MiB: three steps of at most 64 MiB for two threads.
        let mapping = Mapping::new(130 << 20).unwrap();
        let mut heard = Vec::new();
        mapping.touch(2, &mut |phase| match phase {
            PoolPhase::Touching { done, total } => {
                assert_eq!(total, 130 << 20);
                heard.push(done);
            }
            PoolPhase::Pinning { .. } => panic!("pinning is not part of touching"),
        });
        assert!(heard.is_sorted(), "{heard:?}");
        assert_eq!(heard.last(), Some(&(130 << 20)));
        // SAFETY: the last byte of the mapping; every page has been touched.
        assert_eq!(unsafe { *mapping.start.add((130 << 20) - 1) }, 0);
    }

    #[test]
    fn an_empty_or_absurd_pool_is_refused_before_anything_is_mapped() {
        for bytes in [0, u64::MAX] {
            let error = Mapping::new(bytes).err().expect("refused").to_string();
            assert!(error.contains("host pool: `bytes`"), "{error}");
        }
    }

    #[test]
    fn more_memory_than_the_address_space_has_is_an_error_of_the_system() {
        // 2^62 bytes: more than any 64-bit Linux process may map.
        assert!(matches!(Mapping::new(1 << 62), Err(Error::HostMap { .. })));
    }
}
