// Decode attention: one query token per sequence over its paged KV, shared out evenly over the CTAs.
//
//   q        [seq_count][token_stride]        bf16; Q heads first in a row: [q_heads][head_dim]
//   k, v     block b at b * block_stride elements: [kv_heads][block_tokens][head_dim]  bf16
//   table    [seq_count][table_stride]        int32, block ids in order
//   context  [seq_count]                      int32, KV tokens of the sequence; 0 gives zeros
//   output   [seq_count][q_heads][head_dim]   bf16
//   shares   [shares]                         what a CTA of each head reads: 8 uint32 each, see `decode_plan.rs`
//   sums     [shares][2][q_heads][head_dim]   float, partial sums
//   scales   [shares][2][q_heads][2]          float, their maxima and weights
//   arrived  [shares][kv_heads]               uint32, zero before and after every launch
//
// group = q_heads / kv_heads <= 16 (grouped-query attention): the Q heads of one KV head are the rows of
// one mma tile, so KV is read once whatever the group.
//
// A strand is the KV of one head of one sequence, and a step 64 tokens of it. The strands of a head lie one behind the other, and a share is a
// run of steps of them: every CTA reads as much, whatever the contexts are. In a CUDA graph, which fixes
// the parameters, one graph serves batches as they grow, because shares come from memory.
//
// Grid: (kv_heads, shares), 128 threads; CTAs of shares without steps leave at once. Heads come first: CTAs that run side by side then read
// neighbouring runs of the same blocks, and find them in the same entries of the TLB.
// Each warp takes every fourth tile of 16 tokens through a ring of its own in shared memory. The ring runs on over the end of a strand: the
// next one's first tiles are on their way while the sums of this one are merged.
// A share has two rows of partial sums: one for the strand that it goes on with, one for the strand that it begins and leaves to
// others. The last CTA to arrive at a strand combines its sums, in order of the shares, so the result does not depend on the order of arrival.
// Where lists, and all KV but the newest token of each sequence, have been there for long, CTAs begin to read before the kernels that make Q and
// that token are over: HBM goes on reading while the heads are rotated.
// Traffic: reads K and V once, 4 * head_dim bytes a token and KV head; writes and reads up to 8 * (head_dim + 2) bytes a share and
// Q head.
// Needs head_dim 64 or 128 and block_tokens a power of two >= 16 (checked by the launcher).
#include "mma.cuh"
#include "overlap.cuh"

struct Share {
    unsigned sequence, step;   // where it begins
    unsigned steps;
    unsigned first, last;      // shares that have a part of the strand in which it begins
    unsigned last_behind;      // the last of those that have a part of the strand in which it ends
    unsigned context;          // of the sequence
    unsigned unused;
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
    unsigned kv_settled;    // only Q and the newest tokens are still to be waited for
};

constexpr unsigned WARPS = 4;
constexpr unsigned TILE = 16;
constexpr unsigned STEP = WARPS * TILE;
constexpr unsigned STAGES = 3;
constexpr unsigned GROUP_MAX = 16;

// The part of a share that lies in one strand.
struct Segment {
    unsigned sequence;
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

    __device__ __forceinline__ bool ends() const { return left == steps; }

    // To the next strand, whose sequence may have `context` tokens or none; false if there is none.
    __device__ __forceinline__ bool next(const DecodeArgs& args, unsigned context) {
        left -= steps;
        first_step = 0;
        ++sequence;
        while (context == 0 && sequence + 1 < args.seq_count) context = args.context[++sequence];
        open(context);
        return context > 0;
    }

    __device__ __forceinline__ bool next(const DecodeArgs& args) {
        return !ends() && sequence + 1 < args.seq_count && next(args, args.context[sequence + 1]);
    }

    __device__ __forceinline__ unsigned tiles_of(unsigned warp) const {
        const unsigned count = (end - begin + TILE - 1) / TILE;
        return count > warp ? (count - warp + WARPS - 1) / WARPS : 0;
    }
};

