// Gathers paged KV blocks from the HBM pool into slots of the host pool (or of a staging buffer).
//
//   pool   see paged.cuh; base in HBM
//   from   [block_count]  int32, physical block ids
//   to     [block_count]  int32, slot ids
//   slots  [slot_count][piece_count][piece_bytes]     mapped pinned host memory, or HBM
//
// Grid: any number of CTAs of 256 threads; each warp strides over tiles of 4 KiB.
// Traffic: reads block_count * piece_count * piece_bytes from HBM, writes as much over the link.
// Needs piece_bytes % 16 == 0 and 16-byte aligned bases (checked by the launcher).
#include "paged.cuh"

struct GatherArgs {
    Pool pool;
    unsigned char* slots;
    const int* from;
    const int* to;
    unsigned block_count;
};

extern "C" __global__ void __launch_bounds__(256) gather(const __grid_constant__ GatherArgs args) {
    const unsigned long long unit_count = static_cast<unsigned long long>(args.block_count) *
                                          args.pool.piece_count * tiles_per_piece(args.pool);
    const unsigned long long slot_bytes =
        static_cast<unsigned long long>(args.pool.piece_count) * args.pool.piece_bytes;
    const unsigned warp_count = gridDim.x * (blockDim.x / 32);
    for (unsigned long long unit = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; unit < unit_count;
         unit += warp_count) {
        const Tile tile = tile_at(args.pool, unit);
        const unsigned char* source = piece_at(args.pool, args.from[tile.block], tile.piece) + tile.offset;
        unsigned char* target = args.slots + static_cast<unsigned long long>(args.to[tile.block]) * slot_bytes +
                                static_cast<unsigned long long>(tile.piece) * args.pool.piece_bytes + tile.offset;
        copy_tile(target, source, tile.bytes);
    }
}
