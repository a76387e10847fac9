// Rotary position embedding of Q (in place) and K, and the write of K and V into paged KV blocks.
//
//   qkv       [token_count][token_stride]  bf16; in a row: Q [q_heads][head_dim], then K and V
//                                          [kv_heads][head_dim] each
//   positions [token_count]   int32
//   slots     [token_count]   int32, block id * block_tokens + place in the block; negative: no write
//   frequency [head_dim / 2]  float, angle per position of each pair
//   k, v      block b at b * block_stride elements: [kv_heads][block_tokens][head_dim]  bf16
//
// Pairs are (i, i + head_dim / 2), as in Llama's released weights for Transformers:
//   first' = first * cos - second * sin,   second' = second * cos + first * sin.
//
// Grid: one CTA of 128 threads per token; sine and cosine are computed once per token and pair.
// Traffic: reads a row of qkv once, writes Q back and K and V into their blocks.
// Needs head_dim % 16 == 0, head_dim <= 256 and 16-byte aligned rows (checked by the launcher).
#include "bf16.cuh"

struct RopeArgs {
    __nv_bfloat16* qkv;
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
};

extern "C" __global__ void __launch_bounds__(128) rope(const __grid_constant__ RopeArgs args) {
    __shared__ float cosine[128], sine[128];
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

    const unsigned vectors = half / 8;
    const unsigned rotated_heads = slot < 0 ? args.q_heads : args.q_heads + args.kv_heads;
    for (unsigned item = threadIdx.x; item < rotated_heads * vectors; item += blockDim.x) {
        const unsigned head = item / vectors;
        const unsigned d = (item % vectors) * 8;
        __nv_bfloat16* from = row + head * args.head_dim + d;
        __nv_bfloat16* to = from;
        if (head >= args.q_heads) {
            const unsigned long long line = (head - args.q_heads) * args.block_tokens + place;
            to = args.k + block * args.block_stride + line * args.head_dim + d;
        }
        float x[8], y[8];
        widen(x, *reinterpret_cast<const uint4*>(from));
        widen(y, *reinterpret_cast<const uint4*>(from + half));
#pragma unroll
        for (int j = 0; j < 8; ++j) {
            const float c = cosine[d + j], s = sine[d + j];
            const float first = x[j] * c - y[j] * s;
            y[j] = y[j] * c + x[j] * s;
            x[j] = first;
        }
        *reinterpret_cast<uint4*>(to) = narrow(x);
        *reinterpret_cast<uint4*>(to + half) = narrow(y);
    }
    if (slot < 0) return;
    const __nv_bfloat16* values = row + (args.q_heads + args.kv_heads) * args.head_dim;
    const unsigned per_head = args.head_dim / 8;
    for (unsigned item = threadIdx.x; item < args.kv_heads * per_head; item += blockDim.x) {
        const unsigned head = item / per_head;
        const unsigned d = (item % per_head) * 8;
        const unsigned long long line = head * args.block_tokens + place;
        *reinterpret_cast<uint4*>(args.v + block * args.block_stride + line * args.head_dim + d) =
            *reinterpret_cast<const uint4*>(values + head * args.head_dim + d);
    }
}
