// One 64-bit digest per KV block, a function of its bytes and of its content id.
//
//   pool     see paged.cuh
//   blocks   [block_count]  int32, physical block ids
//   contents [block_count]  uint64, content ids
//   digests  [block_count]  uint64, zeroed by the launcher
//
// digest = mix64(content) + sum over words w of scramble(word[w], w)   (mod 2^64)
//
// scramble(., w) is a bijection of the word for every w, so a change within one word always changes the
// digest; w enters it, so swapped words do too but for an accident of 2^-64. Sums of integers commute:
// the result does not depend on the grid.
//
// Grid: any number of CTAs of 256 threads; each warp strides over tiles of 4 KiB.
// Traffic: reads block_count * piece_count * piece_bytes of HBM once.
// Needs piece_bytes % 16 == 0 and a 16-byte aligned base (checked by the launcher).
#include "paged.cuh"
#include "mix.cuh"

struct ChecksumArgs {
    Pool pool;
    const int* blocks;
    const unsigned long long* contents;
    unsigned long long* digests;
    unsigned block_count;
};

__device__ __forceinline__ unsigned long long scramble(unsigned long long word, unsigned long long place) {
    unsigned long long x = word ^ (place * 0x9e3779b97f4a7c15ull);
    x *= 0xbf58476d1ce4e5b9ull;
    x ^= x >> 29;
    x *= 0x94d049bb133111ebull;
    return x ^ (x >> 32);
}

extern "C" __global__ void __launch_bounds__(256) checksum(const __grid_constant__ ChecksumArgs args) {
    const unsigned lane = threadIdx.x & 31;
    const unsigned long long unit_count = static_cast<unsigned long long>(args.block_count) *
                                          args.pool.piece_count * tiles_per_piece(args.pool);
    const unsigned warp_count = gridDim.x * (blockDim.x / 32);
    for (unsigned long long unit = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; unit < unit_count;
         unit += warp_count) {
        const Tile tile = tile_at(args.pool, unit);
        const ulonglong2* words = reinterpret_cast<const ulonglong2*>(
            piece_at(args.pool, args.blocks[tile.block], tile.piece) + tile.offset);
        const unsigned long long first =
            (static_cast<unsigned long long>(tile.piece) * args.pool.piece_bytes + tile.offset) / 8;
        const unsigned vector_count = tile.bytes / VECTOR_BYTES;
        ulonglong2 held[VECTORS_PER_LANE];
#pragma unroll
        for (unsigned i = 0; i < VECTORS_PER_LANE; ++i) {
            const unsigned v = i * 32 + lane;
            if (v < vector_count) held[i] = __ldcs(words + v);
        }
        unsigned long long sum = 0;
#pragma unroll
        for (unsigned i = 0; i < VECTORS_PER_LANE; ++i) {
            const unsigned v = i * 32 + lane;
            if (v < vector_count) {
                sum += scramble(held[i].x, first + 2 * v) + scramble(held[i].y, first + 2 * v + 1);
            }
        }
#pragma unroll
        for (unsigned step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
        if (lane == 0) {
            if (tile.piece == 0 && tile.offset == 0) sum += mix64(args.contents[tile.block]);
            atomicAdd(args.digests + tile.block, sum);
        }
    }
}