template <int HEAD_DIM>
__device__ __forceinline__ void load_tile(const DecodeArgs& args, unsigned shared, unsigned block, unsigned token, unsigned end) {
    constexpr unsigned CHUNKS = HEAD_DIM / 8;
    const unsigned lane = threadIdx.x & 31;
    const unsigned place = token & ((1u << args.block_shift) - 1);
    const unsigned long long line =
        block * args.block_stride + ((static_cast<unsigned long long>(blockIdx.x) << args.block_shift) + place) * HEAD_DIM;
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
    unsigned tile, tiles;          // of the segment
    int ids;                       // block ids of 32 tiles, one a lane
    bool more;
    // Of the next sequence, so that its first tile need not wait for them: context, and block ids of its first 32 tiles.
    unsigned next_context;
    int next_ids;

    __device__ __forceinline__ void open(const DecodeArgs& args, const Segment& first, unsigned warp) {
        at = first;
        more = true;
        tile = 0;
        ids = ids_from(args, warp);
        begin(args, warp);
    }

    // Starts the next tile, if there is one; ends a group of copies in any case.
    __device__ __forceinline__ void load(const DecodeArgs& args, unsigned warp, unsigned shared) {
        while (more && tile == tiles) {
            const unsigned expected = at.sequence + 1;
            more = !at.ends() && expected < args.seq_count && at.next(args, next_context);
            if (!more) break;
            const int known = next_ids;
            begin(args, warp);
            ids = at.sequence == expected ? known : ids_from(args, warp);
        }
        if (more) {
            if (tile > 0 && (tile & 31) == 0) ids = ids_from(args, warp);
            const unsigned block = __shfl_sync(0xffffffffu, ids, tile & 31);
            load_tile<HEAD_DIM>(args, shared, block, at.begin + (tile * WARPS + warp) * TILE, at.end);
            ++tile;
        }
        commit_copies();
    }

private:
    __device__ __forceinline__ int id_of(const DecodeArgs& args, unsigned sequence, unsigned token) const {
        const unsigned entry = token >> args.block_shift;
        return entry < args.table_stride ? args.table[static_cast<unsigned long long>(sequence) * args.table_stride + entry] : 0;
    }

    __device__ __forceinline__ int ids_from(const DecodeArgs& args, unsigned warp) const {
        return id_of(args, at.sequence, at.begin + ((tile + (threadIdx.x & 31)) * WARPS + warp) * TILE);
    }

    __device__ __forceinline__ void begin(const DecodeArgs& args, unsigned warp) {
        tile = 0;
        tiles = at.tiles_of(warp);
        if (!at.ends() && at.sequence + 1 < args.seq_count) {
            next_context = args.context[at.sequence + 1];
            next_ids = id_of(args, at.sequence + 1, ((threadIdx.x & 31) * WARPS + warp) * TILE);
        }
    }
};

// A row of HEAD_DIM floats, in pairs: lane by lane, then the next pair of each lane.
template <int HEAD_DIM>
struct Row {
    float2 pairs[HEAD_DIM / 64] = {};

    __device__ __forceinline__ void scale(float by) {
#pragma unroll
        for (float2& pair : pairs) pair = make_float2(pair.x * by, pair.y * by);
    }
    __device__ __forceinline__ void add(float factor, const float* from) {
#pragma unroll
        for (unsigned i = 0; i < HEAD_DIM / 64; ++i) {
            const float2 pair = __ldcg(reinterpret_cast<const float2*>(from) + i * 32 + (threadIdx.x & 31));
            pairs[i].x += factor * pair.x;
            pairs[i].y += factor * pair.y;
        }
    }
    __device__ __forceinline__ void write(__nv_bfloat16* to) const {
#pragma unroll
        for (unsigned i = 0; i < HEAD_DIM / 64; ++i) {
            reinterpret_cast<unsigned*>(to)[i * 32 + (threadIdx.x & 31)] = pack(pairs[i].x, pairs[i].y);
        }
    }
};

