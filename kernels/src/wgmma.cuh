// Products by a warpgroup (sm_90a): D[64][N] += A[64][16] * B[N][16]^T, bf16 in, float out, both factors in shared memory.
//
// Factors lie as a tensor map's boxes do (`tma.cuh`): rows of 64 columns, 128-byte swizzle. A product takes 16 of the columns; the next 16
// are 32 bytes on.
// D, for lane = 4 * g + t of warp w: d[4n], d[4n + 1] (row 16w + g, columns 8n + 2t, 8n + 2t + 1), d[4n + 2], d[4n + 3] (row 16w + g + 8).
// Between begin_products and the wait for them nobody else touches D.
#pragma once

// What names a factor whose first row is at `address`: eight rows every 1,024 bytes.
__device__ __forceinline__ unsigned long long factor(unsigned address) {
    constexpr unsigned long long ROWS_STRIDE = 1024 / 16, SWIZZLE_128 = 1;
    return (address & 0x3ffff) >> 4 | 1ull << 16 | ROWS_STRIDE << 32 | SWIZZLE_128 << 62;
}

__device__ __forceinline__ void begin_products() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ __forceinline__ void commit_products() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Waits until at most `PENDING` of the committed groups are unfinished.
template <int PENDING>
__device__ __forceinline__ void await_products() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

__device__ __forceinline__ void product(float (&d)[4], unsigned long long a, unsigned long long b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%0,%1,%2,%3}, %4, %5, 1, 1, 1, 0, 0;"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "l"(a), "l"(b));
}

__device__ __forceinline__ void product(float (&d)[8], unsigned long long a, unsigned long long b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7}, %8, %9, 1, 1, 1, 0, 0;"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
                 : "l"(a), "l"(b));
}

__device__ __forceinline__ void product(float (&d)[16], unsigned long long a, unsigned long long b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15}, %16, %17, 1, 1, 1, 0, 0;"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]),
          "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15])
        : "l"(a), "l"(b));
}
