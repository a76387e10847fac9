// Tensor-core building blocks that run from sm_80 on: mma.sync m16n8k16 (bf16 in, float out), ldmatrix,
// cp.async, and the swizzle that keeps ldmatrix free of bank conflicts.
//
// Fragment layout (PTX ISA, "Matrix fragments for mma.m16n8k16"), lane = 4 * g + t:
//   A: a0 (row g, k 2t..), a1 (row g + 8, k 2t..), a2 (row g, k 2t + 8..), a3 (row g + 8, k 2t + 8..)
//   B: b0 (k 2t.., column g), b1 (k 2t + 8.., column g)
//   D: d0, d1 (row g, columns 2t, 2t + 1), d2, d3 (row g + 8, the same columns)
#pragma once
#include "bf16.cuh"

__device__ __forceinline__ void mma(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ void load_matrix(unsigned (&r)[4], unsigned shared_address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address)
                 : "memory");
}

__device__ __forceinline__ void load_matrix_transposed(unsigned (&r)[4], unsigned shared_address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address)
                 : "memory");
}

// Starts the copy of 16 bytes to shared memory, or of 16 zero bytes if `present` is false.
__device__ __forceinline__ void copy_async(unsigned shared_address, const void* from, bool present) {
    const int bytes = present ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address), "l"(from), "r"(bytes)
                 : "memory");
}

// The same for what is read once: it is the first to leave L2.
__device__ __forceinline__ void copy_async_once(unsigned shared_address, const void* from, bool present) {
    const int bytes = present ? 16 : 0;
    unsigned long long policy;
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    asm volatile("cp.async.cg.shared.global.L2::cache_hint [%0], [%1], 16, %2, %3;" ::"r"(shared_address), "l"(from), "r"(bytes),
                 "l"(policy)
                 : "memory");
}

__device__ __forceinline__ void commit_copies() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most `PENDING` of this thread's groups are unfinished.
template <int PENDING>
__device__ __forceinline__ void await_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// Byte offset of a 16-byte chunk in a tile of rows of HEAD_DIM bf16 values.
template <int HEAD_DIM>
__device__ __forceinline__ unsigned swizzled(unsigned row, unsigned chunk) {
    return row * (HEAD_DIM * 2) + ((chunk ^ (row & 7)) * 16);
}

// 2^x; minus infinity gives 0.
__device__ __forceinline__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// Maximum and sum over the four lanes that share a row of D.
__device__ __forceinline__ float row_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

__device__ __forceinline__ float row_sum(float x) {
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

#define MINUS_INFINITY (-__int_as_float(0x7f800000))
