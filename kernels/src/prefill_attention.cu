// Chunked prefill attention on tensor cores: a chunk of query tokens per sequence, causal, over the
// sequence's paged KV (which already holds the chunk's own K and V).
//
//   q           [token_count][token_stride]       bf16; Q heads first in a row: [q_heads][head_dim]
//   k, v        block b at b * block_stride elements: [kv_heads][block_tokens][head_dim]  bf16
//   table       [seq_count][table_stride]         int32, block ids in order
//   query_start [seq_count + 1]                   int32, first token of each sequence's chunk in q
//   context     [seq_count]                       int32, KV tokens of the sequence, its chunk included
//   output      [token_count][q_heads][head_dim]  bf16
//   sums        [split_count][token_count][q_heads][head_dim]  float; only with more than one split
//   marks       [split_count][token_count][q_heads][2]         float: maximum and weight of each sum
//
// Query i of a chunk of n sees the first context - n + i + 1 tokens of its sequence.
//
// Grid: (q_heads, ceil(chunk_max / 128), seq_count * split_count), 128 threads; a CTA takes 128 query rows of one head,
// the last rows of a chunk first because they see the longest context. A warp owns 32 rows: their sums
// stay in registers and each K or V fragment serves two mma tiles. K and V pass through shared memory
// in tiles of 64 tokens; V arrives while QK^T runs, the next K while softmax and PV run.
// The scheme is FlashAttention-2 (Dao, ICLR 2024), over block tables. A short chunk on a long context has
// too few rows to fill the GPU: its context is then split, and prefill_combine merges the splits, one warp
// per token and head, in order of the splits.
// Work: 4 * head_dim operations per (query, visible token, Q head), half of the tile on the diagonal wasted.
// Traffic: each CTA reads the visible K and V of its head once, from L2 for all but the first.
// Needs head_dim 64 or 128, block_tokens a power of two >= 16 (checked by the launcher).
#include "mma.cuh"
#include "overlap.cuh"

struct PrefillArgs {
    const __nv_bfloat16* q;
    const __nv_bfloat16* k;
    const __nv_bfloat16* v;
    const int* table;
    const int* query_start;
    const int* context;
    __nv_bfloat16* output;
    float* sums;
    float2* marks;
    unsigned long long block_stride;
    unsigned token_stride;
    unsigned table_stride;
    unsigned q_heads;
    unsigned kv_heads;
    unsigned block_shift;   // log2 of block_tokens
    unsigned split_count;
    unsigned token_count;
    float scale_log2;       // log2(e) / sqrt(head_dim)
};

constexpr int THREADS = 128;
constexpr int ROWS = 128;    // query rows of a CTA
constexpr int KEYS = 64;     // tokens of a K or V tile

// Starts the copy of K or V rows first .. first + 63 of one head; rows from `context` on become zero.
template <int HEAD_DIM>
__device__ __forceinline__ void load_keys(const PrefillArgs& args, const __nv_bfloat16* pool, const int* table,
                                          unsigned head, unsigned shared, int first, int context) {
    constexpr int CHUNKS = HEAD_DIM / 8;
    constexpr int STEP = THREADS / CHUNKS;
    const int chunk = threadIdx.x % CHUNKS;
#pragma unroll
    for (int i = 0; i < KEYS / STEP; ++i) {
        const int row = threadIdx.x / CHUNKS + i * STEP;
        const int token = first + row;
        const bool present = token < context;
        const int known = present ? token : 0;
        const unsigned long long block = table[known >> args.block_shift];
        const unsigned place = known & ((1 << args.block_shift) - 1);
        const __nv_bfloat16* from = pool + block * args.block_stride +
                                    ((static_cast<unsigned long long>(head) << args.block_shift) + place) * HEAD_DIM;
        copy_async(shared + swizzled<HEAD_DIM>(row, chunk), from + chunk * 8, present);
    }
}

