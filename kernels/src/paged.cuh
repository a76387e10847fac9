// Where the pieces of a paged KV block lie in the HBM pool, and how warps share out the work.
//
//   block b, piece p:  base + b * block_stride + p * piece_stride      piece_bytes long
//
// A piece is the K or the V half of one layer: p = 2 * layer + half. The two strides express both
// layouts of `KvLayout` (a layer at a time, or a block at a time), so one kernel serves both.
// Work is cut into tiles of at most 4 KiB, one per warp: 32 lanes with eight 16-byte vectors each,
// all loads issued before the first store.
#pragma once

struct Pool {
    unsigned char* base;
    unsigned long long block_stride;
    unsigned long long piece_stride;
    unsigned piece_count;
    unsigned piece_bytes;
};

constexpr unsigned VECTOR_BYTES = 16;
constexpr unsigned VECTORS_PER_LANE = 8;
constexpr unsigned TILE_BYTES = 32 * VECTOR_BYTES * VECTORS_PER_LANE;

// One warp's share: a tile of a piece of the `block`-th block of the list.
struct Tile {
    unsigned block;
    unsigned piece;
    unsigned offset;   // bytes from the start of the piece
    unsigned bytes;    // at most TILE_BYTES
};

__device__ __forceinline__ unsigned tiles_per_piece(const Pool& pool) {
    return (pool.piece_bytes + TILE_BYTES - 1) / TILE_BYTES;
}

__device__ __forceinline__ Tile tile_at(const Pool& pool, unsigned long long unit) {
    const unsigned per_piece = tiles_per_piece(pool);
    const unsigned per_block = per_piece * pool.piece_count;
    const unsigned block = static_cast<unsigned>(unit / per_block);
    const unsigned rest = static_cast<unsigned>(unit % per_block);
    const unsigned piece = rest / per_piece;
    const unsigned offset = (rest % per_piece) * TILE_BYTES;
    const unsigned left = pool.piece_bytes - offset;
    return {block, piece, offset, left < TILE_BYTES ? left : TILE_BYTES};
}

__device__ __forceinline__ unsigned char* piece_at(const Pool& pool, int block, unsigned piece) {
    return pool.base + static_cast<unsigned long long>(block) * pool.block_stride +
           static_cast<unsigned long long>(piece) * pool.piece_stride;
}

// Copies one tile; `bytes` is a multiple of 16. Both sides are read or written once: streaming hints.
__device__ __forceinline__ void copy_tile(unsigned char* to, const unsigned char* from, unsigned bytes) {
    const unsigned lane = threadIdx.x & 31;
    const uint4* source = reinterpret_cast<const uint4*>(from);
    uint4* target = reinterpret_cast<uint4*>(to);
    uint4 held[VECTORS_PER_LANE];
    if (bytes == TILE_BYTES) {
#pragma unroll
        for (unsigned i = 0; i < VECTORS_PER_LANE; ++i) held[i] = __ldcs(source + i * 32 + lane);
#pragma unroll
        for (unsigned i = 0; i < VECTORS_PER_LANE; ++i) __stcs(target + i * 32 + lane, held[i]);
    } else {
        for (unsigned v = lane; v < bytes / VECTOR_BYTES; v += 32) __stcs(target + v, __ldcs(source + v));
    }
}
