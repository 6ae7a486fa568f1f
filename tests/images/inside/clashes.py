"""Runs in an image: files that two distributions bring with other contents. file -> who brings it."""

import importlib.metadata
import json
from collections import defaultdict

brought = defaultdict(dict)
for distribution in importlib.metadata.distributions():
    for file in distribution.files or []:
        if file.hash and not str(file).startswith(".."):
            brought[str(file)][distribution.metadata["Name"]] = file.hash.value
clashes = {file: sorted(by) for file, by in brought.items() if len(set(by.values())) > 1}
print(json.dumps(clashes))
