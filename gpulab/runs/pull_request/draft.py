"""`inv pr-draft`: a branch with change, test and documentation on ms-swift's source, which passes its local checks."""

from __future__ import annotations

from pathlib import Path

from gpulab.common.errors import UsageError
from gpulab.common.outcome import Outcome
from gpulab.common.paths import shown
from gpulab.runs.pull_request.checks import run_hooks, run_test
from gpulab.runs.pull_request.plugin import Plugin, find_plugin
from gpulab.runs.pull_request.tree import Repository, needs_git

PARAMETERS = {language: f"docs/{folder}/Instruction/Command-line-parameters.md"
              for language, folder in (("en", "source_en"), ("zh", "source"))}  # fmt: skip
TEMPLATE = ".github/PULL_REQUEST_TEMPLATE.md"
FEATURE = "- [ ] New Feature"
INFORMATION = "Write the detail information belongs to this PR."
NEAR = "a commit of ms-swift near the stacks' version, without the plugin"
RESULTS = "Paste your experiment result here(if needed)."


def draft(name: str, source: str, to: str, branch: str) -> Outcome:
    """Lay it out. Raises UsageError before anything is written, or with what a check says, and then nothing is left."""
    plugin = find_plugin(name)
    if bool(source) == bool(to):
        cure = "--source ms-swift, a clone; or --to NEW-FOLDER, which gets the installed package"
        raise UsageError("a draft needs one source of ms-swift", cure)
    needs_git()
    branch = branch or f"add-{name.replace('_', '-')}"
    repository = Repository.of(Path(source).absolute()) if source else Repository.of_installed(Path(to).absolute())
    with repository.branch(branch) as tree:
        files = write(plugin, tree)
        checked = run_hooks(tree, files)
        ran = run_test(tree, plugin.test)
        passed = f"{', '.join(checked.hooks)} pass. {plugin.test}: {ran}."
        repository.commit(message(plugin, tree, passed), tree)
        changes = repository.git("show", "--stat", "--format=%s%n", at=tree).stdout
    where = shown(repository.folder)
    text = [changes.rstrip(), "", passed, *checked.notes, f"git -C {where} show {branch}",
            f"git -C {where} push YOUR-FORK {branch}   # then open it; its text is the commit's message"]  # fmt: skip
    data = {"source": repository.folder, "branch": branch, "files": files, "hooks": checked.hooks, "test": ran,
            "notes": checked.notes}  # fmt: skip
    return Outcome(data, text="\n".join(text))


def write(plugin: Plugin, tree: Path) -> list[str]:
    """Write the plugin, its registration, its test and what the parameters' pages say of it; which files."""
    mapping = f"swift/{plugin.package}/mapping.py"
    if not (tree / mapping).is_file() or (tree / plugin.module).exists():
        missing = f"has {plugin.module} already" if (tree / plugin.module).exists() else f"has no {mapping}"
        raise UsageError(f"this source {missing}", NEAR)
    pages = {PARAMETERS[language]: text for language, text in (("en", plugin.said.en), ("zh", plugin.said.zh))}
    made = {
        plugin.module: plugin.source(),
        mapping: plugin.registered((tree / mapping).read_text(encoding="utf-8")),
        plugin.test: plugin.test_source(),
        **{page: documented(plugin, tree / page, text) for page, text in pages.items()},
    }
    for file, text in made.items():
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        (tree / file).write_text(text, encoding="utf-8")
    return list(made)


def documented(plugin: Plugin, page: Path, text: str) -> str:
    """A page of parameters that says it behind what it says of the flag; a page of this alone where there is none."""
    flag = f"- {plugin.said.flag}: "
    lines = page.read_text(encoding="utf-8").splitlines() if page.is_file() else [f"{flag}"]
    for number, line in enumerate(lines):
        if line.replace("🔥", "", 1).startswith(flag):
            lines[number] = f"{line.rstrip()} {text}"
            return "\n".join(lines) + "\n"
    raise UsageError(f"{page.name} says nothing of --{plugin.said.flag}", NEAR)


def message(plugin: Plugin, tree: Path, passed: str) -> str:
    """The commit's message: what ms-swift's template for a pull request asks."""
    title = f"Add {plugin.name} to --{plugin.said.flag}"
    template = tree / TEMPLATE
    if not template.is_file():
        return f"{title}\n\n{plugin.said.en}\n\n{passed}\n"
    text = template.read_text(encoding="utf-8").replace(FEATURE, FEATURE.replace("[ ]", "[x]"))
    return f"{title}\n\n{text.replace(INFORMATION, plugin.said.en).replace(RESULTS, passed)}"
