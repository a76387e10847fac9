// Matrix product for few rows of input, bound by the read of the weight: output = input * weight^T.
//
//   input   [rows][inner]      bf16, rows <= 16
//   weight  [columns][inner]   bf16
//   output  by kernel, float sums rounded once:
//     skinny_store_R   [rows][columns]      bf16
//     skinny_add_R     [rows][columns]      bf16, added to what is there
//     skinny_float_R   [rows][columns]      float
//     skinny_gate_R    [rows][columns / 2]  bf16, silu(gate) * up; the weight's rows alternate, eight of gate, eight of up
//
// R = 8 or 16 is the least that holds `rows`; missing rows count as zero.
//
// Grid: one CTA of 256 threads for each TILE rows of the weight, two on a multiprocessor. The warps of a CTA share out its columns in
// blocks of 64 and add their sums at the end, in order: the result does not depend on who is first. There is no barrier before that, so
// the warps of both CTAs keep some 128 KiB of reads in flight. A weight row is read 16 bytes a lane, which is four times what mma's A
// fragment wants of one k: the lanes permute k, and read the input by the same permutation.
// The first blocks are on their way before the CTA waits for the kernel that makes `input`.
// Traffic: reads weight once; input from L2 or L1, once per CTA.
// Needs inner % 8 == 0, 16-byte aligned input and weight; columns % 16 == 0 for `gate` (checked by the launcher).
#include "mma.cuh"
#include "overlap.cuh"

struct SkinnyArgs {
    const __nv_bfloat16* input;
    const __nv_bfloat16* weight;
    void* output;
    unsigned rows;
    unsigned columns;
    unsigned inner;
};

constexpr unsigned WARPS = 8;
constexpr unsigned TILE = 16;     // rows of the weight: the rows of an mma tile
constexpr unsigned DEPTH = 64;    // columns of a block: 128 bytes, in two halves of 32
constexpr unsigned BLOCKS = 2;    // blocks of a warp that are read at once

enum Epilogue { STORE, ADD, FLOAT, GATE };

// 16 bytes that nobody reads again.
__device__ __forceinline__ uint4 load_stream(const __nv_bfloat16* from) {
    uint4 value;
    asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
                 : "l"(from));
    return value;
}

// A lane's part of BLOCKS blocks: rows g and g + 8 of the tile, eight columns from 8 t on of each half.
struct Blocks {
    uint4 low[BLOCKS][2], high[BLOCKS][2];
};

__device__ __forceinline__ unsigned column_of(unsigned block, unsigned i, unsigned half) {
    return (block + i * WARPS) * DEPTH + half * 32 + threadIdx.x % 4 * 8;
}

__device__ __forceinline__ void load_blocks(Blocks& to, const __nv_bfloat16* low, const __nv_bfloat16* high, unsigned block,
                                            unsigned inner) {
#pragma unroll
    for (unsigned i = 0; i < BLOCKS; ++i) {
#pragma unroll
        for (unsigned half = 0; half < 2; ++half) {
            const unsigned k = column_of(block, i, half);
            to.low[i][half] = k < inner ? load_stream(low + k) : make_uint4(0, 0, 0, 0);
            to.high[i][half] = k < inner ? load_stream(high + k) : make_uint4(0, 0, 0, 0);
        }
    }
}

template <Epilogue EPILOGUE>
__device__ __forceinline__ void write(const SkinnyArgs& args, unsigned row, unsigned line, float value) {
    const unsigned column = blockIdx.x * TILE + line;
    if constexpr (EPILOGUE == GATE) {
        // Lines 0 to 7 are gates, and the lane eight further has the gate's up.
        const float up = __shfl_down_sync(0xffffffffu, value, 8);
        const unsigned width = args.columns / 2, at = blockIdx.x * (TILE / 2) + line;
        if (line >= 8 || row >= args.rows || at >= width) return;
        static_cast<__nv_bfloat16*>(args.output)[static_cast<unsigned long long>(row) * width + at] =
            __float2bfloat16_rn(value / (1.0f + __expf(-value)) * up);
    } else {
        if (row >= args.rows || column >= args.columns) return;
        const unsigned long long at = static_cast<unsigned long long>(row) * args.columns + column;
        if constexpr (EPILOGUE == FLOAT) {
            static_cast<float*>(args.output)[at] = value;
        } else {
            __nv_bfloat16* to = static_cast<__nv_bfloat16*>(args.output) + at;
            *to = __float2bfloat16_rn(EPILOGUE == ADD ? value + __bfloat162float(*to) : value);
        }
    }
}

