"""Run in an image: compile one of DeepSpeed's CUDA operators, as training does at first use; no GPU is asked."""

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["TORCH_CUDA_ARCH_LIST"] = "9.0"
with contextlib.redirect_stdout(sys.stderr):  # stdout is for the answer
    from deepspeed import ops
    from deepspeed.ops.op_builder import FusedAdamBuilder
    from setuptools import Distribution
    from torch.utils.cpp_extension import BuildExtension

    folder = tempfile.mkdtemp()
    os.chdir(Path(ops.__file__).parent)  # its sources are named from here
    extension = FusedAdamBuilder().builder()  # refuses a compiler of another CUDA release than torch's
    extension.sources = [str(Path(source).absolute()) for source in extension.sources]
    extension.include_dirs = [str(Path(include).absolute()) for include in extension.include_dirs]
    os.chdir(folder)
    build = BuildExtension(Distribution({"ext_modules": [extension]}))
    build.build_lib = build.build_temp = folder
    build.ensure_finalized()
    build.run()
print(json.dumps([file.name for file in Path(folder).rglob("*.so")]))
