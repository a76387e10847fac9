// Matrix product for few rows of input, bound by the read of the weight: output = input * weight^T.
//
//   input   [rows][inner]      bf16, rows <= 64
//   weight  [columns][inner]   bf16
//   output  by kernel, float sums rounded once:
//     skinny_store_R   [rows][columns]      bf16
//     skinny_add_R     [rows][columns]      bf16, added to what is there
//     skinny_float_R   [rows][columns]      float
//     skinny_gate_R    [rows][columns / 2]  bf16, silu(gate) * up; the weight's rows alternate, eight of gate, eight of up
//   partial [2 * gridDim.x][TILE * R]       float, sums of tiles that CTAs share
//   arrived [ceil(columns / TILE)]          uint32, zero before and after every launch
//
// R = 8, 16, 32 or 64 is the least that holds `rows`; missing rows count as zero.
//
// Grid: one CTA of 256 threads per multiprocessor. The weight is cut into tiles of TILE rows and these into steps of DEPTH columns;
// every CTA takes an equal run of all steps (stream-K: Osama et al., PPoPP 2023), so every shape keeps every multiprocessor reading to
// the end. A tile that lies in the runs of several CTAs is summed up by the last of them to arrive, in order of the runs: the result does
// not depend on the order of arrival.
// The weight's first stages are on their way before the CTA waits for the kernel that makes `input`.
// Traffic: reads weight once; input from L2, once per tile; 8 * TILE * R bytes for each tile shared.
// Needs inner % 8 == 0, 16-byte aligned input and weight; columns % 16 == 0 for `gate` (checked by the launcher).
#include "mma.cuh"
#include "overlap.cuh"

struct SkinnyArgs {
    const __nv_bfloat16* input;
    const __nv_bfloat16* weight;
    void* output;
    float* partial;
    unsigned* arrived;
    unsigned rows;
    unsigned columns;
    unsigned inner;
};

constexpr unsigned THREADS = 256;
constexpr unsigned TILE = 128;     // rows of the weight: 16 for each warp
constexpr unsigned DEPTH = 64;     // columns of the weight: lines of 128 bytes
constexpr unsigned CHUNKS = DEPTH / 8;

enum Epilogue { STORE, ADD, FLOAT, GATE };

template <unsigned ROWS>
struct Shape {
    static constexpr unsigned WEIGHT_BYTES = TILE * DEPTH * 2;
    static constexpr unsigned STAGE_BYTES = WEIGHT_BYTES + ROWS * DEPTH * 2;
    // About 100 KiB, so that two CTAs of successive kernels share a multiprocessor.
    static constexpr unsigned STAGES = 106496 / STAGE_BYTES;
};

// A 16-byte copy of what is read once: L2 fetches the whole 256-byte line pair from HBM.
__device__ __forceinline__ void stream_async(unsigned shared_address, const void* from, bool present) {
    const int bytes = present ? 16 : 0;
    asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16, %2;" ::"r"(shared_address), "l"(from), "r"(bytes)
                 : "memory");
}

__device__ __forceinline__ void load_weight(const SkinnyArgs& args, unsigned shared, unsigned tile, unsigned step) {
    const unsigned chunk = threadIdx.x % CHUNKS, k = step * DEPTH + chunk * 8;
#pragma unroll
    for (unsigned i = 0; i < TILE * CHUNKS / THREADS; ++i) {
        const unsigned row = threadIdx.x / CHUNKS + i * (THREADS / CHUNKS);
        const unsigned column = tile * TILE + row;
        const bool present = column < args.columns && k < args.inner;
        const __nv_bfloat16* from = args.weight + (present ? static_cast<unsigned long long>(column) * args.inner + k : 0);
        stream_async(shared + swizzled<DEPTH>(row, chunk), from, present);
    }
}

template <unsigned ROWS>
__device__ __forceinline__ void load_input(const SkinnyArgs& args, unsigned shared, unsigned step) {
#pragma unroll
    for (unsigned i = threadIdx.x; i < ROWS * CHUNKS; i += THREADS) {
        const unsigned row = i / CHUNKS, chunk = i % CHUNKS, k = step * DEPTH + chunk * 8;
        const bool present = row < args.rows && k < args.inner;
        const __nv_bfloat16* from = args.input + (present ? static_cast<unsigned long long>(row) * args.inner + k : 0);
        copy_async(shared + swizzled<DEPTH>(row, chunk), from, present);
    }
}

