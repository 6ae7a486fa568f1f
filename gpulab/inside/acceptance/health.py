"""What nvidia-smi tells of a GPU while it works: heat, clocks, why they were lowered, errors of its memory."""

from __future__ import annotations

import subprocess
import threading

FIELDS = {
    "temperature.gpu": "temperature_c",
    "clocks.sm": "sm_mhz",
    "clocks_throttle_reasons.hw_slowdown": "hw_slowdown",
    "ecc.errors.uncorrected.volatile.total": "ecc_errors",
}


class Watch:
    """Looks at one GPU every two seconds from entering to leaving; `seen` is what each look told."""

    def __init__(self, uuid: str) -> None:
        self._argv = ["nvidia-smi", f"--id={uuid}", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits"]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.seen: list[dict[str, str]] = []

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def told(self) -> dict[str, float | bool]:
        """The hottest, the slowest clock, whether the hardware slowed itself down, new errors; what no look told is not
        in it."""
        numbers = {name: [float(s[name]) for s in self.seen if s[name].isdigit()] for name in FIELDS.values()}
        told: dict[str, float | bool] = {}
        if heat := numbers["temperature_c"]:
            told["temperature_c"] = max(heat)
        if clocks := numbers["sm_mhz"]:
            told["slowest_mhz"] = min(clocks)
        if errors := numbers["ecc_errors"]:
            told["ecc_errors"] = max(errors) - errors[0]
        if self.seen:
            told["hw_slowdown"] = any(s["hw_slowdown"] == "Active" for s in self.seen)
        return told

    def _look(self) -> None:
        while True:
            done = subprocess.run(self._argv, capture_output=True, text=True, check=False)
            values = [word.strip() for word in done.stdout.split(",")]
            if done.returncode == 0 and len(values) == len(FIELDS):
                self.seen.append(dict(zip(FIELDS.values(), values, strict=True)))
            if self._ended.wait(2):
                return
