// Decode attention: one query token per sequence over its paged KV, split over the context.
//
//   q        [seq_count][token_stride]            bf16; Q heads first in a row: [q_heads][head_dim]
//   k, v     block b at b * block_stride elements: [kv_heads][block_tokens][head_dim]  bf16
//   table    [seq_count][table_stride]            int32, block ids in order
//   context  [seq_count]                          int32, KV tokens of the sequence; 0 gives zeros
//   output   [seq_count][q_heads][head_dim]       bf16
//   split_at [1]                                  uint32, replaces split_tokens; or null
//   partial  [seq_count][kv_heads][split_max][group][head_dim + 2]  float: sum, then maximum and weight
//   arrived  [seq_count][kv_heads]                uint32, zero before and after every launch
//
// group = q_heads / kv_heads <= 16 (grouped-query attention): the Q heads of one KV head are the rows of
// one mma tile, so KV is read once whatever the group.
//
// Grid: (kv_heads, splits of split_tokens tokens, seq_count), 128 threads. CTAs past the end of a context
// leave at once, so one grid serves sequences of different lengths. In a CUDA graph, which fixes the parameters, split_tokens comes from
// memory, so that one graph serves batches as they grow. Heads come
// first: CTAs that run side by side then read neighbouring runs of the same block.
// Each warp takes every fourth tile of 16 tokens of its CTA's split through a ring of its own in shared
// memory: no barrier until the end. The last CTA to arrive combines the splits, in order of the splits,
// so the result does not depend on the order of arrival.
// Traffic: reads K and V once, 4 * head_dim bytes a token and KV head; with more than one split it also writes
// and reads 4 * (head_dim + 2) bytes a split and Q head.
// Needs head_dim 64 or 128, block_tokens a power of two >= 16, split_tokens % 64 == 0 (checked by the launcher).
#include "mma.cuh"
#include "overlap.cuh"

struct DecodeArgs {
    const __nv_bfloat16* q;
    const __nv_bfloat16* k;
    const __nv_bfloat16* v;
    const int* table;
    const int* context;
    __nv_bfloat16* output;
    float* partial;
    unsigned* arrived;
    const unsigned* split_at;   // where split_tokens is, or null
    unsigned long long block_stride;
    unsigned token_stride;
    unsigned table_stride;
    unsigned q_heads;
    unsigned kv_heads;
    unsigned block_shift;   // log2 of block_tokens
    unsigned split_tokens;
    unsigned split_max;     // splits that `partial` has room for: gridDim.y
    float scale_log2;       // log2(e) / sqrt(head_dim)
};

constexpr int WARPS = 4;
constexpr int TILE = 16;
constexpr int STAGES = 3;
constexpr int GROUP_MAX = 16;

template <int HEAD_DIM>
__device__ __forceinline__ void load_tile(const DecodeArgs& args, unsigned shared, unsigned block, unsigned token,
                                          unsigned context) {
    constexpr unsigned CHUNKS = HEAD_DIM / 8;
    const unsigned lane = threadIdx.x & 31;
    const unsigned place = token & ((1u << args.block_shift) - 1);
    const unsigned long long line =
        block * args.block_stride + ((static_cast<unsigned long long>(blockIdx.x) << args.block_shift) + place) * HEAD_DIM;
#pragma unroll
    for (unsigned i = lane; i < TILE * CHUNKS; i += 32) {
        const unsigned row = i / CHUNKS, chunk = i % CHUNKS;
        const bool present = token + row < context;
        const unsigned target = shared + swizzled<HEAD_DIM>(row, chunk);
        copy_async_once(target, args.k + line + i * 8, present);
        copy_async_once(target + TILE * HEAD_DIM * 2, args.v + line + i * 8, present);
    }
}

// Writes the attention of `group` rows from the splits' partial sums; one warp per row.
template <int HEAD_DIM>
__device__ __forceinline__ void combine(const DecodeArgs& args, const float* partial, unsigned split_count,
                                        unsigned group, __nv_bfloat16* output) {
    constexpr int PER_LANE = HEAD_DIM / 32;
    const unsigned lane = threadIdx.x & 31;
    const unsigned long long line = HEAD_DIM + 2;
    for (unsigned row = threadIdx.x / 32; row < group; row += WARPS) {
        float top = MINUS_INFINITY;
        for (unsigned s = lane; s < split_count; s += 32) {
            top = fmaxf(top, __ldcg(partial + (s * group + row) * line + HEAD_DIM));
        }
#pragma unroll
        for (int step = 16; step > 0; step /= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, step));
        float sum[PER_LANE] = {};
        float weight = 0.0f;
#pragma unroll 4
        for (unsigned s = 0; s < split_count; ++s) {
            const float* from = partial + (s * group + row) * line;
            const float factor = exp2_fast(__ldcg(from + HEAD_DIM) - top);
            weight += factor * __ldcg(from + HEAD_DIM + 1);
#pragma unroll
            for (int i = 0; i < PER_LANE; ++i) sum[i] += factor * __ldcg(from + i * 32 + lane);
        }
#pragma unroll
        for (int i = 0; i < PER_LANE; ++i) {
            output[row * HEAD_DIM + i * 32 + lane] = __float2bfloat16_rn(sum[i] / weight);
        }
    }
}

