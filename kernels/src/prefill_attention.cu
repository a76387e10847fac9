// Chunked prefill attention on tensor cores: a chunk of query tokens per sequence, causal, over the
// sequence's paged KV (which already holds the chunk's own K and V).
//
//   q           [token_count][token_stride]       bf16; Q heads first in a row: [q_heads][head_dim]
//   k, v        block b at b * block_stride elements: [kv_heads][block_tokens][head_dim]  bf16
//   table       [seq_count][table_stride]         int32, block ids in order
//   parts       [part_count]                      Part, longest first (prefill_plan.rs)
//   merges      [merge_count]                     Merge
//   output      [token_count][q_heads][head_dim]  bf16
//   sums        [partial_rows][q_heads][head_dim] float; only where a tile of queries has more than one part
//   marks       [partial_rows][q_heads][2]        float: maximum and weight of each sum
//
// Row i of a part sees the first past + i + 1 tokens of its sequence.
//
// Grid: (q_heads, part_count), 128 threads; a CTA takes up to 128 query rows of one head and the tiles of keys of its part. A warp owns
// 32 rows: their sums stay in registers and each K or V fragment serves two mma tiles. K and V pass through shared memory
// in tiles of 64 tokens; V arrives while QK^T runs, the next K while softmax and PV run.
// The scheme is FlashAttention-2 (Dao, ICLR 2024), over block tables. A short chunk on a long context has
// too few rows to fill the GPU: its context is then read in parts, and prefill_combine merges them, one warp
// per token and head, in their order; its grid is (ceil(merge_rows * q_heads / 4), merge_count).
// Work: 4 * head_dim operations per (query, visible token, Q head), half of the tile on the diagonal wasted.
// Traffic: each CTA reads the visible K and V of its head once, from L2 for all but the first.
// Needs head_dim 64 or 128, block_tokens a power of two >= 16 (checked by the launcher).
#include "mma.cuh"
#include "overlap.cuh"

// Tiles of keys that a CTA reads for up to 128 query rows of a chunk.
struct __align__(16) Part {
    int sequence;
    int row;        // first row in q
    int rows;
    int past;       // tokens that the first row sees before itself
    int first;      // tile of keys
    int end;
    int partial;    // first row of partial sums; -1 if this is all that the rows see
    int unused;
};

// Parts of the same query rows.
struct __align__(16) Merge {
    int row;
    int rows;
    int partial;    // first row of partial sums: [part_count][rows]
    int part_count;
};

struct PrefillArgs {
    const __nv_bfloat16* q;
    const __nv_bfloat16* k;
    const __nv_bfloat16* v;
    const int* table;
    const Part* parts;
    const Merge* merges;
    __nv_bfloat16* output;
    float* sums;
    float2* marks;
    unsigned long long block_stride;
    unsigned token_stride;
    unsigned table_stride;
    unsigned q_heads;
    unsigned kv_heads;
    unsigned block_shift;   // log2 of block_tokens
    float scale_log2;       // log2(e) / sqrt(head_dim)
};

constexpr int THREADS = 128;
constexpr int ROWS = 128;    // query rows of a CTA
constexpr int KEYS = 64;     // tokens of a K or V tile