// sum += weight tile * input^T over one stage: a warp's 16 weight rows are the rows of D, the input's rows its columns.
template <unsigned ROWS>
__device__ __forceinline__ void multiply(float (&sum)[ROWS / 8][4], unsigned weight, unsigned input) {
    const unsigned lane = threadIdx.x & 31, warp = threadIdx.x / 32;
#pragma unroll
    for (unsigned k = 0; k < DEPTH / 16; k += 2) {
        unsigned a[2][4];
#pragma unroll
        for (unsigned i = 0; i < 2; ++i) {
            load_matrix(a[i], weight + swizzled<DEPTH>(warp * 16 + (lane & 15), (k + i) * 2 + (lane >> 4)));
        }
#pragma unroll
        for (unsigned n = 0; n < ROWS / 8; ++n) {
            unsigned b[4];
            load_matrix(b, input + swizzled<DEPTH>(n * 8 + (lane & 7), k * 2 + (lane >> 3)));
            mma(sum[n], a[0], b[0], b[1]);
            mma(sum[n], a[1], b[2], b[3]);
        }
    }
}

template <unsigned ROWS, Epilogue EPILOGUE>
__device__ __forceinline__ void write(const SkinnyArgs& args, unsigned tile, const float (&sum)[ROWS / 8][4]) {
    const unsigned lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    const unsigned line = tile * TILE + warp * 16;
#pragma unroll
    for (unsigned n = 0; n < ROWS / 8; ++n) {
#pragma unroll
        for (unsigned r = 0; r < 2; ++r) {
            const unsigned row = n * 8 + (lane % 4) * 2 + r;
            if (row >= args.rows) continue;
            if constexpr (EPILOGUE == GATE) {
                const unsigned width = args.columns / 2, column = line / 2 + lane / 4;
                if (column >= width) continue;
                const float gate = sum[n][r], up = sum[n][r + 2];
                static_cast<__nv_bfloat16*>(args.output)[static_cast<unsigned long long>(row) * width + column] =
                    __float2bfloat16_rn(gate / (1.0f + __expf(-gate)) * up);
            } else {
#pragma unroll
                for (unsigned half = 0; half < 2; ++half) {
                    const unsigned column = line + half * 8 + lane / 4;
                    if (column >= args.columns) continue;
                    const unsigned long long at = static_cast<unsigned long long>(row) * args.columns + column;
                    const float value = sum[n][half * 2 + r];
                    if constexpr (EPILOGUE == FLOAT) {
                        static_cast<float*>(args.output)[at] = value;
                    } else {
                        __nv_bfloat16* to = static_cast<__nv_bfloat16*>(args.output) + at;
                        *to = __float2bfloat16_rn(EPILOGUE == ADD ? value + __bfloat162float(*to) : value);
                    }
                }
            }
        }
    }
}

// First step of a CTA's run, of `all` steps.
__device__ __forceinline__ unsigned run_begin(unsigned cta, unsigned all) {
    return static_cast<unsigned>(static_cast<unsigned long long>(cta) * all / gridDim.x);
}

// The CTA whose run holds step `step`.
__device__ __forceinline__ unsigned cta_of(unsigned step, unsigned all) {
    return static_cast<unsigned>(((static_cast<unsigned long long>(step) + 1) * gridDim.x - 1) / all);
}

// Adds this CTA's sums to those of the other CTAs of the tile. True in the last of them, which then holds the total.
template <unsigned ROWS>
__device__ __forceinline__ bool shared_total(const SkinnyArgs& args, unsigned tile, unsigned steps, unsigned all,
                                             float (&sum)[ROWS / 8][4]) {
    __shared__ bool last;
    const unsigned first = cta_of(tile * steps, all), final = cta_of(tile * steps + steps - 1, all);
    auto place = [&](unsigned cta) {
        // A CTA's run begins in one shared tile and may end in another.
        const unsigned which = run_begin(cta, all) / steps == tile ? 0 : 1;
        return reinterpret_cast<float4*>(args.partial) + static_cast<unsigned long long>(2 * cta + which) * (TILE * ROWS / 4) +
               threadIdx.x;
    };
    float4* own = place(blockIdx.x);
#pragma unroll
    for (unsigned n = 0; n < ROWS / 8; ++n) {
        __stcg(own + n * THREADS, make_float4(sum[n][0], sum[n][1], sum[n][2], sum[n][3]));
    }
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) last = atomicAdd(args.arrived + tile, 1) == final - first;
    __syncthreads();
    if (!last) return false;
    __threadfence();
