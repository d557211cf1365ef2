"""Run notebooks by nbdev's own rules (test flags, `eval: false`) and keep their outputs.

python docs/run_notebooks.py nbs/api/00_core.ipynb ...     # the named ones
python docs/run_notebooks.py                               # all of them
"""

import argparse
import json
import os
import re
import tempfile
import time
from pathlib import Path

from execnb.nbio import read_nb, write_nb
from execnb.shell import CaptureShell
from fastcore.xtras import working_directory
from nbdev.clean import nbdev_clean
from nbdev.config import get_config
from nbdev.doclinks import nbglob
from nbdev.process import NBProcessor


def is_skipped(cell, flags: set[str]) -> bool:
    """Whether nbdev_test would skip this cell."""
    directives = getattr(cell, "directives_", {}) or {}
    if cell.cell_type != "code" or "nbdev_export(" in cell.source:
        return True
    return directives.get("eval:", [""])[0] == "false" or bool(flags & directives.keys())


def without_temporary_paths(outputs: list) -> list:
    """The outputs with `…` for temporary folders, whose random names would change in every run."""
    folder = re.escape(json.dumps(tempfile.gettempdir())[1:-1])
    return json.loads(re.sub(rf"{folder}/tmp\w+", "…", json.dumps(outputs, ensure_ascii=False)))


def run(path: Path, flags: set[str]) -> float:
    """Execute one notebook, write its outputs back, return the seconds it took; raises on the first error."""
    start = time.time()
    source, processed = read_nb(path), NBProcessor(path, process=True).nb
    for cell in processed.cells:
        if cell.cell_type == "code":
            cell.outputs = []  # the shell leaves the old output where a cell prints nothing
    shell = CaptureShell(path, mpl_format="png")  # half the bytes of execnb's retina default
    with working_directory(path.parent):
        shell.run_all(processed, exc_stop=True, preproc=lambda cell: is_skipped(cell, flags))
    for kept, ran in zip(source.cells, processed.cells, strict=True):
        if kept.cell_type == "code":
            kept.outputs = [] if is_skipped(ran, flags) else without_temporary_paths(ran.outputs)
    write_nb(source, path)
    nbdev_clean.__wrapped__(str(path))
    return time.time() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--flags", nargs="*", default=[], help="test flags to run as well, e.g. slow")
    arguments = parser.parse_args()
    os.environ["IN_TEST"] = "1"
    flags = set(get_config().tst_flags.split()) - set(arguments.flags)
    for path in arguments.notebooks or sorted(nbglob(as_path=True)):
        print(f"{path}  {run(path.resolve(), flags):.1f} s", flush=True)


if __name__ == "__main__":
    main()