template <int HEAD_DIM>
__device__ __forceinline__ void decode(const DecodeArgs& args) {
    constexpr int K_STEPS = HEAD_DIM / 16;
    constexpr int D_TILES = HEAD_DIM / 8;
    constexpr unsigned STAGE_BYTES = 2 * TILE * HEAD_DIM * 2;
    extern __shared__ __align__(128) unsigned char memory[];
    __shared__ float tops[WARPS][GROUP_MAX], weights[WARPS][GROUP_MAX];
    __shared__ bool last;

    release_successor();
    await_predecessor();
    const unsigned kv_head = blockIdx.x, split = blockIdx.y, seq = blockIdx.z;
    const unsigned group = args.q_heads / args.kv_heads;
    const unsigned context = args.context[seq];
    const unsigned split_tokens = args.split_at == nullptr ? args.split_tokens : *args.split_at;
    const unsigned split_count = (context + split_tokens - 1) / split_tokens;
    __nv_bfloat16* output =
        args.output + (static_cast<unsigned long long>(seq) * args.q_heads + kv_head * group) * HEAD_DIM;
    if (split >= split_count) {
        if (context == 0 && split == 0) {
            for (unsigned i = threadIdx.x; i < group * HEAD_DIM; i += blockDim.x) output[i] = __float2bfloat16_rn(0.0f);
        }
        return;
    }

    const unsigned lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    const unsigned g = lane / 4, t = lane % 4;
    const unsigned begin = split * split_tokens;
    const unsigned end = min(begin + split_tokens, context);
    const int tile_count = (end - begin + TILE - 1) / TILE;
    const int own_count = tile_count > static_cast<int>(warp) ? (tile_count - static_cast<int>(warp) + WARPS - 1) / WARPS : 0;
    const unsigned ring = static_cast<unsigned>(__cvta_generic_to_shared(memory)) + warp * STAGES * STAGE_BYTES;
    const int* table = args.table + static_cast<unsigned long long>(seq) * args.table_stride;

    // Block ids of the next 32 tiles of this warp, one per lane.
    int ids = 0;
    auto start_tile = [&](int i) {
        if ((i & 31) == 0) {
            const unsigned ahead = begin + ((i + lane) * WARPS + warp) * TILE;
            ids = ahead < end ? table[ahead >> args.block_shift] : 0;
        }
        const unsigned block = __shfl_sync(0xffffffffu, ids, i & 31);
        load_tile<HEAD_DIM>(args, ring + (i % STAGES) * STAGE_BYTES, block, begin + (i * WARPS + warp) * TILE, end);
    };
#pragma unroll
    for (int i = 0; i < STAGES - 1; ++i) {
        if (i < own_count) start_tile(i);
        commit_copies();
    }

    unsigned query[K_STEPS][4];
    const __nv_bfloat16* q =
        args.q + static_cast<unsigned long long>(seq) * args.token_stride + kv_head * group * HEAD_DIM;
#pragma unroll
    for (int kk = 0; kk < K_STEPS; ++kk) {
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            const unsigned row = g + (r & 1) * 8, d = kk * 16 + (r >> 1) * 8 + t * 2;
            query[kk][r] = row < group ? *reinterpret_cast<const unsigned*>(q + row * HEAD_DIM + d) : 0u;
        }
    }

    float sum[D_TILES][4] = {};
    float top[2] = {MINUS_INFINITY, MINUS_INFINITY};
    float weight[2] = {0.0f, 0.0f};
    for (int i = 0; i < own_count; ++i) {
        await_copies<STAGES - 2>();
        __syncwarp();
        // The stage refilled here was read in the last round; __syncwarp ends that round for all lanes.
        if (i + STAGES - 1 < own_count) start_tile(i + STAGES - 1);
        commit_copies();
        const unsigned keys = ring + (i % STAGES) * STAGE_BYTES;
        const unsigned values = keys + TILE * HEAD_DIM * 2;

        float score[2][4] = {};
#pragma unroll
        for (int kk = 0; kk < K_STEPS; ++kk) {
            unsigned b[4];
            load_matrix(b, keys + swizzled<HEAD_DIM>((lane & 7) + ((lane >> 4) & 1) * 8, kk * 2 + ((lane >> 3) & 1)));
            mma(score[0], query[kk], b[0], b[1]);
            mma(score[1], query[kk], b[2], b[3]);
        }
        const unsigned token = begin + (i * WARPS + warp) * TILE;
        if (token + TILE > end) {
#pragma unroll
            for (int n = 0; n < 2; ++n) {
#pragma unroll
                for (int r = 0; r < 4; ++r) {
                    if (token + n * 8 + t * 2 + (r & 1) >= end) score[n][r] = MINUS_INFINITY;
                }
            }
        }
        unsigned p[4];
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const float high = row_max(fmaxf(fmaxf(score[0][2 * r], score[0][2 * r + 1]),
                                             fmaxf(score[1][2 * r], score[1][2 * r + 1])));
            // A tile holds at least one token of the context, so the maximum is finite from here on.
            const float next = fmaxf(top[r], high * args.scale_log2);
            const float factor = exp2_fast(top[r] - next);
            top[r] = next;
            weight[r] *= factor;
#pragma unroll
            for (int n = 0; n < 2; ++n) {
                const float x = exp2_fast(score[n][2 * r] * args.scale_log2 - next);
                const float y = exp2_fast(score[n][2 * r + 1] * args.scale_log2 - next);
                weight[r] += x + y;
                p[n * 2 + r] = pack(x, y);
            }
#pragma unroll
            for (int n = 0; n < D_TILES; ++n) {
                sum[n][2 * r] *= factor;
                sum[n][2 * r + 1] *= factor;
            }
        }
