"""A notebook from top to bottom in a stack without Jupyter, with parameters: an error ends it, as in Jupyter.

python ../../common/run_notebook.py NOTEBOOK.ipynb FOLDER --NAME VALUE ...

Parameters are what the cell with the tag `parameters` assigns. FOLDER/NOTEBOOK.ipynb is the notebook with the given
ones in a cell below that, as papermill writes it: JupyterLab does the same with it. Cells are Python alone, no magic.
"""

import json
import sys
from pathlib import Path


def main(notebook: Path, folder: Path, given: dict[str, list[str]]) -> None:
    """Run it."""
    document = json.loads(notebook.read_text(encoding="utf-8"))
    names: dict = {"__name__": "__main__"}
    for number, cell in enumerate(list(document["cells"]), 1):
        if cell["cell_type"] != "code":
            continue
        exec(compile("".join(cell["source"]), f"{notebook.name}, cell {number}", "exec"), names)  # noqa: S102
        if "parameters" in cell["metadata"].get("tags", []):
            values = typed(given, names)
            names |= values
            document["cells"].insert(number, injected(values))
            text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
            (folder / notebook.name).write_text(text, encoding="utf-8")


def typed(given: dict[str, list[str]], usual: dict) -> dict:
    """Each given value, of the type of the parameter's own."""
    if unknown := [name for name in given if name not in usual]:
        sys.exit(f"the notebook has no parameter {unknown[0]}")
    return {name: of_type(words, usual[name]) for name, words in given.items()}


def of_type(words: list[str], usual: object) -> object:
    """The words of a flag as a list, a truth, or what the usual value's type makes of the first."""
    if isinstance(usual, list):
        return words
    if isinstance(usual, bool):
        return words[0] == "true"
    return type(usual)(words[0])


def injected(values: dict) -> dict:
    """The cell that sets them."""
    lines = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    tags = {"tags": ["injected-parameters"]}
    empty = {"cell_type": "code", "execution_count": None, "outputs": []}
    return {**empty, "id": "given", "metadata": tags, "source": lines}


def flags(words: list[str]) -> dict[str, list[str]]:
    """`--NAME WORD WORD ...` by name."""
    found: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            found[word[2:]] = below = []
        else:
            below.append(word)
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), flags(sys.argv[3:]))
