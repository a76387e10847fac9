"""Compiles one CUDA source to PTX with NVRTC: compile.py LIBNVRTC ARCH SOURCE OUTPUT INCLUDE...

Called by build.sh. NVRTC is a plain shared library, so ctypes is all it takes: no nvcc, no GPU.
"""

import ctypes
import pathlib
import sys

library, arch, source, output, *includes = sys.argv[1:]
nvrtc = ctypes.CDLL(library)
program = ctypes.c_void_p()
# The name enters the PTX only through diagnostics; the bare file name keeps output free of local paths.
name = pathlib.Path(source).name.encode()
text = pathlib.Path(source).read_bytes()
status = nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, name, 0, None, None)
if status != 0:
    sys.exit(f"{source}: nvrtcCreateProgram failed with status {status}")

options = [f"--gpu-architecture={arch}", "--std=c++17"]
options += [f"--include-path={path}" for path in includes]
array = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
status = nvrtc.nvrtcCompileProgram(program, len(options), array)
size = ctypes.c_size_t()
nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
log = ctypes.create_string_buffer(size.value)
nvrtc.nvrtcGetProgramLog(program, log)
if log.value:
    print(log.value.decode(), file=sys.stderr)
if status != 0:
    sys.exit(f"{source}: NVRTC failed with status {status}")

nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size))
ptx = ctypes.create_string_buffer(size.value)
nvrtc.nvrtcGetPTX(program, ptx)
pathlib.Path(output).write_bytes(ptx.value)
