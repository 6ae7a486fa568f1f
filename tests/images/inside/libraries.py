"""Runs in an image with CUDA: what the compiled extensions want of each other, and do not get. binutils come with g++.

missing: library -> names that no library here has; undefined: library -> C++ symbols of torch's that torch has not;
other_cuda: library -> the CUDA libraries it wants of another major release than torch's.
"""

import json
import re
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

SITE = Path(sysconfig.get_path("purelib"))
TORCHS = re.compile(r"^_ZN[A-Z]*(3c10|2at|5torch|6caffe2)")


def said(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, errors="replace").stdout


def symbols(library: Path, which: str) -> set[str]:
    return {line.split()[-1] for line in said("nm", "-D", which, str(library)).splitlines() if line.strip()}


def wanted(library: Path) -> list[str]:
    return re.findall(r"\(NEEDED\)\s+Shared library: \[(.*?)\]", said("readelf", "-d", "-W", str(library)))


def not_found(library: Path) -> list[str]:
    return re.findall(r"^\s*(\S+) => not found", said("ldd", str(library)), re.MULTILINE)


libraries = [p for p in SITE.rglob("*.so*") if p.is_file() and not p.is_symlink() and p.read_bytes()[:4] == b"\x7fELF"]
names = {p.name for p in SITE.rglob("*.so*")}  # loaded by whoever imports them first, so no path need lead there
with ThreadPoolExecutor(2) as pool:
    lost = dict(zip(libraries, pool.map(not_found, libraries), strict=True))
    needs = dict(zip(libraries, pool.map(wanted, libraries), strict=True))
torchs = [p for p in (SITE / "torch/lib").glob("lib*.so") if re.match(r"lib(c10|torch)", p.name)]
defined = set().union(*(symbols(p, "--defined-only") for p in torchs))
extensions = [
    p
    for p in libraries
    if p.parent != SITE / "torch/lib" and any(n.startswith(("libc10", "libtorch")) for n in needs[p])
]
undefined = {p: {s for s in symbols(p, "--undefined-only") if TORCHS.match(s)} - defined for p in extensions}
major = str(torch.version.cuda).split(".")[0]
cudas = {
    p: [n for n in needs[p] if re.match(rf"lib(cudart|cublas|cublasLt|nvrtc)\.so\.(?!{major}\b)", n)] for p in libraries
}
short = {p: str(p.relative_to(SITE)) for p in libraries}
print(
    json.dumps(
        {
            "libraries": len(libraries),
            "extensions": sorted(short[p] for p in extensions),
            "missing": {short[p]: there for p, found in lost.items() if (there := sorted(set(found) - names))},
            "undefined": {short[p]: sorted(found)[:5] for p, found in undefined.items() if found},
            "other_cuda": {short[p]: found for p, found in cudas.items() if found},
            "cuda": torch.version.cuda,
            "nccl": ".".join(map(str, torch.cuda.nccl.version())),
            "cxx11_abi": torch.compiled_with_cxx11_abi(),
        }
    )
)