template <int HEAD_DIM>
__device__ __forceinline__ void prefill(const PrefillArgs& args) {
    constexpr int K_STEPS = HEAD_DIM / 16;
    constexpr int D_TILES = HEAD_DIM / 8;
    constexpr int CHUNKS = HEAD_DIM / 8;
    extern __shared__ __align__(128) unsigned char memory[];
    release_successor();
    await_predecessor();

    const int seq = blockIdx.z / args.split_count, split = blockIdx.z % args.split_count, head = blockIdx.x;
    const int query_begin = args.query_start[seq];
    const int query_count = args.query_start[seq + 1] - query_begin;
    const int tile = (query_count + ROWS - 1) / ROWS - 1 - static_cast<int>(blockIdx.y);
    if (tile < 0) return;
    const int context = args.context[seq];
    const int row_begin = tile * ROWS;
    const int past = context - query_count;   // tokens that the first query sees before itself
    const int kv_head = head / (args.q_heads / args.kv_heads);
    const int* table = args.table + static_cast<unsigned long long>(seq) * args.table_stride;

    const unsigned queries = static_cast<unsigned>(__cvta_generic_to_shared(memory));
    const unsigned keys = queries + ROWS * HEAD_DIM * 2;
    const unsigned values = keys + KEYS * HEAD_DIM * 2;
    const int lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    const int g = lane / 4, t = lane % 4;

    const __nv_bfloat16* q = args.q + static_cast<unsigned long long>(query_begin) * args.token_stride + head * HEAD_DIM;
#pragma unroll
    for (int i = 0; i < ROWS * CHUNKS / THREADS; ++i) {
        const int row = threadIdx.x / CHUNKS + i * (THREADS / CHUNKS), chunk = threadIdx.x % CHUNKS;
        const bool present = row_begin + row < query_count;
        const __nv_bfloat16* from = q + static_cast<unsigned long long>(present ? row_begin + row : 0) * args.token_stride;
        copy_async(queries + swizzled<HEAD_DIM>(row, chunk), from + chunk * 8, present);
    }
    // The K tiles that the last row sees, shared out among the splits; a split may be left without any.
    const int visible = min(context, past + row_begin + ROWS);
    const int tile_count = (visible + KEYS - 1) / KEYS;
    const int tiles_per_split = (tile_count + args.split_count - 1) / args.split_count;
    const int last_first = split * tiles_per_split * KEYS;
    int first = (min(tile_count, (split + 1) * tiles_per_split) - 1) * KEYS;
    if (first >= last_first) load_keys<HEAD_DIM>(args, args.k, table, kv_head, keys, first, context);
    commit_copies();

    float sum[2][D_TILES][4] = {};
    float top[2][2] = {{MINUS_INFINITY, MINUS_INFINITY}, {MINUS_INFINITY, MINUS_INFINITY}};
    float weight[2][2] = {};
    const int warp_row = row_begin + warp * 32;

    for (; first >= last_first; first -= KEYS) {
        await_copies<0>();
        __syncthreads();
        load_keys<HEAD_DIM>(args, args.v, table, kv_head, values, first, context);
        commit_copies();

        float score[2][KEYS / 8][4] = {};
#pragma unroll
        for (int kk = 0; kk < K_STEPS; ++kk) {
            unsigned a[2][4];
#pragma unroll
            for (int m = 0; m < 2; ++m) {
                load_matrix(a[m], queries + swizzled<HEAD_DIM>(warp * 32 + m * 16 + (lane & 15), kk * 2 + (lane >> 4)));
            }
#pragma unroll
            for (int n = 0; n < KEYS / 8; n += 2) {
                unsigned b[4];
                load_matrix(b, keys + swizzled<HEAD_DIM>(n * 8 + (lane & 7) + ((lane >> 4) & 1) * 8,
                                                         kk * 2 + ((lane >> 3) & 1)));
#pragma unroll
                for (int m = 0; m < 2; ++m) {
                    mma(score[m][n], a[m], b[0], b[1]);
                    mma(score[m][n + 1], a[m], b[2], b[3]);
                }
            }
        }
        await_copies<0>();
        __syncthreads();
        if (first > last_first) {
            load_keys<HEAD_DIM>(args, args.k, table, kv_head, keys, first - KEYS, context);
            commit_copies();
        }

        // Only tiles that reach past the warp's first query need the causal mask; it also ends the context.
        if (first + KEYS - 1 > past + warp_row) {
#pragma unroll
            for (int m = 0; m < 2; ++m) {
#pragma unroll
                for (int n = 0; n < KEYS / 8; ++n) {
#pragma unroll
                    for (int r = 0; r < 4; ++r) {
                        const int token = first + n * 8 + t * 2 + (r & 1);
                        const int row = warp_row + m * 16 + g + (r >> 1) * 8;
                        if (token > past + row || token >= context) score[m][n][r] = MINUS_INFINITY;
                    }
                }
            }
        }
#pragma unroll
        for (int m = 0; m < 2; ++m) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                float high = MINUS_INFINITY;
#pragma unroll
                for (int n = 0; n < KEYS / 8; ++n) high = fmaxf(high, fmaxf(score[m][n][2 * r], score[m][n][2 * r + 1]));
                const float next = fmaxf(top[m][r], row_max(high) * args.scale_log2);
                // A row with nothing visible yet: subtract 0, so that its weights come out 0 and not NaN.
                const float base = next == MINUS_INFINITY ? 0.0f : next;
                const float factor = exp2_fast(top[m][r] - base);
                top[m][r] = next;
                weight[m][r] *= factor;
#pragma unroll
                for (int n = 0; n < KEYS / 8; ++n) {
#pragma unroll
                    for (int c = 0; c < 2; ++c) {
                        float& x = score[m][n][2 * r + c];
                        x = exp2_fast(fmaf(x, args.scale_log2, -base));
                        weight[m][r] += x;
                    }
                }
#pragma unroll
                for (int n = 0; n < D_TILES; ++n) {
                    sum[m][n][2 * r] *= factor;
                    sum[m][n][2 * r + 1] *= factor;
                }
            }
        }
