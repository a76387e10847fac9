// Overlap of a kernel's start with the end of the one before it (programmatic dependent launch, sm_90).
//
//   release_successor   the next kernel of the stream may take free multiprocessors from now on
//   await_predecessor   waits until the kernel before this one is over and all it wrote is visible
//
// A kernel that is launched to overlap calls await_predecessor in every thread, before it touches anything that another kernel writes or
// reads. Two things aside: weights; and in a graph, which begins when all before it is over, KV of earlier passes and the lists of this one
// (tables, contexts, shares), which a kernel before the graph brings. Because each does so, the end of one kernel means the end of all before it.
// Without sm_90 both are empty, and the launcher does not ask for overlap.
#pragma once

__device__ __forceinline__ void release_successor() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

__device__ __forceinline__ void await_predecessor() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
