// The form of `skinny_gemm.cu` for every GPU from sm_80 on.
//
// A CTA goes through the columns DEPTH at a time. The fewer rows a tile has, the deeper are the stages, so that they are 32 to 64 KiB in any
// case; the SHARES warps of the same 16 rows of the weight share out the columns of a stage and add their sums at the end, in order.
// A row of a stage is read 16 bytes a lane, which is four times what mma's fragments want of one k: the lanes permute k, alike for weight
// and input.
// Dynamic shared memory: STAGES * (rows of a tile + R) * DEPTH * 2 bytes; the sums take the place of the stages (the launcher has the same
// table).
#pragma once
#include "mma.cuh"

struct SkinnyArgs {
    const __nv_bfloat16* input;
    const __nv_bfloat16* weight;
    void* output;
    unsigned rows;
    unsigned columns;
    unsigned inner;
    Epilogue epilogue;
};

constexpr unsigned STAGES = 2;   // what the 99 KiB of the smallest hold

// Byte offset of a 16-byte chunk in a stage: odd rows have their halves of 128 bytes exchanged, so that the eight lanes of a quarter
// warp, which read four chunks of two rows, meet different banks.
template <unsigned DEPTH>
__device__ __forceinline__ unsigned chunk_at(unsigned row, unsigned chunk) {
    return row * (DEPTH * 2) + (chunk ^ ((row & 1) * 4)) * 16;
}

__device__ __forceinline__ void write(const SkinnyArgs& args, unsigned row, unsigned column, float value, float up) {
    const unsigned long long at = static_cast<unsigned long long>(row) * args.columns + column;
    __nv_bfloat16* to = static_cast<__nv_bfloat16*>(args.output);
    switch (args.epilogue) {
        case FLOAT: static_cast<float*>(args.output)[at] = value; break;
        case STORE: to[at] = __float2bfloat16_rn(value); break;
        case ADD: to[at] = __float2bfloat16_rn(value + __bfloat162float(to[at])); break;
        case GATE:
            to[static_cast<unsigned long long>(row) * (args.columns / 2) + column / 16 * 8 + column % 8] =
                __float2bfloat16_rn(gated(value, up));
    }
}

