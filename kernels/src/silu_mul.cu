// The gated activation of Llama's feed-forward layer: output = silu(gate) * up.
//
//   gate_up [row_count][width / 8][2][8]  bf16: eight of gate, then the eight of up that belong to them
//   output  [row_count][width]            bf16
//
// Eight by eight, because the rows of the projections' common weight alternate so: skinny_gemm.cu then finds a gate and its up in
// the registers of one thread.
//
// Grid: x covers a row in steps of 256 threads with eight elements each; y strides over rows.
// Traffic: reads gate_up once, writes output once. Arithmetic in float, one rounding.
// Needs width % 8 == 0 and 16-byte aligned rows (checked by the launcher).
#include "bf16.cuh"
#include "overlap.cuh"

struct SiluMulArgs {
    const uint4* gate_up;
    uint4* output;
    unsigned row_count;
    unsigned width;
};

extern "C" __global__ void __launch_bounds__(256) silu_mul(const __grid_constant__ SiluMulArgs args) {
    release_successor();
    await_predecessor();
    const unsigned vectors = args.width / 8;
    const unsigned v = blockIdx.x * blockDim.x + threadIdx.x;
    if (v >= vectors) return;
    for (unsigned long long row = blockIdx.y; row < args.row_count; row += gridDim.y) {
        float gate[8], up[8];
        widen(gate, args.gate_up[(row * vectors + v) * 2]);
        widen(up, args.gate_up[(row * vectors + v) * 2 + 1]);
#pragma unroll
        for (int j = 0; j < 8; ++j) gate[j] = gate[j] / (1.0f + __expf(-gate[j])) * up[j];
        args.output[row * vectors + v] = narrow(gate);
    }
}
