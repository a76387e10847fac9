// Scatters slots of the host pool (or of a staging buffer) into paged KV blocks of the HBM pool.
//
//   slots  [slot_count][piece_count][piece_bytes]     mapped pinned host memory, or HBM
//   from   [block_count]  int32, slot ids
//   to     [block_count]  int32, physical block ids, no id twice
//   pool   see paged.cuh; base in HBM
//
// Grid: any number of CTAs of 256 threads; each warp strides over tiles of 4 KiB.
// Traffic: reads block_count * piece_count * piece_bytes over the link, writes as much to HBM.
// Needs piece_bytes % 16 == 0 and 16-byte aligned bases (checked by the launcher).
#include "paged.cuh"

struct ScatterArgs {
    Pool pool;
    const unsigned char* slots;
    const int* from;
    const int* to;
    unsigned block_count;
};

extern "C" __global__ void __launch_bounds__(256) scatter(const __grid_constant__ ScatterArgs args) {
    const unsigned long long unit_count = static_cast<unsigned long long>(args.block_count) *
                                          args.pool.piece_count * tiles_per_piece(args.pool);
    const unsigned long long slot_bytes =
        static_cast<unsigned long long>(args.pool.piece_count) * args.pool.piece_bytes;
    const unsigned warp_count = gridDim.x * (blockDim.x / 32);
    for (unsigned long long unit = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; unit < unit_count;
         unit += warp_count) {
        const Tile tile = tile_at(args.pool, unit);
        const unsigned char* source = args.slots + static_cast<unsigned long long>(args.from[tile.block]) * slot_bytes +
                                      static_cast<unsigned long long>(tile.piece) * args.pool.piece_bytes + tile.offset;
        unsigned char* target = piece_at(args.pool, args.to[tile.block], tile.piece) + tile.offset;
        copy_tile(target, source, tile.bytes);
    }
}