#pragma unroll
        for (int kk = 0; kk < KEYS / 16; ++kk) {
            unsigned p[2][4];
#pragma unroll
            for (int m = 0; m < 2; ++m) {
#pragma unroll
                for (int r = 0; r < 4; ++r) {
                    const int n = 2 * kk + (r >> 1), c = (r & 1) * 2;
                    p[m][r] = pack(score[m][n][c], score[m][n][c + 1]);
                }
            }
#pragma unroll
            for (int n = 0; n < D_TILES; n += 2) {
                unsigned b[4];
                load_matrix_transposed(b, values + swizzled<HEAD_DIM>(kk * 16 + (lane & 7) + ((lane >> 3) & 1) * 8,
                                                                      n + (lane >> 4)));
#pragma unroll
                for (int m = 0; m < 2; ++m) {
                    mma(sum[m][n], p[m], b[0], b[1]);
                    mma(sum[m][n + 1], p[m], b[2], b[3]);
                }
            }
        }
    }

    if (args.split_count > 1) {
        await_copies<0>();
#pragma unroll
        for (int m = 0; m < 2; ++m) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                const float total = row_sum(weight[m][r]);
                const int row = warp_row + m * 16 + g + r * 8;
                if (row >= query_count) continue;
                const unsigned long long line =
                    (static_cast<unsigned long long>(split) * args.token_count + query_begin + row) * args.q_heads + head;
                float2* to = reinterpret_cast<float2*>(args.sums + line * HEAD_DIM) + t;
#pragma unroll
                for (int n = 0; n < D_TILES; ++n) to[n * 4] = make_float2(sum[m][n][2 * r], sum[m][n][2 * r + 1]);
                if (t == 0) args.marks[line] = make_float2(top[m][r], total);
            }
        }
        return;
    }
    __nv_bfloat16* output =
        args.output + (static_cast<unsigned long long>(query_begin) * args.q_heads + head) * HEAD_DIM;
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const float scale = 1.0f / row_sum(weight[m][r]);
            const int row = warp_row + m * 16 + g + r * 8;
            if (row >= query_count) continue;
            __nv_bfloat16* to = output + static_cast<unsigned long long>(row) * args.q_heads * HEAD_DIM + t * 2;
#pragma unroll
            for (int n = 0; n < D_TILES; ++n) {
                *reinterpret_cast<unsigned*>(to + n * 8) = pack(sum[m][n][2 * r] * scale, sum[m][n][2 * r + 1] * scale);
            }
        }
    }
}

// Merges the splits of one token and head: one warp each.
template <int HEAD_DIM>
__device__ __forceinline__ void combine(const PrefillArgs& args) {
    constexpr int PER_LANE = HEAD_DIM / 32;
    release_successor();
    await_predecessor();
    const unsigned lane = threadIdx.x & 31;
    const unsigned long long lines = static_cast<unsigned long long>(args.token_count) * args.q_heads;
    const unsigned long long line = static_cast<unsigned long long>(blockIdx.x) * (THREADS / 32) + threadIdx.x / 32;
    if (line >= lines) return;
    float top = MINUS_INFINITY;
    for (unsigned s = 0; s < args.split_count; ++s) top = fmaxf(top, args.marks[s * lines + line].x);
    float sum[PER_LANE] = {};
    float weight = 0.0f;
    for (unsigned s = 0; s < args.split_count; ++s) {
        const float2 mark = args.marks[s * lines + line];
        const float factor = exp2_fast(mark.x - top);
        weight += factor * mark.y;
#pragma unroll
        for (int i = 0; i < PER_LANE; ++i) sum[i] += factor * args.sums[(s * lines + line) * HEAD_DIM + i * 32 + lane];
    }
#pragma unroll
    for (int i = 0; i < PER_LANE; ++i) {
        args.output[line * HEAD_DIM + i * 32 + lane] = __float2bfloat16_rn(sum[i] / weight);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) prefill_attention_64(const __grid_constant__ PrefillArgs args) {
    prefill<64>(args);
}

extern "C" __global__ void __launch_bounds__(THREADS) prefill_attention_128(const __grid_constant__ PrefillArgs args) {
    prefill<128>(args);
}

extern "C" __global__ void __launch_bounds__(THREADS) prefill_combine_64(const __grid_constant__ PrefillArgs args) {
    combine<64>(args);
}

extern "C" __global__ void __launch_bounds__(THREADS) prefill_combine_128(const __grid_constant__ PrefillArgs args) {
    combine<128>(args);
}