#pragma unroll
    for (unsigned n = 0; n < ROWS / 8; ++n) sum[n][0] = sum[n][1] = sum[n][2] = sum[n][3] = 0.0f;
    for (unsigned cta = first; cta <= final; ++cta) {
        const float4* from = place(cta);
#pragma unroll
        for (unsigned n = 0; n < ROWS / 8; ++n) {
            const float4 more = __ldcg(from + n * THREADS);
            sum[n][0] += more.x;
            sum[n][1] += more.y;
            sum[n][2] += more.z;
            sum[n][3] += more.w;
        }
    }
    if (threadIdx.x == 0) args.arrived[tile] = 0;
    return true;
}

template <unsigned ROWS, Epilogue EPILOGUE>
__device__ __forceinline__ void skinny(const SkinnyArgs& args) {
    constexpr unsigned STAGES = Shape<ROWS>::STAGES;
    extern __shared__ __align__(128) unsigned char memory[];
    release_successor();
    const unsigned ring = static_cast<unsigned>(__cvta_generic_to_shared(memory));
    const unsigned steps = (args.inner + DEPTH - 1) / DEPTH;   // of a tile
    const unsigned all = steps * ((args.columns + TILE - 1) / TILE);
    const unsigned begin = run_begin(blockIdx.x, all), end = run_begin(blockIdx.x + 1, all);
    auto weight_at = [&](unsigned at) { return ring + (at - begin) % STAGES * Shape<ROWS>::STAGE_BYTES; };
    auto input_at = [&](unsigned at) { return weight_at(at) + Shape<ROWS>::WEIGHT_BYTES; };

    for (unsigned at = begin; at < min(begin + STAGES - 1, end); ++at) {
        load_weight(args, weight_at(at), at / steps, at % steps);
    }
    await_predecessor();
#pragma unroll
    for (unsigned i = 0; i < STAGES - 1; ++i) {
        if (begin + i < end) load_input<ROWS>(args, input_at(begin + i), (begin + i) % steps);
        commit_copies();
    }

    float sum[ROWS / 8][4] = {};
    unsigned tile = begin / steps, step = begin % steps;
    unsigned segment = begin;   // where this CTA began with the tile
    for (unsigned at = begin; at < end; ++at) {
        await_copies<STAGES - 2>();
        __syncthreads();
        const unsigned next = at + STAGES - 1;
        if (next < end) {
            load_weight(args, weight_at(next), next / steps, next % steps);
            load_input<ROWS>(args, input_at(next), next % steps);
        }
        commit_copies();
        multiply<ROWS>(sum, weight_at(at), input_at(at));
        ++step;
        if (step < steps && at + 1 < end) continue;
        // The tile or the run is over. A tile within one run needs no other CTA.
        const bool whole = at + 1 - segment == steps;
        if (whole || shared_total<ROWS>(args, tile, steps, all, sum)) write<ROWS, EPILOGUE>(args, tile, sum);
#pragma unroll
        for (unsigned n = 0; n < ROWS / 8; ++n) sum[n][0] = sum[n][1] = sum[n][2] = sum[n][3] = 0.0f;
        ++tile;
        step = 0;
        segment = at + 1;
    }
}

#define SKINNY(name, rows, epilogue)                                                                       \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) name(const __grid_constant__ SkinnyArgs args) { \
        skinny<rows, epilogue>(args);                                                                      \
    }
SKINNY(skinny_store_8, 8, STORE)
SKINNY(skinny_store_16, 16, STORE)
SKINNY(skinny_store_32, 32, STORE)
SKINNY(skinny_store_64, 64, STORE)
SKINNY(skinny_add_8, 8, ADD)
SKINNY(skinny_add_16, 16, ADD)
SKINNY(skinny_add_32, 32, ADD)
SKINNY(skinny_add_64, 64, ADD)
SKINNY(skinny_float_8, 8, FLOAT)
SKINNY(skinny_float_16, 16, FLOAT)
SKINNY(skinny_float_32, 32, FLOAT)
SKINNY(skinny_float_64, 64, FLOAT)
SKINNY(skinny_gate_8, 8, GATE)
SKINNY(skinny_gate_16, 16, GATE)
SKINNY(skinny_gate_32, 32, GATE)
SKINNY(skinny_gate_64, 64, GATE)
