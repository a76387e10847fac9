// Takes rows of a table: the embedding of token ids, or the last hidden row of each sequence.
//
//   table  [table_rows][width]  bf16
//   ids    [row_count]          int32, each < table_rows
//   output [row_count][width]   bf16
//
// Grid: one CTA of 256 threads per row.
// Traffic: reads row_count rows, writes as many.
// Needs width % 8 == 0 and 16-byte aligned rows (checked by the launcher).
#include "bf16.cuh"
#include "overlap.cuh"

struct TakeRowsArgs {
    const uint4* table;
    const int* ids;
    uint4* output;
    unsigned width;
};

extern "C" __global__ void __launch_bounds__(256) take_rows(const __grid_constant__ TakeRowsArgs args) {
    release_successor();
    await_predecessor();
    const unsigned vectors = args.width / 8;
    const unsigned long long from = static_cast<unsigned long long>(args.ids[blockIdx.x]) * vectors;
    const unsigned long long to = static_cast<unsigned long long>(blockIdx.x) * vectors;
    for (unsigned v = threadIdx.x; v < vectors; v += blockDim.x) args.output[to + v] = args.table[from + v];
}
