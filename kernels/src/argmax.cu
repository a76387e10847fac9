// Greedy sampling: the index of the largest logit of each row, the lowest index among equals.
//
//   logits [row_count][width]  float
//   output [row_count]         int32
//
// NaN never wins; a row with nothing but NaN or minus infinity gives 0.
//
// Grid: one CTA of 512 threads per row.
// Traffic: reads logits once.

#include "overlap.cuh"

struct ArgmaxArgs {
    const float* logits;
    int* output;
    unsigned width;
};

constexpr int THREADS = 512;

__device__ __forceinline__ void take_larger(float& value, unsigned& index, float other, unsigned at) {
    if (other > value || (other == value && at < index)) {
        value = other;
        index = at;
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) argmax(const __grid_constant__ ArgmaxArgs args) {
    release_successor();
    await_predecessor();
    const float* row = args.logits + static_cast<unsigned long long>(blockIdx.x) * args.width;
    float value = -__int_as_float(0x7f800000);
    unsigned index = 0xffffffffu;
#pragma unroll 8
    for (unsigned i = threadIdx.x; i < args.width; i += THREADS) {
        const float logit = row[i];
        if (logit > value) {
            value = logit;
            index = i;
        }
    }
    __shared__ float values[THREADS / 32];
    __shared__ unsigned indices[THREADS / 32];
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
        const float other = __shfl_xor_sync(0xffffffffu, value, step);
        const unsigned at = __shfl_xor_sync(0xffffffffu, index, step);
        take_larger(value, index, other, at);
    }
    if (threadIdx.x % 32 == 0) {
        values[threadIdx.x / 32] = value;
        indices[threadIdx.x / 32] = index;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int w = 1; w < THREADS / 32; ++w) take_larger(value, index, values[w], indices[w]);
        args.output[blockIdx.x] = index == 0xffffffffu ? 0 : static_cast<int>(index);
    }
}
