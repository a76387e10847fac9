// Rotary position embedding of Q (in place) and K, and the write of K and V into paged KV blocks; before it, where a model has
// them, the bias of the three projections and the RMSNorm of each head of Q and K.
//
//   qkv       [token_count][token_stride]  bf16; in a row: Q [q_heads][head_dim], then K and V
//                                          [kv_heads][head_dim] each
//   bias      [token_stride]  bf16, added to every row; or null
//   norm      [2][head_dim]   bf16, weights for the heads of Q and of K; or null
//   positions [token_count]   int32
//   slots     [token_count]   int32, block id * block_tokens + place in the block; negative: no write
//   frequency [head_dim / 2]  float, angle per position of each pair
//   k, v      block b at b * block_stride elements: [kv_heads][block_tokens][head_dim]  bf16
//
// Pairs are (i, i + head_dim / 2), as in Llama's released weights for Transformers:
//   first' = first * cos - second * sin,   second' = second * cos + first * sin.
// Arithmetic in float from the projections to the rotated heads, one rounding at the end.
//
// Grid: one CTA of 256 threads per token; sine and cosine are computed once per token and pair.
// Traffic: reads a row of qkv once, writes Q back and K and V into their blocks.
// Needs head_dim % 16 == 0, head_dim <= 256 and 16-byte aligned rows; head_dim a power of two for `norm` (checked by the launcher).
#include "bf16.cuh"
#include "overlap.cuh"

struct RopeArgs {
    __nv_bfloat16* qkv;
    const __nv_bfloat16* bias;
    const __nv_bfloat16* norm;
    const int* positions;
    const int* slots;
    const float* frequency;
    __nv_bfloat16* k;
    __nv_bfloat16* v;
    unsigned long long block_stride;
    unsigned token_stride;
    unsigned q_heads;
    unsigned kv_heads;
    unsigned head_dim;
    unsigned block_tokens;
    float epsilon;
};

__device__ __forceinline__ void add_vector(float (&x)[8], const __nv_bfloat16* from) {
    float y[8];
    widen(y, *reinterpret_cast<const uint4*>(from));
#pragma unroll
    for (int j = 0; j < 8; ++j) x[j] += y[j];
}

__device__ __forceinline__ void scale_vector(float (&x)[8], float scale, const __nv_bfloat16* weight) {
    float w[8];
    widen(w, *reinterpret_cast<const uint4*>(weight));
#pragma unroll
    for (int j = 0; j < 8; ++j) x[j] *= scale * w[j];
}

extern "C" __global__ void __launch_bounds__(256) rope(const __grid_constant__ RopeArgs args) {
    __shared__ float cosine[128], sine[128];
    release_successor();
    await_predecessor();
    const unsigned half = args.head_dim / 2;
    const unsigned token = blockIdx.x;
    const float position = static_cast<float>(args.positions[token]);
    for (unsigned i = threadIdx.x; i < half; i += blockDim.x) {
        sincosf(position * args.frequency[i], &sine[i], &cosine[i]);
    }
    __syncthreads();

    __nv_bfloat16* row = args.qkv + static_cast<unsigned long long>(token) * args.token_stride;
    const int slot = args.slots[token];
    const unsigned long long block = slot < 0 ? 0 : slot / args.block_tokens;
    const unsigned place = slot < 0 ? 0 : slot % args.block_tokens;

    // A thread has eight pairs; the threads of a head are neighbours in one warp.
    const unsigned vectors = half / 8;
    const unsigned rotated_heads = slot < 0 ? args.q_heads : args.q_heads + args.kv_heads;
    const unsigned items = rotated_heads * vectors;
    for (unsigned first = 0; first < items; first += blockDim.x) {
        const unsigned item = first + threadIdx.x;
        const bool present = item < items;
        const unsigned head = present ? item / vectors : 0;
        const unsigned d = item % vectors * 8;
        __nv_bfloat16* from = row + head * args.head_dim + d;
        float x[8], y[8];
        widen(x, *reinterpret_cast<const uint4*>(from));
        widen(y, *reinterpret_cast<const uint4*>(from + half));
        if (args.bias != nullptr) {
            add_vector(x, args.bias + head * args.head_dim + d);
            add_vector(y, args.bias + head * args.head_dim + d + half);
        }
        if (args.norm != nullptr) {
            float squares = 0.0f;
#pragma unroll
            for (int j = 0; j < 8; ++j) squares += x[j] * x[j] + y[j] * y[j];
            for (unsigned step = vectors / 2; step > 0; step /= 2) squares += __shfl_xor_sync(0xffffffffu, squares, step);
            const float scale = rsqrtf(squares / args.head_dim + args.epsilon);
            const __nv_bfloat16* weight = args.norm + (head < args.q_heads ? 0 : args.head_dim) + d;
            scale_vector(x, scale, weight);
            scale_vector(y, scale, weight + half);
        }
        if (!present) continue;
#pragma unroll
        for (int j = 0; j < 8; ++j) {
            const float c = cosine[d + j], s = sine[d + j];
            const float rotated = x[j] * c - y[j] * s;
            y[j] = y[j] * c + x[j] * s;
            x[j] = rotated;
        }
        __nv_bfloat16* to = from;
        if (head >= args.q_heads) {
            const unsigned long long line = (head - args.q_heads) * args.block_tokens + place;
            to = args.k + block * args.block_stride + line * args.head_dim + d;
        }
        *reinterpret_cast<uint4*>(to) = narrow(x);
        *reinterpret_cast<uint4*>(to + half) = narrow(y);
    }
    if (slot < 0) return;
    const unsigned values = (args.q_heads + args.kv_heads) * args.head_dim;
    const unsigned per_head = args.head_dim / 8;
    for (unsigned item = threadIdx.x; item < args.kv_heads * per_head; item += blockDim.x) {
        const unsigned head = item / per_head;
        const unsigned d = item % per_head * 8;
        uint4 held = *reinterpret_cast<const uint4*>(row + values + head * args.head_dim + d);
        if (args.bias != nullptr) {
            float x[8];
            widen(x, held);
            add_vector(x, args.bias + values + head * args.head_dim + d);
            held = narrow(x);
        }
        const unsigned long long line = head * args.block_tokens + place;
        *reinterpret_cast<uint4*>(args.v + block * args.block_stride + line * args.head_dim + d) = held;
    }
}
