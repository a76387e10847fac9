// Decode attention: one query token per sequence over its paged KV, shared out evenly over the CTAs.
//
//   q        [seq_count][token_stride]        bf16; Q heads first in a row: [q_heads][head_dim]
//   k, v     block b at b * block_stride elements: [kv_heads][block_tokens][head_dim]  bf16
//   table    [seq_count][table_stride]        int32, block ids in order
//   context  [seq_count]                      int32, KV tokens of the sequence; 0 gives zeros
//   output   [seq_count][q_heads][head_dim]   bf16
//   shares   [gridDim.x]                      what each CTA reads: 8 uint32 each, see `decode_plan.rs`
//   sums     [gridDim.x][2][group][head_dim]  float, partial sums
//   scales   [gridDim.x][2][group][2]         float, their maxima and weights
//   arrived  [gridDim.x]                      uint32, zero before and after every launch
//
// group = q_heads / kv_heads <= 16 (grouped-query attention): the Q heads of one KV head are the rows of
// one mma tile, so KV is read once whatever the group.
//
// A strand is the KV of one head of one sequence, and a step 64 tokens of it. Strands lie one behind the other, the heads of a sequence side
// by side, and a share is a run of steps of them: every CTA reads as much, whatever the contexts are. In a CUDA graph, which fixes
// the parameters, one graph serves batches as they grow, because shares come from memory.
//
// Grid: one CTA of 128 threads a share; those without steps leave at once.
// Each warp takes every fourth tile of 16 tokens through a ring of its own in shared memory. The ring runs on over the end of a strand: the
// next one's first tiles are on their way while the sums of this one are merged.
// A share has two rows of partial sums: one for the strand that it goes on with, one for the strand that it begins and leaves to
// others. The last CTA to arrive at a strand combines its sums, in order of the shares, so the result does not depend on the order of arrival.
// Traffic: reads K and V once, 4 * head_dim bytes a token and KV head; writes and reads up to 8 * (head_dim + 2) bytes a share and
// Q head of a group.
// Needs head_dim 64 or 128 and block_tokens a power of two >= 16 (checked by the launcher).
#include "mma.cuh"
#include "overlap.cuh"

struct Share {
    unsigned sequence, head, step;   // where it begins
    unsigned steps;
    unsigned first, last;            // CTAs that share the strand in which it begins
    unsigned last_behind;            // the last of those that share the strand in which it ends
    unsigned context;                // of the sequence
};

struct DecodeArgs {
    const __nv_bfloat16* q;
    const __nv_bfloat16* k;
    const __nv_bfloat16* v;
    const int* table;
    const int* context;
    __nv_bfloat16* output;
    const Share* shares;
    float* sums;
    float2* scales;
    unsigned* arrived;
    unsigned long long block_stride;
    unsigned token_stride;
    unsigned table_stride;
    unsigned seq_count;
    unsigned q_heads;
    unsigned kv_heads;
    unsigned block_shift;   // log2 of block_tokens
    float scale_log2;       // log2(e) / sqrt(head_dim)
};

constexpr unsigned WARPS = 4;
constexpr unsigned TILE = 16;
constexpr unsigned STEP = WARPS * TILE;
constexpr unsigned STAGES = 3;
constexpr unsigned GROUP_MAX = 16;

// The part of a share that lies in one strand.
struct Segment {
    unsigned sequence, head;
    unsigned first_step, steps;
    unsigned strand_steps;
    unsigned begin, end;   // tokens
    unsigned left;         // steps of the share, this segment's included

    __device__ __forceinline__ void open(unsigned context) {
        strand_steps = (context + STEP - 1) / STEP;
        steps = min(left, strand_steps - first_step);
        begin = first_step * STEP;
        end = min((first_step + steps) * STEP, context);
    }

    // To the next strand; false at the end of the share.
    __device__ __forceinline__ bool next(const DecodeArgs& args) {
        left -= steps;
        if (left == 0) return false;
        first_step = 0;
        if (++head == args.kv_heads) {
            head = 0;
            do ++sequence;
            while (sequence < args.seq_count && args.context[sequence] == 0);
            if (sequence >= args.seq_count) return false;
        }
        open(args.context[sequence]);
        return true;
    }

    __device__ __forceinline__ unsigned tiles_of(unsigned warp) const {
        const unsigned count = (end - begin + TILE - 1) / TILE;
        return count > warp ? (count - warp + WARPS - 1) / WARPS : 0;
    }
};

