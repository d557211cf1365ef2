"""Turn a Python object into a MyST directive: typed signature, docstring, parameter table."""

import dataclasses
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from fastcore.docments import docments
from nbdev.config import get_config
from nbdev.doclinks import NbdevLookup


def symbols() -> dict[str, str]:
    """`{"reidkit.core.generator": "api/core.html#generator", …}` from `_modidx.py`."""
    modidx = importlib.import_module(f"{get_config().lib_path.name}._modidx")
    return {name: page for module in modidx.d["syms"].values() for name, (page, _) in module.items()}


def module_of(page: Path) -> str:
    """The module that an API page documents: `…/api/data/table.ipynb` is `reidkit.data.table`; "" elsewhere."""
    parts = page.with_suffix("").parts
    if "api" not in parts:
        return ""
    return ".".join([get_config().lib_path.name, *parts[parts.index("api") + 1 :]])


def resolve(dotted: str) -> tuple[ModuleType, str, Any]:
    """Split a full name into its module, the name inside it, and the object itself."""
    parts = dotted.split(".")
    for end in range(len(parts) - 1, 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        found: Any = module
        for part in parts[end:]:
            found = getattr(found, part)
        return module, ".".join(parts[end:]), found
    raise LookupError(f"{dotted} cannot be imported; run nbdev_export first.")


def link(markdown: str, targets: dict[str, str]) -> str:
    """Make back-ticked names of the package Python cross-references; `targets` maps pages to full names."""
    config = get_config()
    site = config.doc_host + config.doc_baseurl + "/"
    out, rest = "", NbdevLookup().linkify(markdown) or ""
    while (start := rest.find(f"]({site}")) >= 0:
        opening, end = rest.rfind("[`", 0, start), rest.find(")", start)
        full = targets.get(rest[start + 2 + len(site) : end])
        text = rest[opening + 2 : start - 1]
        out += rest[:opening] + (f"{{py:obj}}`{text} <{full}>`" if full else f"`{text}`")
        rest = rest[end + 1 :]
    return out + rest


def _annotation(annotation: Any) -> str:
    if annotation is inspect.Signature.empty:
        return ""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = text.replace("numpy.ndarray", "np.ndarray")
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Z])", "", text)  # pathlib.Path is Path to a reader


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _table(rows: list[tuple[str, str, str, str]]) -> list[str]:
    """A markdown table without its empty columns."""
    heads = ("", "Type", "Default", "Details")
    kept = [i for i in range(4) if i in (0, 3) or any(row[i] for row in rows)]
    lines = ["| " + " | ".join(heads[i] for i in kept) + " |", "|" + "---|" * len(kept)]
    return lines + ["| " + " | ".join(_cell(row[i]) for i in kept) + " |" for row in rows]


def directive(dotted: str, targets: dict[str, str]) -> str:
    """The `{py:function}`, `{py:class}`, `{py:method}` or `{py:property}` directive of one exported name."""
    module, name, found = resolve(dotted)
    is_class, is_property = inspect.isclass(found), isinstance(found, property)
    is_plain_class = is_class and not dataclasses.is_dataclass(found)
    kind = "class" if is_class else "property" if is_property else "method" if "." in name else "function"
    source = found.__init__ if is_plain_class else found.fget if is_property else inspect.unwrap(found)
    details = docments(source, full=True, returns=True, args_kwargs=True)
    try:
        signature = inspect.signature(source)
    except (TypeError, ValueError):
        signature = inspect.Signature()

    arguments, rows = [], []
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    keyword_only = False
    for parameter in signature.parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            if not any(argument.startswith("*") for argument in arguments):
                arguments.append("*")
        shown = stars.get(parameter.kind, "") + parameter.name
        annotation = _annotation(parameter.annotation)
        default = "" if parameter.default is inspect.Parameter.empty else repr(parameter.default)
        if "<factory>" in default:
            default = "…"
        arguments.append(
            shown + (f": {annotation}" if annotation else "") + (f" = {default}" if default else "")
        )
        comment = (details.get(parameter.name) or {}).get("docment") or ""
        if not isinstance(comment, str):
            comment = " ".join(comment)
        code = [f"`{text}`" if text else "" for text in (shown, annotation, default)]
        rows.append((code[0], code[1], code[2], link(comment, targets)))

    returned = "" if is_class else _annotation(signature.return_annotation)
    comment = (details.get("return") or {}).get("docment") or ""
    if (returned and returned != "None") or comment:
        rows.append(("**Returns**", f"`{returned}`" if returned else "", "", link(comment, targets)))
    head = name if is_property else f"{name}({', '.join(arguments)})"
    lines = [
        f"````{{py:{kind}}} {head}" + (f" -> {returned}" if returned and not is_property else ""),
        f":module: {module.__name__}",
        "",
    ]
    documentation = inspect.getdoc(found) or ""
    if is_class and documentation.startswith(f"{found.__name__}("):
        documentation = ""  # the text that @dataclass makes up repeats the signature
    if documentation:
        lines += [link(documentation, targets), ""]
    if rows:
        lines += [*_table(rows), ""]
    return "\n".join([*lines, "````"])
