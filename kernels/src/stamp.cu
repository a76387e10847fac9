// Fills KV blocks with a pattern that is a function of their content id, and counts what differs from it.
//
//   pool       see paged.cuh
//   blocks     [block_count]  int32, physical block ids (stamp: no id twice)
//   contents   [block_count]  uint64, content ids
//   mismatches [block_count]  uint32, words that differ (stamp_verify; zeroed by the launcher)
//
// Word w (8 bytes) of a block, counted over its pieces in order, is mix64(mix64(content) + w) as four bf16 values of magnitude
// 1/8 to 2: sign, mantissa and the last two bits of the exponent are free, the rest is set. It depends on the content and the
// place inside the block, not on where the block lies or on the layout, and attention can read it as any K and V.
//
// Grid: any number of CTAs of 256 threads; each warp strides over tiles of 4 KiB.
// Traffic: writes (stamp) or reads (stamp_verify) block_count * piece_count * piece_bytes of HBM once.
// Needs piece_bytes % 16 == 0 and a 16-byte aligned base (checked by the launcher).
#include "paged.cuh"
#include "mix.cuh"

struct StampArgs {
    Pool pool;
    const int* blocks;
    const unsigned long long* contents;
    unsigned* mismatches;
    unsigned block_count;
};

struct Words {
    unsigned long long low, high;
};

// Exponents 124 to 127 of the four values.
__device__ __forceinline__ unsigned long long as_bf16(unsigned long long bits) {
    return (bits & 0x81ff81ff81ff81ffull) | 0x3e003e003e003e00ull;
}

__device__ __forceinline__ Words expected_words(unsigned long long key, unsigned long long word) {
    return {as_bf16(mix64(key + word)), as_bf16(mix64(key + word + 1))};
}

template <bool WRITE>
__device__ __forceinline__ void each_tile(const StampArgs& args) {
    const unsigned lane = threadIdx.x & 31;
    const unsigned long long unit_count = static_cast<unsigned long long>(args.block_count) *
                                          args.pool.piece_count * tiles_per_piece(args.pool);
    const unsigned warp_count = gridDim.x * (blockDim.x / 32);
    for (unsigned long long unit = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; unit < unit_count;
         unit += warp_count) {
        const Tile tile = tile_at(args.pool, unit);
        const unsigned long long key = mix64(args.contents[tile.block]);
        ulonglong2* words = reinterpret_cast<ulonglong2*>(
            piece_at(args.pool, args.blocks[tile.block], tile.piece) + tile.offset);
        const unsigned long long first =
            (static_cast<unsigned long long>(tile.piece) * args.pool.piece_bytes + tile.offset) / 8;
        unsigned wrong = 0;
#pragma unroll 4
        for (unsigned v = lane; v < tile.bytes / VECTOR_BYTES; v += 32) {
            const Words want = expected_words(key, first + 2 * v);
            if (WRITE) {
                words[v] = make_ulonglong2(want.low, want.high);
            } else {
                const ulonglong2 have = words[v];
                wrong += (have.x != want.low) + (have.y != want.high);
            }
        }
        if (!WRITE) {
            wrong = __reduce_add_sync(0xffffffffu, wrong);
            if (lane == 0 && wrong != 0) atomicAdd(args.mismatches + tile.block, wrong);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) stamp(const __grid_constant__ StampArgs args) {
    each_tile<true>(args);
}

extern "C" __global__ void __launch_bounds__(256) stamp_verify(const __grid_constant__ StampArgs args) {
    each_tile<false>(args);
}
