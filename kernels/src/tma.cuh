// Copies by the tensor memory accelerator (sm_90), and the barriers in shared memory that tell of them.
//
// A barrier is in phase 0, 1, 0, ... and leaves it when its arrivals and the bytes that they expect are complete. `await` takes the parity
// of the phase that is to be over: 1 on a new barrier returns at once.
// A tensor map describes [rows][columns] of bf16 in boxes of 64 columns (128 bytes) and as many rows as the host says. A box lies in shared
// memory at a multiple of 1,024 bytes, row after row, its 16-byte chunks permuted within each eight rows (128-byte swizzle), as wgmma reads them.
// What lies outside the tensor arrives as zeros, and counts as bytes.
#pragma once

struct alignas(128) TensorMap {
    unsigned long long opaque[16];
};

__device__ __forceinline__ unsigned shared_address(const void* at) {
    return static_cast<unsigned>(__cvta_generic_to_shared(at));
}

__device__ __forceinline__ void begin_barrier(unsigned barrier, unsigned arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

// Makes new barriers known to the accelerator; the other threads still need a __syncthreads.
__device__ __forceinline__ void publish_barriers() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async;" ::: "memory");
}

__device__ __forceinline__ void arrive(unsigned barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

__device__ __forceinline__ void arrive_expecting(unsigned barrier, unsigned bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

__device__ __forceinline__ void await(unsigned barrier, unsigned parity) {
    asm volatile(
        "{\n"
        ".reg .pred over;\n"
        "AGAIN:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 over, [%0], %1;\n"
        "@!over bra AGAIN;\n"
        "}" ::"r"(barrier), "r"(parity)
        : "memory");
}

__device__ __forceinline__ void fetch_map(const TensorMap& map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

// One thread: starts the copy of the box that begins at (column, row).
__device__ __forceinline__ void copy_box(unsigned to, const TensorMap& map, unsigned column, unsigned row, unsigned barrier) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(to), "l"(&map),
        "r"(column), "r"(row), "r"(barrier)
        : "memory");
}

// The same for what is read once: it is the first to leave L2.
__device__ __forceinline__ void copy_box_once(unsigned to, const TensorMap& map, unsigned column, unsigned row, unsigned barrier) {
    unsigned long long policy;
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(to),
        "l"(&map), "r"(column), "r"(row), "r"(barrier), "l"(policy)
        : "memory");
}
