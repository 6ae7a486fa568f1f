"""A step that needs the server for as long as it runs."""

import sys
import time
import urllib.request
from pathlib import Path

for beat in range(60):
    urllib.request.urlopen(f"http://serve:{sys.argv[1]}", b"{}", timeout=5)
    print("beat", beat, flush=True)
    time.sleep(0.1)
Path(sys.argv[2]).write_text("served")