#pragma unroll
        for (int n = 0; n < D_TILES; n += 2) {
            unsigned b[4];
            load_matrix_transposed(b, values + swizzled<HEAD_DIM>((lane & 7) + ((lane >> 3) & 1) * 8, n + (lane >> 4)));
            mma(sum[n], p, b[0], b[1]);
            mma(sum[n + 1], p, b[2], b[3]);
        }
    }

    // Merge the four warps through shared memory: [warp][row][head_dim] over the rings, which are done with.
    await_copies<0>();
    __syncthreads();
    float* merged = reinterpret_cast<float*>(memory);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const unsigned row = g + r * 8;
        const float total = row_sum(weight[r]);
        if (row < group) {
#pragma unroll
            for (int n = 0; n < D_TILES; ++n) {
                float* to = merged + (warp * GROUP_MAX + row) * HEAD_DIM + n * 8 + t * 2;
                to[0] = sum[n][2 * r];
                to[1] = sum[n][2 * r + 1];
            }
            if (t == 0) {
                tops[warp][row] = top[r];
                weights[warp][row] = total;
            }
        }
    }
    __syncthreads();
    const unsigned long long lane_of_grid = static_cast<unsigned long long>(seq) * args.kv_heads + kv_head;
    float* partial = args.partial + lane_of_grid * args.split_max * group * (HEAD_DIM + 2);
    for (unsigned i = threadIdx.x; i < group * HEAD_DIM; i += blockDim.x) {
        const unsigned row = i / HEAD_DIM, d = i % HEAD_DIM;
        float high = tops[0][row];
#pragma unroll
        for (int w = 1; w < WARPS; ++w) high = fmaxf(high, tops[w][row]);
        float value = 0.0f, total = 0.0f;
#pragma unroll
        for (int w = 0; w < WARPS; ++w) {
            // A warp without a tile has maximum minus infinity, hence factor 0.
            const float factor = exp2_fast(tops[w][row] - high);
            value += factor * merged[(w * GROUP_MAX + row) * HEAD_DIM + d];
            total += factor * weights[w][row];
        }
        if (split_count == 1) {
            output[i] = __float2bfloat16_rn(value / total);
        } else {
            float* to = partial + (static_cast<unsigned long long>(split) * group + row) * (HEAD_DIM + 2);
            to[d] = value;
            if (d == 0) {
                to[HEAD_DIM] = high;
                to[HEAD_DIM + 1] = total;
            }
        }
    }
    if (split_count == 1) return;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) last = atomicAdd(args.arrived + lane_of_grid, 1) == split_count - 1;
    __syncthreads();
    if (!last) return;
    __threadfence();
    combine<HEAD_DIM>(args, partial, split_count, group, output);
    if (threadIdx.x == 0) args.arrived[lane_of_grid] = 0;
}

extern "C" __global__ void __launch_bounds__(WARPS * 32) decode_attention_64(const __grid_constant__ DecodeArgs args) {
    decode<64>(args);
}

extern "C" __global__ void __launch_bounds__(WARPS * 32) decode_attention_128(const __grid_constant__ DecodeArgs args) {
    decode<128>(args);
}
