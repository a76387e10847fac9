// Brings the inputs of a step from pinned host memory into HBM: a run of words, and the rows of a table with a stride of its own.
//
//   from       [word_count + row_count * row_words]  uint32, pinned host memory
//   words      [word_count]                          uint32, HBM
//   rows       [row_count][row_stride]               uint32, HBM; row_words of each are written
//
// A kernel and not a memcpy: a memcpy would wait in the copy engine behind the KV chunks of its direction.
//
// Grid: any number of CTAs of 256 threads, each striding over both parts.
// Traffic: reads every word once over the host link, writes it once to HBM.
#include "overlap.cuh"

struct StepInputsArgs {
    const unsigned* from;
    unsigned* words;
    unsigned* rows;
    unsigned word_count;
    unsigned row_count;
    unsigned row_words;
    unsigned row_stride;
};

extern "C" __global__ void __launch_bounds__(256) step_inputs(const __grid_constant__ StepInputsArgs args) {
    release_successor();
    await_predecessor();
    const unsigned table_words = args.row_count * args.row_words;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < args.word_count + table_words; i += gridDim.x * blockDim.x) {
        const unsigned word = __ldcv(args.from + i);
        if (i < args.word_count) {
            args.words[i] = word;
        } else {
            const unsigned at = i - args.word_count;
            args.rows[static_cast<unsigned long long>(at / args.row_words) * args.row_stride + at % args.row_words] = word;
        }
    }
}
