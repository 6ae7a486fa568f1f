"""What compiles at first use (Triton, FlashInfer, DeepSpeed) can: nvcc, headers and libraries of the lock itself."""

from __future__ import annotations

import pytest

from gpulab.stacks.lock_parts import entries
from tests.images.box import Box

KERNEL = """
#include <cuda_runtime.h>
#include <Python.h>
#include <cuda/std/type_traits>  // CCCL refuses a compiler of another CUDA release
__global__ void twice(float *x) { x[threadIdx.x] *= 2; }
extern "C" int run(float *x) { twice<<<1, 32>>>(x); return cudaDeviceSynchronize(); }
"""


def test_a_kernel_compiles_for_anyone(here: Box) -> None:
    if "nvidia-cuda-nvcc" not in entries(here.image.stack.lock.read_text()):
        pytest.skip("nothing of this stack compiles CUDA at first use but Triton, which brings its own")
    python = here.python("import sysconfig; print(sysconfig.get_path('include'))")
    line = f"cat > $HOME/k.cu && nvcc -arch=sm_90 -shared -Xcompiler -fPIC -I{python} -L/usr/local/cuda/lib64"
    done = here.run("sh", "-c", f"{line} -lcudart -cudart shared -o $HOME/k.so $HOME/k.cu", user="4242", stdin=KERNEL)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("library", ["libcudart.so.", "libcudnn.so.", "libnccl.so."])
def test_the_loader_finds_cudas_libraries(here: Box, library: str) -> None:
    assert library in here.run("/sbin/ldconfig", "-p").stdout
