// Matrix product for few rows of input, bound by the read of the weight: output = input * weight^T.
//
//   input   [rows][inner]      bf16, rows <= 32
//   weight  [columns][inner]   bf16
//   output  by `epilogue`, float sums rounded once:
//     STORE   [rows][columns]      bf16
//     ADD     [rows][columns]      bf16, added to what is there
//     FLOAT   [rows][columns]      float
//     GATE    [rows][columns / 2]  bf16, silu(gate) * up; the weight's rows alternate, eight of gate, eight of up, so that
//                                  a thread's sums, which are of rows g and g + 8, are a gate and its up
//
// Kernels skinny_R_T. R = 8, 16 or 32 is the least that holds `rows`; missing rows count as zero. T is the most rows of the weight that a
// CTA may have as its tile.
//
// Grid: one CTA a tile, tiles as tall as makes one CTA a multiprocessor. The CTA goes through the columns of its tile stage by stage, in a
// ring of shared memory that holds the tile's part of the weight and the input's beside it, and writes its part of the output once. The result
// does not depend on who is first.
// Traffic: reads weight once, the first to leave L2, for nobody reads it again; input from L2, once per tile; writes output once.
// Needs inner % 8 == 0, 16-byte aligned input, weight and output; columns % 16 == 0 for GATE (checked by the launcher).
//
// Two forms: machine code of 9.0 has the tensor memory accelerator fill the ring and warpgroups multiply; PTX, for every GPU from 8.0 on,
// does with cp.async and mma.
#include "bf16.cuh"

enum Epilogue : unsigned { STORE, ADD, FLOAT, GATE };

__device__ __forceinline__ float gated(float gate, float up) {
    return __fdividef(gate, 1.0f + __expf(-gate)) * up;
}

#if __CUDA_ARCH__ >= 900
#include "skinny_wgmma.cuh"
#else
#include "skinny_mma.cuh"
#endif