template <unsigned ROWS, Epilogue EPILOGUE>
__device__ __forceinline__ void skinny(const SkinnyArgs& args) {
    __shared__ float sums[WARPS][ROWS][TILE];
    // CTAs of the next kernel find room only as the last ones of this kernel end.
    release_successor();
    const unsigned lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    const unsigned g = lane / 4, t = lane % 4;
    // Rows beyond the weight are read as its last one, and not written.
    const unsigned last = args.columns - 1;
    const __nv_bfloat16* low = args.weight + static_cast<unsigned long long>(min(blockIdx.x * TILE + g, last)) * args.inner;
    const __nv_bfloat16* high = args.weight + static_cast<unsigned long long>(min(blockIdx.x * TILE + g + 8, last)) * args.inner;
    const unsigned block_count = (args.inner + DEPTH - 1) / DEPTH;
    Blocks held;
    load_blocks(held, low, high, warp, args.inner);
    await_predecessor();

    float sum[ROWS / 8][4] = {};
    for (unsigned block = warp; block < block_count; block += WARPS * BLOCKS) {
        Blocks next;
        load_blocks(next, low, high, block + WARPS * BLOCKS, args.inner);
#pragma unroll
        for (unsigned i = 0; i < BLOCKS; ++i) {
#pragma unroll
            for (unsigned half = 0; half < 2; ++half) {
                const unsigned k = column_of(block, i, half);
                const uint4 w = held.low[i][half], v = held.high[i][half];
                const unsigned a[2][4] = {{w.x, v.x, w.y, v.y}, {w.z, v.z, w.w, v.w}};
#pragma unroll
                for (unsigned n = 0; n < ROWS / 8; ++n) {
                    const unsigned row = n * 8 + g;
                    uint4 x = make_uint4(0, 0, 0, 0);
                    if (row < args.rows && k < args.inner) {
                        x = *reinterpret_cast<const uint4*>(args.input + static_cast<unsigned long long>(row) * args.inner + k);
                    }
                    mma(sum[n], a[0], x.x, x.y);
                    mma(sum[n], a[1], x.z, x.w);
                }
            }
        }
        held = next;
    }
#pragma unroll
    for (unsigned n = 0; n < ROWS / 8; ++n) {
#pragma unroll
        for (unsigned r = 0; r < 4; ++r) sums[warp][n * 8 + t * 2 + (r & 1)][g + (r >> 1) * 8] = sum[n][r];
    }
    __syncthreads();
    for (unsigned i = threadIdx.x; i < ROWS * TILE; i += WARPS * 32) {
        const unsigned row = i / TILE, line = i % TILE;
        float total = 0.0f;
#pragma unroll
        for (unsigned w = 0; w < WARPS; ++w) total += sums[w][row][line];
        write<EPILOGUE>(args, row, line, total);
    }
}

#define SKINNY(name, rows, epilogue)                                                                            \
    extern "C" __global__ void __launch_bounds__(WARPS * 32, 2) name(const __grid_constant__ SkinnyArgs args) { \
        skinny<rows, epilogue>(args);                                                                           \
    }
SKINNY(skinny_store_8, 8, STORE)
SKINNY(skinny_store_16, 16, STORE)
SKINNY(skinny_add_8, 8, ADD)
SKINNY(skinny_add_16, 16, ADD)
SKINNY(skinny_float_8, 8, FLOAT)
SKINNY(skinny_float_16, 16, FLOAT)
SKINNY(skinny_gate_8, 8, GATE)
SKINNY(skinny_gate_16, 16, GATE)
