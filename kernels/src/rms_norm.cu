// RMSNorm of each row, optionally after adding a residual:
//
//   sum    = input + residual (rounded to bf16 and stored in residual)        if residual is given
//   output = sum / sqrt(mean(sum^2) + epsilon) * weight
//
//   input    [row_count][hidden]  bf16
//   residual [row_count][hidden]  bf16, read and written; or null
//   weight   [hidden]             bf16
//   output   [row_count][hidden]  bf16; may be the input
//
// Grid: one CTA of 256 threads per row. A row stays in registers between the two passes.
// Traffic: reads input once, writes output once; with a residual one more read and write of a row.
// Arithmetic in float, one rounding to bf16 for the sum and one for the output.
// Needs hidden % 8 == 0, hidden <= 16384 and 16-byte aligned rows (checked by the launcher).
#include "bf16.cuh"
#include "overlap.cuh"

struct RmsNormArgs {
    const uint4* input;
    uint4* residual;
    const uint4* weight;
    uint4* output;
    unsigned hidden;
    float epsilon;
};

constexpr int THREADS = 256;
constexpr int VECTORS_MAX = 8;

extern "C" __global__ void __launch_bounds__(THREADS) rms_norm(const __grid_constant__ RmsNormArgs args) {
    release_successor();
    await_predecessor();
    const unsigned vector_count = args.hidden / 8;
    const unsigned long long row = static_cast<unsigned long long>(blockIdx.x) * vector_count;
    float squares = 0.0f;
    uint4 held[VECTORS_MAX];
#pragma unroll
    for (int i = 0; i < VECTORS_MAX; ++i) {
        const unsigned v = i * THREADS + threadIdx.x;
        if (v >= vector_count) break;
        float x[8];
        held[i] = args.input[row + v];
        widen(x, held[i]);
        if (args.residual != nullptr) {
            float y[8];
            widen(y, args.residual[row + v]);
#pragma unroll
            for (int j = 0; j < 8; ++j) x[j] += y[j];
            held[i] = narrow(x);
            args.residual[row + v] = held[i];
            widen(x, held[i]);
        }
#pragma unroll
        for (int j = 0; j < 8; ++j) squares += x[j] * x[j];
    }
    __shared__ float partial[THREADS / 32];
#pragma unroll
    for (int step = 16; step > 0; step /= 2) squares += __shfl_xor_sync(0xffffffffu, squares, step);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = squares;
    __syncthreads();
    float total = 0.0f;
#pragma unroll
    for (int w = 0; w < THREADS / 32; ++w) total += partial[w];
    const float scale = rsqrtf(total / args.hidden + args.epsilon);
#pragma unroll
    for (int i = 0; i < VECTORS_MAX; ++i) {
        const unsigned v = i * THREADS + threadIdx.x;
        if (v >= vector_count) break;
        float x[8], w[8];
        widen(x, held[i]);
        widen(w, args.weight[v]);
#pragma unroll
        for (int j = 0; j < 8; ++j) x[j] = x[j] * scale * w[j];
        args.output[row + v] = narrow(x);
    }
}
