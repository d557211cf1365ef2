"""Convert what nbdev's processors leave (Quarto flavour) into notebooks that MyST-NB reads.

Authors write plain markdown, `#|` options and Quarto's callouts. That is a closed list: anything else raises.
"""

import re
from pathlib import Path
from typing import Any

import nbformat
import yaml
from api import directive, link, module_of

TAGS = {
    ("echo", "false"): "remove-input",
    ("output", "false"): "remove-output",
    ("code-fold", "true"): "hide-input",
}
OPTIONS = {"echo", "output", "code-fold", "fig-cap", "label", "eval"}


def front_matter(notebook: Any) -> dict[str, str]:
    """Title and description, as nbdev gathered them from `# Title` and `> one line`."""
    raw = next((cell for cell in notebook.cells if cell.cell_type == "raw"), None)
    return next(yaml.safe_load_all(raw.source.strip().strip("-"))) if raw else {}


def page_name(notebook: Path) -> Path:
    """`api/roi/01_features.ipynb` becomes `api/roi/features.ipynb`."""
    return notebook.with_name(re.sub(r"^\d+[a-z]?_", "", notebook.name))


def _callouts(markdown: str) -> str:
    return re.sub(
        r"^(:::+)\s*\{\.callout-(note|tip|warning|important|caution)[^}]*\}", r"\1{\2}", markdown, flags=re.M
    )


def _page_links(markdown: str) -> str:
    """Links between notebooks lose the ordering number, as the pages do; nbdev has made `.html` of some."""
    pattern = r"\]\((?!\w+://)((?:[\w./-]*/)?)(?:\d+[a-z]?_)?([\w-]+)\.(?:ipynb|html)"
    return re.sub(pattern, r"](\1\2.ipynb", markdown)


def _options(source: str) -> tuple[dict[str, str], str]:
    """Separate `#| key: value` lines from the code."""
    options, body = {}, []
    for line in source.splitlines():
        if match := re.match(r"#\|\s*([\w-]+):\s*(.*)$", line):
            options[match[1]] = match[2].strip("\"' ")
        elif not line.startswith("#|"):
            body.append(line)
    if unknown := options.keys() - OPTIONS:
        raise ValueError(f"cell option {sorted(unknown)} is not in the closed list {sorted(OPTIONS)}")
    return options, "\n".join(body).strip("\n")


def _level_headings(cells: list[Any]) -> None:
    """Pull up headings that skip a level, so that every page has a clean outline."""
    last, fenced = 0, False
    for cell in cells:
        if cell.cell_type != "markdown":
            continue
        lines = cell.source.splitlines()
        for i, line in enumerate(lines):
            if line.startswith(("```", "````")):
                fenced = not fenced
            if not fenced and (match := re.match(r"(#{1,6})(\s.*)", line)):
                last = min(len(match[1]), last + 1)
                lines[i] = "#" * last + match[2]
        cell.source = "\n".join(lines)


def _code_cell(cell: Any, module: str, symbols: dict[str, str], targets: dict[str, str]) -> Any:
    options, body = _options(cell.source)
    if match := re.match(r"show_doc\(([\w.]+)", body):
        if (full := f"{module}.{match[1]}") not in symbols:
            raise LookupError(f"show_doc({match[1]}): {module} exports no such name")
        return nbformat.v4.new_markdown_cell(directive(full, targets))
    cell.source = body
    tags = [tag for (key, value), tag in TAGS.items() if options.get(key) == value]
    cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
    if "fig-cap" in options:
        cell.metadata["mystnb"] = {"figure": {"caption": options["fig-cap"]}}
    for output in cell.outputs:
        output.get("metadata", {}).clear()
    return cell


def convert(source: Path, destination: Path, symbols: dict[str, str]) -> dict[str, str]:
    """Write one page; returns its front matter."""
    targets = {page: full for full, page in symbols.items()}
    module = module_of(destination)
    notebook = nbformat.read(source, 4)
    matter = front_matter(notebook)
    cells = []
    for cell in notebook.cells:
        if not cell.source.strip() or cell.source.startswith("<!-- WARNING"):
            continue
        if cell.cell_type == "raw":
            description = link(matter.get("description", ""), targets)
            cells.append(
                nbformat.v4.new_markdown_cell(
                    f"# {matter['title']}\n\n" + (f"*{description}*" if description else "")
                )
            )
        elif cell.cell_type == "markdown":
            cell.source = _callouts(_page_links(link(cell.source, targets)))
            cells.append(cell)
        else:
            try:
                cells.append(_code_cell(cell, module, symbols, targets))
            except (ValueError, LookupError) as error:
                raise SystemExit(f"{source}: {error}") from error
    _level_headings(cells)
    page = nbformat.v4.new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {"name": "python3", "display_name": "python3", "language": "python"},
            "language_info": {"name": "python"},
        },
    )
    write_notebook(page, destination)
    return matter


def write_notebook(page: Any, destination: Path) -> None:
    """Write without cell ids: what they would name is lost in the conversion."""
    page.nbformat_minor = 4
    for cell in page.cells:
        cell.pop("id", None)
    destination.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(page, destination)
