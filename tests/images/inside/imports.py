"""Runs in an image: imports each module named, in a process of its own. module -> why not."""

import json
import subprocess
import sys


def complaint(module: str) -> str:
    done = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, text=True, timeout=300)
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


print(json.dumps({module: why for module in sys.argv[1:] if (why := complaint(module))}))
