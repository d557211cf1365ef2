"""Build the site: notebooks -> nbdev's processors -> MyST pages -> Sphinx, with warnings as errors.

python docs/build.py            # _site/html
python docs/build.py --pages    # stop after the pages in _sphinx/
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import yaml
from api import symbols
from convert import convert, page_name, write_notebook
from nbdev.config import get_config
from nbdev.doclinks import nbdev_export
from nbdev.quarto import refresh_quarto_yml
from nbdev.serve import proc_nbs

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "_sphinx"


def sections() -> list[str | dict]:
    """The navigation that authors keep in nbs/sidebar.yml: pages, and sections of pages."""
    sidebar = yaml.safe_load((ROOT / "nbs" / "sidebar.yml").read_text())
    return sidebar["website"]["sidebar"]["contents"]


def listed(contents: list) -> list[str]:
    """Every notebook that the navigation names, in order."""
    return [
        page for item in contents for page in ([item] if isinstance(item, str) else listed(item["contents"]))
    ]


def landing(section: dict, matter: dict[str, dict], folder: Path) -> str:
    """Write a section's landing page: a table of its pages, grouped as in the sidebar. Returns its name."""
    name = section["section"]
    lines, toc = [f"# {name}", ""], []
    groups = section["contents"]
    loose = [page for page in groups if isinstance(page, str)]
    for group in ([{"section": "", "contents": loose}] if loose else []) + [
        g for g in groups if isinstance(g, dict)
    ]:
        if group["section"]:
            lines += [f"## {group['section']}", ""]
        lines += ["| Page | What it is |", "|---|---|"]
        for page in group["contents"]:
            target = str(page_name(Path(page)).with_suffix(""))
            lines.append(f"| [{matter[page]['title']}](/{target}) | {matter[page].get('description', '')} |")
            toc.append(f"/{target}")
        lines.append("")
    lines += ["```{toctree}", ":hidden:", "", *toc, "```", ""]
    target = folder / name.lower().replace(" ", "-") / "index.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(lines))
    return str(target.relative_to(folder).with_suffix(""))


def write_pages() -> None:
    """Everything Sphinx reads, freshly, into _sphinx/."""
    nbdev_export.__wrapped__()
    refresh_quarto_yml()
    processed = proc_nbs(force=True, n_workers=0)
    shutil.rmtree(PAGES, ignore_errors=True)
    PAGES.mkdir()
    names, matter = symbols(), {}
    for source in sorted(processed.rglob("*.ipynb")):
        relative = source.relative_to(processed)
        matter[str(relative)] = convert(source, PAGES / page_name(relative), names)
    contents = sections()
    if missing := set(matter) ^ set(listed(contents)):
        raise SystemExit(f"nbs/sidebar.yml and the notebooks disagree about: {', '.join(sorted(missing))}")
    toc = [landing(item, matter, PAGES) for item in contents if isinstance(item, dict)]
    home = nbformat.read(PAGES / "index.ipynb", 4)
    home.cells.append(nbformat.v4.new_markdown_cell("\n".join(["```{toctree}", ":hidden:", "", *toc, "```"])))
    write_notebook(home, PAGES / "index.ipynb")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", action="store_true", help="only write the pages, do not run Sphinx")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    assert get_config().config_path == ROOT, "run me from a checkout of reidkit"
    write_pages()
    if arguments.pages:
        return
    html = ROOT / "_site" / "html"
    shutil.rmtree(ROOT / "_site", ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-b",
        "html",
        "-c",
        "docs",
        "_sphinx",
        str(html),
    ]
    status = subprocess.run(command, check=False).returncode
    if status:
        raise SystemExit(status)
    print(f"site: {html / 'index.html'} ({len(list(html.rglob('*.html')))} pages)")


if __name__ == "__main__":
    main()
