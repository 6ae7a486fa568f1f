"""Runs in an image: the GPUs that each compiled library (argv: globs in site-packages) holds machine code for.

library -> compute capabilities as numbers (90 for 9.0), read from its fat binaries' own headers: no tool of CUDA's.
"""

import json
import re
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path

SITE = Path(sysconfig.get_path("purelib"))
MAGIC = struct.pack("<I", 0xBA55ED50)
MACHINE_CODE = 2  # 1 is PTX


def capabilities(library: Path) -> list[int]:
    sections = subprocess.run(["readelf", "-S", "-W", str(library)], capture_output=True, text=True).stdout
    found: set[int] = set()
    for offset, size in re.findall(r"\.nv_fatbin\s+\S+\s+\S+\s+(\S+)\s+(\S+)", sections):
        with library.open("rb") as file:
            file.seek(int(offset, 16))
            data = file.read(int(size, 16))
        at = data.find(MAGIC)
        while at >= 0:
            header, length = struct.unpack_from("<HQ", data, at + 6)
            entry, end = at + header, at + header + length
            while entry + 32 <= end:
                kind, _, own, code = struct.unpack_from("<HHIQ", data, entry)
                if kind == MACHINE_CODE:
                    found.add(struct.unpack_from("<I", data, entry + 28)[0])
                entry += own + code
            at = data.find(MAGIC, max(end, at + 4))
    return sorted(found)


libraries = {p for glob in sys.argv[1:] for p in SITE.glob(glob)}
print(json.dumps({str(p.relative_to(SITE)): capabilities(p) for p in sorted(libraries)}))