// Writes the attention of one row of the CTA's group from the partial sums of shares `first` to `last`; for one warp.
template <int HEAD_DIM>
__device__ __forceinline__ void combine(const DecodeArgs& args, unsigned first, unsigned last, unsigned group, unsigned row,
                                        __nv_bfloat16* output) {
    const unsigned lane = threadIdx.x & 31, count = last - first + 1;
    // The first share begins the strand, the others go on with it.
    auto line = [&](unsigned part) { return (2 * (first + part) + (part == 0)) * args.q_heads + blockIdx.x * group + row; };
    Row<HEAD_DIM> sum;
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
        sum.scale(before);
#pragma unroll 8
        for (unsigned part = 0; part < parts; ++part) {
            const float* from = args.sums + static_cast<unsigned long long>(line(begin + part)) * HEAD_DIM;
            sum.add(__shfl_sync(0xffffffffu, factor, part), from);
        }
    }
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) weight += __shfl_xor_sync(0xffffffffu, weight, distance);
    sum.scale(1.0f / weight);
    sum.write(output + row * HEAD_DIM);
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
    if (!args.kv_settled) await_predecessor();
    const unsigned group = args.q_heads / args.kv_heads;
    const unsigned row_width = args.q_heads * HEAD_DIM;
    auto output_of = [&](unsigned sequence) {
        return args.output + static_cast<unsigned long long>(sequence) * row_width + blockIdx.x * group * HEAD_DIM;
    };
    // What nobody attends to.
    auto clear = [&] {
        for (unsigned sequence = blockIdx.y; sequence < args.seq_count; sequence += gridDim.y) {
            if (args.context[sequence] != 0) continue;
            __nv_bfloat16* rows = output_of(sequence);
            for (unsigned i = threadIdx.x; i < group * HEAD_DIM; i += blockDim.x) rows[i] = __float2bfloat16_rn(0.0f);
        }
    };
    const Share share = args.shares[blockIdx.y];
    if (share.steps == 0) {
        await_predecessor();
        clear();
        return;
    }

    const unsigned lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    const unsigned g = lane / 4, t = lane % 4;
    const unsigned ring_at = warp * STAGES * STAGE_BYTES;
    const unsigned ring = static_cast<unsigned>(__cvta_generic_to_shared(memory)) + ring_at;
    Segment at;
    at.sequence = share.sequence;
    at.first_step = share.step;
    at.left = share.steps;
    at.open(share.context);
    Loader<HEAD_DIM> loader;
    loader.open(args, at, warp);
    // Unless the newest token is among the first tiles, these need not wait for it.
    if (at.begin + (STAGES - 1) * STEP >= share.context) await_predecessor();
#pragma unroll
    for (unsigned i = 0; i < STAGES - 1; ++i) loader.load(args, warp, ring + i * STAGE_BYTES);
    await_predecessor();
    unsigned query[K_STEPS][4];
    auto load_query = [&](unsigned sequence) {
        const __nv_bfloat16* q =
            args.q + static_cast<unsigned long long>(sequence) * args.token_stride + blockIdx.x * group * HEAD_DIM;
#pragma unroll
        for (int kk = 0; kk < K_STEPS; ++kk) {
#pragma unroll
            for (int r = 0; r < 4; ++r) {
                const unsigned row = g + (r & 1) * 8, d = kk * 16 + (r >> 1) * 8 + t * 2;
                query[kk][r] = row < group ? *reinterpret_cast<const unsigned*>(q + row * HEAD_DIM + d) : 0u;
            }
        }
    };
    load_query(at.sequence);
    clear();
    unsigned stage = 0;             // the next to be read
    unsigned free = STAGES - 1;     // the one that nothing is on its way to
    const bool goes_on = share.step > 0;
    bool begins = !goes_on;
    Segment done;
    for (;; begins = true) {
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

        done = at;
        const bool more = at.next(args);
        // On its way while sums are merged.
        if (more) load_query(at.sequence);

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
        const bool whole = done.steps == done.strand_steps;
        __nv_bfloat16* output = output_of(done.sequence);
        const unsigned line = (2 * blockIdx.y + begins) * args.q_heads + blockIdx.x * group;
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
        if (!more) break;
        // The stages of the sums are refilled from here on.
        __syncthreads();
    }

    // Both strands that this CTA shares with others, at once.
    const bool leaves = begins && done.steps < done.strand_steps;
    if (!goes_on && !leaves) return;
    __threadfence();
    __syncthreads();
    if (lane == 0 && warp < 2) {
        const unsigned first = warp == 0 ? share.first : blockIdx.y, last = warp == 0 ? share.last : share.last_behind;
        unsigned* arrived = args.arrived + first * args.kv_heads + blockIdx.x;
        complete[warp] = (warp == 0 ? goes_on : leaves) && atomicAdd(arrived, 1) == last - first;
        if (complete[warp]) *arrived = 0;
    }
    __syncthreads();
    if (!complete[0] && !complete[1]) return;
    __threadfence();
    for (unsigned i = warp; i < 2 * group; i += WARPS) {
        if (i < group && complete[0]) {
            combine<HEAD_DIM>(args, share.first, share.last, group, i, output_of(share.sequence));
        } else if (i >= group && complete[1]) {
            combine<HEAD_DIM>(args, blockIdx.y, share.last_behind, group, i - group, output_of(done.sequence));
        }
    }
}

extern "C" __global__ void __launch_bounds__(WARPS * 32, 2) decode_attention_64(const __grid_constant__ DecodeArgs args) {
    decode<64>(args);
}

extern "C" __global__ void __launch_bounds__(WARPS * 32, 2) decode_attention_128(const __grid_constant__ DecodeArgs args) {
    decode<128>(args);
}
