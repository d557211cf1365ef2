"""The house rules: floors, light imports, one version, readable notebooks."""

import ast
import configparser
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "reidkit"
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if not path.stem.startswith("_")
)
NOTEBOOKS = sorted(
    path
    for path in (ROOT / "nbs").rglob("*.ipynb")
    if not any(part.startswith((".", "_")) for part in path.relative_to(ROOT).parts)
)
FLOORS = {
    "core": 0,
    "data": 1,
    "roi": 2,
    "embed": 2,
    "losses": 2,
    "neighbors": 3,
    "metrics": 4,
    "train": 5,
    "retrieval": 5,
    "tracking": 5,
    "plots": 6,
    "demo": 6,
    "cli": 6,
}
HEAVY = {
    "torch",
    "torchvision",
    "timm",
    "ultralytics",
    "faiss",
    "pandas",
    "numba",
    "matplotlib",
    "accelerate",
    "cv2",
}


def imports_of(path: Path) -> set[str]:
    """Every reidkit module that a file imports, at its top or inside a function."""
    tree = ast.parse(path.read_text())
    found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    found |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return {name for name in found if name.startswith("reidkit.")}


def run_python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_from_floors_below_only(module):
    floor = module.split(".")[1]
    for imported in imports_of(ROOT / (module.replace(".", "/") + ".py")):
        other = imported.split(".")[1]
        assert other == floor or FLOORS[other] < FLOORS[floor] or FLOORS[floor] == 6, (
            f"{module} is on floor {FLOORS[floor]} and imports {imported} from floor {FLOORS[other]}"
        )


def test_every_module_imports_alone_in_a_fresh_process():
    """Each module is imported after forgetting all of reidkit; one process per module would take minutes."""
    code = (
        "import importlib, sys\n"
        f"for name in {MODULES!r}:\n"
        "    for loaded in [m for m in sys.modules if m.split('.')[0] == 'reidkit']:\n"
        "        del sys.modules[loaded]\n"
        "    importlib.import_module(name)\n"
    )
    result = run_python(code)
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout == ""


def test_import_reidkit_is_light_and_silent():
    result = run_python("import sys, reidkit; print(sorted({m.split('.')[0] for m in sys.modules}))")
    assert result.stderr == ""
    loaded = set(ast.literal_eval(result.stdout.strip().splitlines()[-1]))
    assert not loaded & (HEAVY | {"numpy"}), loaded & HEAVY
    assert len(result.stdout.splitlines()) == 1


def test_the_command_line_starts_without_the_heavy_libraries():
    result = run_python("import sys, reidkit.cli; print(sorted({m.split('.')[0] for m in sys.modules}))")
    assert not set(ast.literal_eval(result.stdout)) & HEAVY


def test_version_has_one_source():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "settings.ini")
    assert importlib.import_module("reidkit").__version__ == parser["DEFAULT"]["version"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_notebook_reads_well(path):
    notebook = nbformat.read(path, 4)
    first = notebook.cells[0]
    assert first.cell_type == "markdown" and re.fullmatch(r"# .+\n\n> .+", first.source), (
        "open with a cell of # Title and > one line alone: nbdev takes it off the page"
    )
    assert path.stat().st_size < 400_000, "over 400 kB with its outputs"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    problems = []
    for cell in code:
        body = "\n".join(line for line in cell.source.splitlines() if not line.startswith(("#|", "%", "!")))
        tree = ast.parse(body)
        if len(body.splitlines()) > 60:
            problems.append(f"{cell.id}: {len(body.splitlines())} lines")
        if any(output.output_type == "error" for output in cell.outputs):
            problems.append(f"{cell.id}: an error output was kept")
        if re.search(r"/work/|/root/|/tmp/tmp", json.dumps(cell.outputs)):
            problems.append(f"{cell.id}: the output shows a path of the author's machine")
        has_import = any(isinstance(node, ast.Import | ast.ImportFrom) for node in tree.body)
        only_imports = all(
            isinstance(node, ast.Import | ast.ImportFrom)
            or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
            for node in tree.body
        )
        if has_import and not only_imports and "nbdev_export" not in body and "#| hide" not in cell.source:
            problems.append(f"{cell.id}: imports mixed with other code (the site runs import cells alone)")
        if re.match(r"#\s*\|\s*export", cell.source):
            problems += [f"{cell.id}: {problem}" for problem in undocumented(tree)]
    assert not problems, "\n".join(problems)
    assert (code and any(cell.outputs for cell in code)) or path.stem == "index", (
        "no outputs: readers see no evidence"
    )


def undocumented(tree: ast.Module) -> list[str]:
    """Public functions and methods of exported cells that lack a docstring or an annotation."""
    missing = []
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    functions += [
        item
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for item in node.body
        if isinstance(item, ast.FunctionDef)
    ]
    for function in functions:
        if function.name.startswith("_"):
            continue
        arguments = [a for a in function.args.args + function.args.kwonlyargs if a.arg not in ("self", "cls")]
        if any(argument.annotation is None for argument in arguments) or function.returns is None:
            missing.append(f"{function.name}: annotate every parameter and the return")
        if not ast.get_docstring(function):
            missing.append(f"{function.name}: no docstring")
    return missing


def test_every_notebook_is_in_the_sidebar():
    listed = re.findall(r"[\w/-]+\.ipynb", (ROOT / "nbs" / "sidebar.yml").read_text())
    assert sorted(listed) == [str(path.relative_to(ROOT / "nbs")) for path in NOTEBOOKS]