// Starts the copy of K or V rows first .. first + 63 of one head; rows from `visible` on become zero.
template <int HEAD_DIM>
__device__ __forceinline__ void load_keys(const PrefillArgs& args, const __nv_bfloat16* pool, const int* table,
                                          unsigned head, unsigned shared, int first, int visible) {
    constexpr int CHUNKS = HEAD_DIM / 8;
    constexpr int STEP = THREADS / CHUNKS;
    const int chunk = threadIdx.x % CHUNKS;
#pragma unroll
    for (int i = 0; i < KEYS / STEP; ++i) {
        const int row = threadIdx.x / CHUNKS + i * STEP;
        const int token = first + row;
        const bool present = token < visible;
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

    const Part part = args.parts[blockIdx.y];
    const int head = blockIdx.x;
    const int visible = part.past + part.rows;   // tokens that the last row sees
    const int kv_head = head / (args.q_heads / args.kv_heads);
    const int* table = args.table + static_cast<unsigned long long>(part.sequence) * args.table_stride;

    const unsigned queries = static_cast<unsigned>(__cvta_generic_to_shared(memory));
    const unsigned keys = queries + ROWS * HEAD_DIM * 2;
    const unsigned values = keys + KEYS * HEAD_DIM * 2;
    const int lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    const int g = lane / 4, t = lane % 4;

    const __nv_bfloat16* q = args.q + static_cast<unsigned long long>(part.row) * args.token_stride + head * HEAD_DIM;
#pragma unroll
    for (int i = 0; i < ROWS * CHUNKS / THREADS; ++i) {
        const int row = threadIdx.x / CHUNKS + i * (THREADS / CHUNKS), chunk = threadIdx.x % CHUNKS;
        const bool present = row < part.rows;
        const __nv_bfloat16* from = q + static_cast<unsigned long long>(present ? row : 0) * args.token_stride;
        copy_async(queries + swizzled<HEAD_DIM>(row, chunk), from + chunk * 8, present);
    }
    const int last_first = part.first * KEYS;
    int first = (part.end - 1) * KEYS;
    load_keys<HEAD_DIM>(args, args.k, table, kv_head, keys, first, visible);
    commit_copies();

    float sum[2][D_TILES][4] = {};
    float top[2][2] = {{MINUS_INFINITY, MINUS_INFINITY}, {MINUS_INFINITY, MINUS_INFINITY}};
    float weight[2][2] = {};
    const int warp_row = warp * 32;

    for (; first >= last_first; first -= KEYS) {
        await_copies<0>();
        __syncthreads();
        load_keys<HEAD_DIM>(args, args.v, table, kv_head, values, first, visible);
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
            load_keys<HEAD_DIM>(args, args.k, table, kv_head, keys, first - KEYS, visible);
            commit_copies();
        }

        // Only tiles that reach past the warp's first query need the causal mask, which also ends what was copied for the rows of the part.
        if (first + KEYS - 1 > part.past + warp_row) {
#pragma unroll
            for (int m = 0; m < 2; ++m) {
#pragma unroll
                for (int n = 0; n < KEYS / 8; ++n) {
#pragma unroll
                    for (int r = 0; r < 4; ++r) {
                        const int token = first + n * 8 + t * 2 + (r & 1);
                        const int row = warp_row + m * 16 + g + (r >> 1) * 8;
                        if (token > part.past + row) score[m][n][r] = MINUS_INFINITY;
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

    if (part.partial >= 0) {
#pragma unroll
        for (int m = 0; m < 2; ++m) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                const float total = row_sum(weight[m][r]);
                const int row = warp_row + m * 16 + g + r * 8;
                if (row >= part.rows) continue;
                const unsigned long long line = static_cast<unsigned long long>(part.partial + row) * args.q_heads + head;
                float2* to = reinterpret_cast<float2*>(args.sums + line * HEAD_DIM) + t;
#pragma unroll
                for (int n = 0; n < D_TILES; ++n) to[n * 4] = make_float2(sum[m][n][2 * r], sum[m][n][2 * r + 1]);
                if (t == 0) args.marks[line] = make_float2(top[m][r], total);
            }
        }
        return;
    }
    __nv_bfloat16* output =
        args.output + (static_cast<unsigned long long>(part.row) * args.q_heads + head) * HEAD_DIM;
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const float scale = 1.0f / row_sum(weight[m][r]);
            const int row = warp_row + m * 16 + g + r * 8;
            if (row >= part.rows) continue;
            __nv_bfloat16* to = output + static_cast<unsigned long long>(row) * args.q_heads * HEAD_DIM + t * 2;
#pragma unroll
            for (int n = 0; n < D_TILES; ++n) {
                *reinterpret_cast<unsigned*>(to + n * 8) = pack(sum[m][n][2 * r] * scale, sum[m][n][2 * r + 1] * scale);
            }
        }
    }
}

// Merges the parts of one token and head: one warp each.
template <int HEAD_DIM>
__device__ __forceinline__ void combine(const PrefillArgs& args) {
    constexpr int PER_LANE = HEAD_DIM / 32;
    release_successor();
    await_predecessor();
    const Merge merge = args.merges[blockIdx.y];
    const unsigned lane = threadIdx.x & 31;
    // Token and head, of those of the merge.
    const unsigned long long of = static_cast<unsigned long long>(blockIdx.x) * (THREADS / 32) + threadIdx.x / 32;
    const unsigned long long lines = static_cast<unsigned long long>(merge.rows) * args.q_heads;
    if (of >= lines) return;
    const unsigned long long first = static_cast<unsigned long long>(merge.partial) * args.q_heads + of;
    float top = MINUS_INFINITY;
    for (int part = 0; part < merge.part_count; ++part) top = fmaxf(top, args.marks[first + part * lines].x);
    float sum[PER_LANE] = {};
    float weight = 0.0f;
    for (int part = 0; part < merge.part_count; ++part) {
        const unsigned long long line = first + part * lines;
        const float2 mark = args.marks[line];
        const float factor = exp2_fast(mark.x - top);
        weight += factor * mark.y;
#pragma unroll
        for (int i = 0; i < PER_LANE; ++i) sum[i] += factor * args.sums[line * HEAD_DIM + i * 32 + lane];
    }
    __nv_bfloat16* output = args.output + (static_cast<unsigned long long>(merge.row) * args.q_heads + of) * HEAD_DIM;
#pragma unroll
    for (int i = 0; i < PER_LANE; ++i) output[i * 32 + lane] = __float2bfloat16_rn(sum[i] / weight);
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
