// The form of `skinny_gemm.cu` for sm_90a.
//
// The weight's rows are the rows of warpgroup products and the input's their columns, so that a tile of any height is whole blocks of 64 rows
// but for its last, and a few rows of input cost little. A block that reaches beyond the tile multiplies what lies there in shared memory; its
// sums are not written.
//
// Six warps: a warpgroup that multiplies, one thread that loads the weight and one that loads the input. The weight of the whole ring is on
// its way before the CTA waits for the kernel that makes the input: beside a small kernel, HBM goes on reading. No sums cross warps.
// A stage is BOXES times 64 columns: [box][row of the input], then [box][row of the tile].
// Products of one accumulator follow each other; with few blocks, CHAINS accumulators a block take turns, so that none waits for the one before.
// Dynamic shared memory: `stages` stages, what a block reads beyond them, and what the alignment to 1,024 bytes takes (the launcher reckons); the
// sums take the place of the stages.
#pragma once
#include "overlap.cuh"
#include "tma.cuh"
#include "wgmma.cuh"

struct SkinnyArgs {
    TensorMap input;    // boxes of R rows
    TensorMap weight;   // boxes of `tile` rows
    void* output;
    unsigned rows;
    unsigned columns;
    unsigned inner;
    unsigned tile;      // rows of the weight that a CTA has, a multiple of 16
    unsigned stages;    // of the ring, at most STAGES_MAX
    Epilogue epilogue;
};

constexpr unsigned MULTIPLIERS = 128, THREADS = MULTIPLIERS + 64, STAGES_MAX = 16;
constexpr unsigned BOX_COLUMNS = 64, BOX_ROW_BYTES = BOX_COLUMNS * 2;

__device__ __forceinline__ void multipliers_meet() {
    asm volatile("bar.sync 1, %0;" ::"n"(MULTIPLIERS) : "memory");
}

// Where a loader or the warpgroup is in the ring.
struct Place {
    unsigned stage = 0, parity = 0;

    __device__ __forceinline__ void advance(unsigned stages) {
        if (++stage == stages) {
            stage = 0;
            parity ^= 1;
        }
    }
};

// Eight elements of a row of the output, as the CTA writes them.
struct Eight {
    const SkinnyArgs& args;
    unsigned columns;   // of an output row
    bool vectors;       // whether rows begin at multiples of 16 bytes

    // Eight elements at `at`, of which `count` lie in the row.
    __device__ __forceinline__ uint4 read(unsigned long long at, unsigned count) const {
        const __nv_bfloat16* from = static_cast<const __nv_bfloat16*>(args.output) + at;
        if (vectors) return *reinterpret_cast<const uint4*>(from);
        float x[8] = {};
        for (unsigned i = 0; i < count; ++i) x[i] = __bfloat162float(from[i]);
        return narrow(x);
    }

    __device__ __forceinline__ void write(unsigned long long at, unsigned count, const float (&x)[8]) const {
        if (args.epilogue == FLOAT) {
            float* to = static_cast<float*>(args.output) + at;
            if (vectors) {
                reinterpret_cast<float4*>(to)[0] = make_float4(x[0], x[1], x[2], x[3]);
                reinterpret_cast<float4*>(to)[1] = make_float4(x[4], x[5], x[6], x[7]);
            } else {
                for (unsigned i = 0; i < count; ++i) to[i] = x[i];
            }
            return;
        }
        __nv_bfloat16* to = static_cast<__nv_bfloat16*>(args.output) + at;
        if (vectors) {
            *reinterpret_cast<uint4*>(to) = narrow(x);
        } else {
            for (unsigned i = 0; i < count; ++i) to[i] = __float2bfloat16_rn(x[i]);
        }
    }
};

