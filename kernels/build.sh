#!/usr/bin/env bash
# Builds the shipped kernels: one PTX (compute_80) and one cubin (sm_90a) per src/*.cu, into ptx/.
#
#   kernels/build.sh            rebuild and replace
#   kernels/build.sh --check    rebuild elsewhere; exit 1 if the committed files differ
#
# The compiler is pinned: NVRTC and ptxas of CUDA 12.8.93, from Python wheels, installed once into a
# cache folder outside the tree (DJINN_CUDA_CACHE, or the user's cache folder). Its PTX is version 8.7,
# so every driver of CUDA 12.8 and later loads it; that it assembles for each generation of GPUs since A100 is part of the build. Needs python3 with pip; no GPU, no CUDA.
# ptx/resources.txt keeps what ptxas reports of each kernel: registers, shared memory, spills.
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${DJINN_CUDA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/djinn-cuda-12.8.93}
wheels=(nvidia-cuda-nvrtc-cu12==12.8.93 nvidia-cuda-runtime-cu12==12.8.90
        nvidia-cuda-cccl-cu12==12.8.90 nvidia-cuda-nvcc-cu12==12.8.93)

case "${1:-}" in
    "" | --check) ;;
    *) echo "usage: build.sh [--check]" >&2; exit 2 ;;
esac

if [ ! -e "$cache/complete" ]; then
    rm -rf "$cache"
    mkdir -p "$cache"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
        --no-deps --target "$cache" "${wheels[@]}"
    touch "$cache/complete"
fi
# A100, RTX 30 and 40, H100 without the cubin, B200, RTX 50.
assembled=(sm_80 sm_86 sm_89 sm_90 sm_100 sm_120)
nvidia=$cache/nvidia
nvrtc=$nvidia/cuda_nvrtc/lib/libnvrtc.so.12
ptxas=$nvidia/cuda_nvcc/bin/ptxas
includes=("$here/src" "$nvidia/cuda_runtime/include" "$nvidia/cuda_cccl/include")
chmod +x "$ptxas"

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for source in "$here"/src/*.cu; do
    name=$(basename "$source" .cu)
    python3 "$here/compile.py" "$nvrtc" compute_80 "$source" "$out/$name.ptx" "${includes[@]}"
    python3 "$here/compile.py" "$nvrtc" compute_90a "$source" "$out/$name.sm_90a.tmp" "${includes[@]}"
    "$ptxas" -arch=sm_90a -v "$out/$name.sm_90a.tmp" -o "$out/$name.sm_90a.cubin" 2>>"$out/report"
    rm "$out/$name.sm_90a.tmp"
    # What the driver of such a GPU will do when it loads the PTX.
    for arch in "${assembled[@]}"; do
        "$ptxas" -arch="$arch" "$out/$name.ptx" -o /dev/null
    done
done
# One line per kernel: the name, then what it uses; compile times would differ from run to run.
sed -nE "s/.*Compiling entry function '([^']+)'.*/\1:/p; s/^ *([0-9]+ bytes stack frame.*)/    \1/p; s/^ptxas info *: (Used .*)/    \1/p" \
    "$out/report" >"$out/resources.txt"
rm "$out/report"

if [ "${1:-}" = --check ]; then
    if diff -rq "$out" "$here/ptx"; then
        echo "kernels/ptx is current"
    else
        echo "kernels/ptx is stale: run kernels/build.sh and commit what it writes" >&2
        exit 1
    fi
else
    rm -rf "$here/ptx"
    cp -r "$out" "$here/ptx"
    chmod 755 "$here/ptx"
fi