template <int HEAD_DIM>
__device__ __forceinline__ void load_tile(const DecodeArgs& args, unsigned shared, unsigned block, unsigned head, unsigned token,
                                          unsigned end) {
    constexpr unsigned CHUNKS = HEAD_DIM / 8;
    const unsigned lane = threadIdx.x & 31;
    const unsigned place = token & ((1u << args.block_shift) - 1);
    const unsigned long long line =
        block * args.block_stride + ((static_cast<unsigned long long>(head) << args.block_shift) + place) * HEAD_DIM;
#pragma unroll
    for (unsigned i = lane; i < TILE * CHUNKS; i += 32) {
        const unsigned row = i / CHUNKS, chunk = i % CHUNKS;
        const bool present = token + row < end;
        const unsigned target = shared + swizzled<HEAD_DIM>(row, chunk);
        copy_async_once(target, args.k + line + i * 8, present);
        copy_async_once(target + TILE * HEAD_DIM * 2, args.v + line + i * 8, present);
    }
}

// Loads the tiles of a share that one warp reads, one after the other.
template <int HEAD_DIM>
struct Loader {
    Segment at;
    unsigned tile, tiles;   // of the segment
    int ids;                // block ids of 32 tiles, one a lane
    bool more;

    __device__ __forceinline__ void open(const Segment& first, unsigned warp) {
        at = first;
        tile = 0;
        tiles = at.tiles_of(warp);
        more = true;
    }

    // Starts the next tile, if there is one; ends a group of copies in any case.
    __device__ __forceinline__ void load(const DecodeArgs& args, unsigned warp, unsigned shared) {
        while (more && tile == tiles) {
            more = at.next(args);
            tile = 0;
            tiles = more ? at.tiles_of(warp) : 0;
        }
        if (more) {
            const unsigned lane = threadIdx.x & 31;
            if ((tile & 31) == 0) {
                const int* table = args.table + static_cast<unsigned long long>(at.sequence) * args.table_stride;
                const unsigned token = at.begin + ((tile + lane) * WARPS + warp) * TILE;
                ids = token < at.end ? table[token >> args.block_shift] : 0;
            }
            const unsigned block = __shfl_sync(0xffffffffu, ids, tile & 31);
            load_tile<HEAD_DIM>(args, shared, block, at.head, at.begin + (tile * WARPS + warp) * TILE, at.end);
            ++tile;
        }
        commit_copies();
    }
};

// A row of HEAD_DIM floats, as many to a lane as there are in a vector.
template <int HEAD_DIM>
struct Vector;
template <>
struct Vector<64> {
    using Type = float2;
    static __device__ __forceinline__ void add(float2& sum, float factor, float2 x) {
        sum.x += factor * x.x;
        sum.y += factor * x.y;
    }
    static __device__ __forceinline__ float2 times(float2 x, float by) { return make_float2(x.x * by, x.y * by); }
    static __device__ __forceinline__ void write(__nv_bfloat16* to, float2 x) { *reinterpret_cast<unsigned*>(to) = pack(x.x, x.y); }
};
template <>
struct Vector<128> {
    using Type = float4;
    static __device__ __forceinline__ void add(float4& sum, float factor, float4 x) {
        sum.x += factor * x.x;
        sum.y += factor * x.y;
        sum.z += factor * x.z;
        sum.w += factor * x.w;
    }
    static __device__ __forceinline__ float4 times(float4 x, float by) { return make_float4(x.x * by, x.y * by, x.z * by, x.w * by); }
    static __device__ __forceinline__ void write(__nv_bfloat16* to, float4 x) {
        *reinterpret_cast<uint2*>(to) = make_uint2(pack(x.x, x.y), pack(x.z, x.w));
    }
};

