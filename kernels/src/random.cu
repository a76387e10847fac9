// Random weights: uniform bf16 in [-bound, bound), a function of seed and element index alone.
//
//   output [element_count]  bf16
//
// element i = bf16((u * 2^-23 - 1) * bound) with u = the upper 24 bits of mix64(mix64(seed) + i).
//
// Grid: any number of CTAs of 256 threads, each thread striding over vectors of eight elements.
// Traffic: writes 2 * element_count bytes.
// Needs element_count % 8 == 0 and a 16-byte aligned output (checked by the launcher).
#include "bf16.cuh"
#include "mix.cuh"

struct RandomArgs {
    uint4* output;
    unsigned long long element_count;
    unsigned long long seed;
    float bound;
};

extern "C" __global__ void __launch_bounds__(256) random_uniform(const __grid_constant__ RandomArgs args) {
    const unsigned long long key = mix64(args.seed);
    const unsigned long long stride = static_cast<unsigned long long>(gridDim.x) * blockDim.x;
    for (unsigned long long v = static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x;
         v < args.element_count / 8; v += stride) {
        float x[8];
#pragma unroll
        for (int j = 0; j < 8; ++j) {
            const unsigned u = static_cast<unsigned>(mix64(key + 8 * v + j) >> 40);
            x[j] = __fmul_rn(__fadd_rn(__fmul_rn(static_cast<float>(u), 1.0f / 8388608.0f), -1.0f), args.bound);
        }
        args.output[v] = narrow(x);
    }
}
