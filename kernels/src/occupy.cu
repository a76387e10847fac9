// The two stand-ins for compute: `touch` reads memory, `spin` passes time.
//
//   input [vector_count]  16-byte vectors in HBM
//   sink  [1]             uint64: the sum of all 32-bit words is added, so that no read can be dropped
//
// touch: any number of CTAs of 256 threads. Traffic: reads 16 * vector_count bytes once.
// spin:  one CTA of one thread; ends when the global timer has advanced by `nanos`. No traffic.

struct TouchArgs {
    const uint4* input;
    unsigned long long vector_count;
    unsigned long long* sink;
};

struct SpinArgs {
    unsigned long long nanos;
};

extern "C" __global__ void __launch_bounds__(256) touch(const __grid_constant__ TouchArgs args) {
    constexpr int HELD = 8;
    const unsigned long long stride = static_cast<unsigned long long>(gridDim.x) * blockDim.x;
    unsigned long long sum = 0;
    unsigned long long v = static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    for (; v + (HELD - 1) * stride < args.vector_count; v += HELD * stride) {
        uint4 held[HELD];
#pragma unroll
        for (int i = 0; i < HELD; ++i) held[i] = __ldcs(args.input + v + i * stride);
#pragma unroll
        for (int i = 0; i < HELD; ++i) {
            sum += static_cast<unsigned long long>(held[i].x) + held[i].y;
            sum += static_cast<unsigned long long>(held[i].z) + held[i].w;
        }
    }
    for (; v < args.vector_count; v += stride) {
        const uint4 word = __ldcs(args.input + v);
        sum += static_cast<unsigned long long>(word.x) + word.y;
        sum += static_cast<unsigned long long>(word.z) + word.w;
    }
#pragma unroll
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    if (threadIdx.x % 32 == 0) atomicAdd(args.sink, sum);
}

__device__ __forceinline__ unsigned long long global_nanos() {
    unsigned long long now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    return now;
}

extern "C" __global__ void spin(const __grid_constant__ SpinArgs args) {
    const unsigned long long start = global_nanos();
    while (global_nanos() - start < args.nanos) __nanosleep(200);
}