// Writes the attention of one row of a group from the partial sums of CTAs `first` to `last`; for one warp.
template <int HEAD_DIM>
__device__ __forceinline__ void combine(const DecodeArgs& args, unsigned first, unsigned last, unsigned group, unsigned row,
                                        __nv_bfloat16* output) {
    using Row = typename Vector<HEAD_DIM>::Type;
    const unsigned lane = threadIdx.x & 31, count = last - first + 1;
    // The first CTA begins the strand, the others go on with it.
    auto line = [&](unsigned part) { return (2 * (first + part) + (part == 0)) * group + row; };
    Row sum = {};
    float top = MINUS_INFINITY, weight = 0.0f;
    for (unsigned begin = 0; begin < count; begin += 32) {
        const unsigned parts = min(count - begin, 32u);
        const float2 scale = lane < parts ? __ldcg(args.scales + line(begin + lane)) : make_float2(MINUS_INFINITY, 0.0f);
        float next = fmaxf(top, scale.x);
#pragma unroll
        for (int distance = 16; distance > 0; distance /= 2) next = fmaxf(next, __shfl_xor_sync(0xffffffffu, next, distance));
        const float before = exp2_fast(top - next), factor = exp2_fast(scale.x - next);
        top = next;
        weight = weight * before + factor * scale.y;
        sum = Vector<HEAD_DIM>::times(sum, before);
#pragma unroll 8
        for (unsigned part = 0; part < parts; ++part) {
            const float* from = args.sums + static_cast<unsigned long long>(line(begin + part)) * HEAD_DIM;
            Vector<HEAD_DIM>::add(sum, __shfl_sync(0xffffffffu, factor, part), __ldcg(reinterpret_cast<const Row*>(from) + lane));
        }
    }
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) weight += __shfl_xor_sync(0xffffffffu, weight, distance);
    Vector<HEAD_DIM>::write(output + row * HEAD_DIM + lane * (HEAD_DIM / 32), Vector<HEAD_DIM>::times(sum, 1.0f / weight));
}