template <unsigned ROWS, unsigned DEPTH, unsigned SHARES>
__device__ __forceinline__ void skinny(const SkinnyArgs& args) {
    constexpr unsigned CHUNKS = DEPTH / 8;   // of a row of a stage
    constexpr unsigned HALVES = DEPTH / 32;  // 64 bytes of a row, which a warp multiplies at once
    static_assert(HALVES % SHARES == 0 && CHUNKS % (2 * SHARES) == 0, "warps share out a stage evenly");
    extern __shared__ uint4 shared[];
    unsigned char* const bytes = reinterpret_cast<unsigned char*>(shared);
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
    const unsigned lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    const unsigned g = lane / 4, t = lane % 4;
    const unsigned lines = warp / SHARES * 16, share = warp % SHARES;
    const unsigned tile = blockDim.x / (2 * SHARES), first = blockIdx.x * tile;
    const unsigned weight_bytes = tile * DEPTH * 2, stage_bytes = weight_bytes + ROWS * DEPTH * 2;
    const unsigned stage_count = (args.inner + DEPTH - 1) / DEPTH;

    const auto load_weight = [&](unsigned stage) {
        if (stage >= stage_count) return;
        const unsigned to = address + stage % STAGES * stage_bytes;
#pragma unroll
        for (unsigned i = 0; i < CHUNKS / (2 * SHARES); ++i) {
            const unsigned at = threadIdx.x + i * blockDim.x, row = at / CHUNKS, chunk = at % CHUNKS;
            const unsigned k = stage * DEPTH + chunk * 8;
            // Rows beyond the weight are read as its last one, and not written.
            const unsigned line = min(first + row, args.columns - 1);
            const __nv_bfloat16* from = args.weight + static_cast<unsigned long long>(line) * args.inner + (k < args.inner ? k : 0);
            copy_async_once(to + chunk_at<DEPTH>(row, chunk), from, k < args.inner);
        }
    };
    const auto load_input = [&](unsigned stage) {
        if (stage >= stage_count) return;
        const unsigned to = address + stage % STAGES * stage_bytes + weight_bytes;
        for (unsigned at = threadIdx.x; at < ROWS * CHUNKS; at += blockDim.x) {
            const unsigned row = at / CHUNKS, chunk = at % CHUNKS, k = stage * DEPTH + chunk * 8;
            const bool present = row < args.rows && k < args.inner;
            const __nv_bfloat16* from = args.input + (present ? static_cast<unsigned long long>(row) * args.inner + k : 0);
            copy_async(to + chunk_at<DEPTH>(row, chunk), from, present);
        }
    };
#pragma unroll
    for (unsigned stage = 0; stage < STAGES - 1; ++stage) {
        load_weight(stage);
        commit_copies();
    }
#pragma unroll
    for (unsigned stage = 0; stage < STAGES - 1; ++stage) {
        load_input(stage);
        commit_copies();
    }

    float sum[ROWS / 8][4] = {};
    for (unsigned stage = 0; stage < stage_count; ++stage) {
        await_copies<STAGES - 2>();
        // Everybody's copies have arrived, and nobody still reads the stage that is filled again.
        __syncthreads();
        load_weight(stage + STAGES - 1);
        load_input(stage + STAGES - 1);
        commit_copies();
        const unsigned char* weight = bytes + stage % STAGES * stage_bytes;
        const unsigned char* input = weight + weight_bytes;
#pragma unroll
        for (unsigned i = 0; i < HALVES / SHARES; ++i) {
            const unsigned chunk = (i * SHARES + share) * 4 + t;
            uint4 x[ROWS / 8];
#pragma unroll
            for (unsigned n = 0; n < ROWS / 8; ++n) x[n] = *reinterpret_cast<const uint4*>(input + chunk_at<DEPTH>(n * 8 + g, chunk));
            const uint4 w = *reinterpret_cast<const uint4*>(weight + chunk_at<DEPTH>(lines + g, chunk));
            const uint4 v = *reinterpret_cast<const uint4*>(weight + chunk_at<DEPTH>(lines + g + 8, chunk));
            const unsigned a[2][4] = {{w.x, v.x, w.y, v.y}, {w.z, v.z, w.w, v.w}};
            // In two rounds, so that no product waits for the one before it.
#pragma unroll
            for (unsigned n = 0; n < ROWS / 8; ++n) mma(sum[n], a[0], x[n].x, x[n].y);
#pragma unroll
            for (unsigned n = 0; n < ROWS / 8; ++n) mma(sum[n], a[1], x[n].z, x[n].w);
        }
    }

    __syncthreads();
    // [share][row of input][row of the tile]; the padding keeps the banks of a warp's writes apart.
    float* const sums = reinterpret_cast<float*>(bytes);
    const unsigned width = tile + 4;
#pragma unroll
    for (unsigned i = 0; i < ROWS / 2; ++i) {
        const unsigned n = i / 4, r = i % 4;
        const unsigned row = n * 8 + t * 2 + (r & 1), line = lines + g + (r >> 1) * 8;
        sums[(share * ROWS + row) * width + line] = sum[n][r];
    }
    __syncthreads();
    const bool gate = args.epilogue == GATE;
    const unsigned written = gate ? tile / 2 : tile;   // of a row of input
    for (unsigned i = threadIdx.x; i < args.rows * written; i += blockDim.x) {
        const unsigned row = i / written, place = i % written;
        const unsigned line = gate ? place / 8 * 16 + place % 8 : place;
        if (first + line >= args.columns) continue;
        float total = 0.0f, up = 0.0f;
#pragma unroll
        for (unsigned q = 0; q < SHARES; ++q) {
            const float* of = sums + (q * ROWS + row) * width + line;
            total += of[0];
            if (gate) up += of[8];
        }
        write(args, row, first + line, total, up);
    }
}

#define SKINNY(rows, most, depth, shares)                                                                                            \
    extern "C" __global__ void __launch_bounds__(most * 2 * shares, 1) skinny_##rows##_##most(const __grid_constant__ SkinnyArgs args) { \
        skinny<rows, depth, shares>(args);                                                                                           \
    }
SKINNY(8, 16, 512, 8)
SKINNY(16, 16, 512, 8)
SKINNY(32, 16, 512, 8)
SKINNY(8, 64, 256, 4)
SKINNY(16, 64, 256, 4)
SKINNY(32, 64, 256, 4)
SKINNY(8, 160, 128, 1)
SKINNY(16, 160, 128, 1)
SKINNY(32, 160, 128, 1)