template <unsigned ROWS, unsigned BLOCKS, unsigned BOXES, unsigned CHAINS>
__device__ __forceinline__ void skinny(const SkinnyArgs& args) {
    extern __shared__ unsigned char shared[];
    __shared__ unsigned long long barriers[2][STAGES_MAX];
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x & 31;
    const unsigned tile = args.tile, first = blockIdx.x * tile;
    constexpr unsigned INPUT_BYTES = BOXES * ROWS * BOX_ROW_BYTES;
    const unsigned weight_bytes = BOXES * tile * BOX_ROW_BYTES, stage_bytes = INPUT_BYTES + weight_bytes;
    const unsigned stage_count = (args.inner + BOXES * BOX_COLUMNS - 1) / (BOXES * BOX_COLUMNS);
    const unsigned unaligned = shared_address(shared), ring = (unaligned + 1023) & ~1023u;
    const auto full = [&](unsigned stage) { return shared_address(&barriers[0][stage]); };
    const auto empty = [&](unsigned stage) { return shared_address(&barriers[1][stage]); };
    release_successor();
    if (threadIdx.x == 0) {
        for (unsigned stage = 0; stage < args.stages; ++stage) {
            begin_barrier(full(stage), 2);                  // the two loaders
            begin_barrier(empty(stage), MULTIPLIERS / 32);  // a lane of each warp
        }
        publish_barriers();
    }
    __syncthreads();

    if (warp == MULTIPLIERS / 32) {
        if (lane != 0) return;
        fetch_map(args.weight);
        Place place;
        for (unsigned stage = 0; stage < stage_count; ++stage) {
            await(empty(place.stage), place.parity ^ 1);
            arrive_expecting(full(place.stage), weight_bytes);
            const unsigned to = ring + place.stage * stage_bytes + INPUT_BYTES;
#pragma unroll
            for (unsigned box = 0; box < BOXES; ++box)
                copy_box_once(to + box * tile * BOX_ROW_BYTES, args.weight, (stage * BOXES + box) * BOX_COLUMNS, first, full(place.stage));
            place.advance(args.stages);
        }
        return;
    }
    if (warp > MULTIPLIERS / 32) {
        if (lane != 0) return;
        fetch_map(args.input);
        await_predecessor();
        Place place;
        for (unsigned stage = 0; stage < stage_count; ++stage) {
            await(empty(place.stage), place.parity ^ 1);
            arrive_expecting(full(place.stage), INPUT_BYTES);
            const unsigned to = ring + place.stage * stage_bytes;
#pragma unroll
            for (unsigned box = 0; box < BOXES; ++box)
                copy_box(to + box * ROWS * BOX_ROW_BYTES, args.input, (stage * BOXES + box) * BOX_COLUMNS, 0, full(place.stage));
            place.advance(args.stages);
        }
        return;
    }

    // The output is shared out by eights, row after row of the tile's part of it.
    const bool gate = args.epilogue == GATE;
    const unsigned width = gate ? tile / 2 : tile, out_first = gate ? first / 2 : first;
    const Eight eight{args, gate ? args.columns / 2 : args.columns, (gate ? args.columns / 2 : args.columns) % 8 == 0};
    const unsigned eights = args.rows * (width / 8);
    struct Part {
        unsigned row, place, count;
        unsigned long long at;
    };
    const auto part = [&](unsigned index) {
        const unsigned row = index / (width / 8), place = index % (width / 8) * 8, column = out_first + place;
        const unsigned left = index < eights && column < eight.columns ? eight.columns - column : 0;
        return Part{row, place, min(left, 8u), static_cast<unsigned long long>(row) * eight.columns + column};
    };
    constexpr unsigned PARTS = (ROWS * BLOCKS * 8 + MULTIPLIERS - 1) / MULTIPLIERS;   // of a thread, at most
    // What is added to is read ahead where that takes few registers.
    constexpr bool AHEAD = BLOCKS == 1;
    uint4 before[PARTS];
    await_predecessor();
    if constexpr (AHEAD) {
#pragma unroll
        for (unsigned i = 0; i < PARTS; ++i) {
            const Part mine = part(threadIdx.x + i * MULTIPLIERS);
            if (args.epilogue == ADD && mine.count > 0) before[i] = eight.read(mine.at, mine.count);
        }
    }

    float sum[CHAINS][BLOCKS][ROWS / 2] = {};
    Place place;
    for (unsigned stage = 0; stage < stage_count; ++stage) {
        await(full(place.stage), place.parity);
        const unsigned input = ring + place.stage * stage_bytes, weight = input + INPUT_BYTES;
        begin_products();
#pragma unroll
        for (unsigned box = 0; box < BOXES; ++box)
#pragma unroll
            for (unsigned k = 0; k < BOX_COLUMNS / 16; ++k)
#pragma unroll
                for (unsigned block = 0; block < BLOCKS; ++block)
                    product(sum[(box * (BOX_COLUMNS / 16) + k) % CHAINS][block],
                            factor(weight + (box * tile + block * 64) * BOX_ROW_BYTES + k * 32),
                            factor(input + box * ROWS * BOX_ROW_BYTES + k * 32));
        commit_products();
        // The stage before is free: its products are over.
        await_products<1>();
        if (stage > 0 && lane == 0) arrive(empty(place.stage == 0 ? args.stages - 1 : place.stage - 1));
        place.advance(args.stages);
    }
    await_products<0>();
#pragma unroll
    for (unsigned chain = 1; chain < CHAINS; ++chain)
#pragma unroll
        for (unsigned block = 0; block < BLOCKS; ++block)
#pragma unroll
            for (unsigned i = 0; i < ROWS / 2; ++i) sum[0][block][i] += sum[chain][block][i];

    // Nobody multiplies from the ring any more. [row of input][row of the tile]; the padding keeps the banks of a warp's writes apart.
    multipliers_meet();
    float* const sums = reinterpret_cast<float*>(shared + (ring - unaligned));
    const unsigned pitch = width + 4, g = lane / 4, t = lane % 4;
#pragma unroll
    for (unsigned block = 0; block < BLOCKS; ++block) {
        const unsigned line = block * 64 + warp * 16;
        if (line >= tile) break;
#pragma unroll
        for (unsigned i = 0; i < ROWS / 4; ++i) {
            const unsigned n = i / 2, q = i % 2;
            const float low = sum[0][block][n * 4 + q], high = sum[0][block][n * 4 + 2 + q];
            float* const to = sums + (n * 8 + t * 2 + q) * pitch;
            if (gate) {
                to[line / 2 + g] = gated(low, high);
            } else {
                to[line + g] = low;
                to[line + g + 8] = high;
            }
        }
    }
    multipliers_meet();
#pragma unroll
    for (unsigned i = 0; i < PARTS; ++i) {
        const Part mine = part(threadIdx.x + i * MULTIPLIERS);
        if (mine.count == 0) continue;
        const float4* from = reinterpret_cast<const float4*>(sums + mine.row * pitch + mine.place);
        float x[8] = {from[0].x, from[0].y, from[0].z, from[0].w, from[1].x, from[1].y, from[1].z, from[1].w};
        if (args.epilogue == ADD) {
            float y[8];
            widen(y, AHEAD ? before[i] : eight.read(mine.at, mine.count));
#pragma unroll
            for (int j = 0; j < 8; ++j) x[j] += y[j];
        }
        eight.write(mine.at, mine.count, x);
    }
}

#define SKINNY(rows, most, boxes, chains)                                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS, 1) skinny_##rows##_##most(const __grid_constant__ SkinnyArgs args) {        \
        skinny<rows, most / 64, boxes, chains>(args);                                                                                  \
    }
SKINNY(8, 64, 2, 4)
SKINNY(16, 64, 2, 4)
SKINNY(32, 64, 2, 4)
SKINNY(8, 128, 2, 2)
SKINNY(16, 128, 2, 2)
SKINNY(32, 128, 2, 2)
SKINNY(8, 192, 2, 1)
SKINNY(16, 192, 2, 1)
SKINNY(32, 192, 2, 1)
SKINNY(8, 256, 1, 1)
SKINNY(16, 256, 1, 1)
SKINNY(32, 256, 1, 1)