template <int HEAD_DIM>
__device__ __forceinline__ void decode(const DecodeArgs& args) {
    constexpr int K_STEPS = HEAD_DIM / 16;
    constexpr int D_TILES = HEAD_DIM / 8;
    constexpr unsigned STAGE_BYTES = 2 * TILE * HEAD_DIM * 2;
    static_assert(STAGE_BYTES == GROUP_MAX * HEAD_DIM * sizeof(float), "a stage holds the sums of a warp");
    extern __shared__ __align__(128) unsigned char memory[];
    __shared__ float tops[WARPS][GROUP_MAX], weights[WARPS][GROUP_MAX];
    __shared__ unsigned merged_at[WARPS];
    __shared__ bool complete[2];

    release_successor();
    await_predecessor();
    const unsigned group = args.q_heads / args.kv_heads;
    const unsigned row_width = args.q_heads * HEAD_DIM;
    // What nobody attends to.
    auto clear = [&] {
        for (unsigned sequence = blockIdx.x; sequence < args.seq_count; sequence += gridDim.x) {
            if (args.context[sequence] != 0) continue;
            __nv_bfloat16* row = args.output + static_cast<unsigned long long>(sequence) * row_width;
            for (unsigned i = threadIdx.x; i < row_width; i += blockDim.x) row[i] = __float2bfloat16_rn(0.0f);
        }
    };
    const Share share = args.shares[blockIdx.x];
    if (share.steps == 0) {
        clear();
        return;
    }

    const unsigned lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    const unsigned g = lane / 4, t = lane % 4;
    const unsigned ring_at = warp * STAGES * STAGE_BYTES;
    const unsigned ring = static_cast<unsigned>(__cvta_generic_to_shared(memory)) + ring_at;
    Segment at;
    at.sequence = share.sequence;
    at.head = share.head;
    at.first_step = share.step;
    at.left = share.steps;
    at.open(share.context);
    Loader<HEAD_DIM> loader;
    loader.open(at, warp);
#pragma unroll
    for (unsigned i = 0; i < STAGES - 1; ++i) loader.load(args, warp, ring + i * STAGE_BYTES);
    clear();
    auto output_of = [&](unsigned sequence, unsigned head) {
        return args.output + static_cast<unsigned long long>(sequence) * row_width + head * group * HEAD_DIM;
    };
    unsigned stage = 0;             // the next to be read
    unsigned free = STAGES - 1;     // the one that nothing is on its way to
    const bool goes_on = share.step > 0;
    bool begins = !goes_on, whole;
    for (;; begins = true) {
        unsigned query[K_STEPS][4];
        const __nv_bfloat16* q =
            args.q + static_cast<unsigned long long>(at.sequence) * args.token_stride + at.head * group * HEAD_DIM;
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
        const unsigned tiles = at.tiles_of(warp);
        for (unsigned i = 0; i < tiles; ++i) {
            await_copies<STAGES - 2>();
            // The stage refilled here was read in the last round; __syncwarp ends that round for all lanes.
            __syncwarp();
            loader.load(args, warp, ring + free * STAGE_BYTES);
            const unsigned keys = ring + stage * STAGE_BYTES;
            const unsigned values = keys + TILE * HEAD_DIM * 2;
            free = stage;
            stage = stage == STAGES - 1 ? 0 : stage + 1;

            float score[2][4] = {};
#pragma unroll
            for (int kk = 0; kk < K_STEPS; ++kk) {
                unsigned b[4];
                load_matrix(b, keys + swizzled<HEAD_DIM>((lane & 7) + ((lane >> 4) & 1) * 8, kk * 2 + ((lane >> 3) & 1)));
                mma(score[0], query[kk], b[0], b[1]);
                mma(score[1], query[kk], b[2], b[3]);
            }
            const unsigned token = at.begin + (i * WARPS + warp) * TILE;
            if (token + TILE > at.end) {
#pragma unroll
                for (int n = 0; n < 2; ++n) {
#pragma unroll
                    for (int r = 0; r < 4; ++r) {
                        if (token + n * 8 + t * 2 + (r & 1) >= at.end) score[n][r] = MINUS_INFINITY;
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

        // Merge the four warps through shared memory: [row][head_dim] in the free stage of each warp's ring.
        __syncwarp();
        float* merged = reinterpret_cast<float*>(memory + ring_at + free * STAGE_BYTES);
        if (lane == 0) merged_at[warp] = ring_at + free * STAGE_BYTES;
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const unsigned row = g + r * 8;
            const float total = row_sum(weight[r]);
            if (row < group) {
#pragma unroll
                for (int n = 0; n < D_TILES; ++n) {
                    *reinterpret_cast<float2*>(merged + row * HEAD_DIM + n * 8 + t * 2) = make_float2(sum[n][2 * r], sum[n][2 * r + 1]);
                }
                if (t == 0) {
                    tops[warp][row] = top[r];
                    weights[warp][row] = total;
                }
            }
        }
        __syncthreads();
        whole = at.steps == at.strand_steps;
        __nv_bfloat16* output = output_of(at.sequence, at.head);
        const unsigned line = (2 * blockIdx.x + begins) * group;
        for (unsigned i = threadIdx.x; i < group * HEAD_DIM; i += blockDim.x) {
            const unsigned row = i / HEAD_DIM, d = i % HEAD_DIM;
            float high = tops[0][row];
#pragma unroll
            for (unsigned w = 1; w < WARPS; ++w) high = fmaxf(high, tops[w][row]);
            float value = 0.0f, total = 0.0f;
#pragma unroll
            for (unsigned w = 0; w < WARPS; ++w) {
                // A warp without a tile has maximum minus infinity, hence factor 0.
                const float factor = exp2_fast(tops[w][row] - high);
                value += factor * reinterpret_cast<const float*>(memory + merged_at[w])[i];
                total += factor * weights[w][row];
            }
            if (whole) {
                output[i] = __float2bfloat16_rn(value / total);
            } else {
                args.sums[static_cast<unsigned long long>(line) * HEAD_DIM + i] = value;
                if (d == 0) args.scales[line + row] = make_float2(high, total);
            }
        }
        if (!at.next(args)) break;
        // The stages of the sums are refilled from here on.
        __syncthreads();
    }

    // Both strands that this CTA shares with others, at once.
    const bool leaves = begins && !whole;
    if (!goes_on && !leaves) return;
    __threadfence();
    __syncthreads();
    if (lane == 0 && warp < 2) {
        const unsigned first = warp == 0 ? share.first : blockIdx.x, last = warp == 0 ? share.last : share.last_behind;
        complete[warp] = (warp == 0 ? goes_on : leaves) && atomicAdd(args.arrived + first, 1) == last - first;
        if (complete[warp]) args.arrived[first] = 0;
    }
    __syncthreads();
    if (!complete[0] && !complete[1]) return;
    __threadfence();
    for (unsigned i = warp; i < 2 * group; i += WARPS) {
        if (i < group && complete[0]) {
            combine<HEAD_DIM>(args, share.first, share.last, group, i, output_of(share.sequence, share.head));
        } else if (i >= group && complete[1]) {
            combine<HEAD_DIM>(args, blockIdx.x, share.last_behind, group, i - group, output_of(at.sequence, at.head));
        }
    }
}

extern "C" __global__ void __launch_bounds__(WARPS * 32, 2) decode_attention_64(const __grid_constant__ DecodeArgs args) {
    decode<64>(args);
}

extern "C" __global__ void __launch_bounds__(WARPS * 32, 2) decode_attention_128(const __grid_constant__ DecodeArgs args) {
    decode<128>(args);
}
