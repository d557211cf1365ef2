"""README.md is the front page: nbs/index.ipynb, as GitHub and PyPI read it.

python docs/readme.py           # write README.md
python docs/readme.py --check   # fail when it is stale
"""

import re
import sys
from pathlib import Path

import nbformat
from nbdev.config import get_config
from nbdev.doclinks import NbdevLookup

ROOT = Path(__file__).resolve().parent.parent


def _outputs(cell) -> list[str]:
    """Text outputs of a cell, fenced."""
    texts = []
    for output in cell.outputs:
        data = output.get("text") or output.get("data", {}).get("text/plain")
        if data and "image/png" not in output.get("data", {}):
            texts.append(data if isinstance(data, str) else "".join(data))
    return ["```\n" + "".join(texts).rstrip() + "\n```"] if texts else []


def render() -> str:
    """The index notebook as markdown: prose, code and text outputs; links lead to the site."""
    config = get_config()
    notebook = nbformat.read(ROOT / "nbs" / "index.ipynb", 4)
    lookup = NbdevLookup()
    parts = ["<!-- Written by docs/readme.py from nbs/index.ipynb: edit that. -->"]
    for cell in notebook.cells:
        source = cell.source.strip()
        if cell.cell_type == "markdown":
            site = f"{config.doc_host}{config.doc_baseurl}/"
            source = re.sub(
                r"\]\((?!https?:)([\w./-]*?)(?:\d+[a-z]?_)?([\w-]+)\.ipynb\)", rf"]({site}\1\2.html)", source
            )
            parts.append(lookup.linkify(source))
        elif cell.cell_type == "code" and source and not source.startswith(("#| hide", "#| echo: false")):
            body = "\n".join(line for line in source.splitlines() if not line.startswith("#|"))
            parts += ["```python\n" + body.strip() + "\n```", *_outputs(cell)]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    readme = ROOT / "README.md"
    fresh = render()
    if "--check" not in sys.argv:
        readme.write_text(fresh)
        return
    if readme.read_text() != fresh:
        raise SystemExit("README.md is not what nbs/index.ipynb says: run python docs/readme.py")


if __name__ == "__main__":
    main()
