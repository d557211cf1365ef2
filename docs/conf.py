"""Sphinx settings; names and versions come from settings.ini."""

import configparser
import re
from pathlib import Path

from docutils import nodes
from docutils.utils.math import latex2mathml

parser = configparser.ConfigParser()
parser.read(Path(__file__).resolve().parent.parent / "settings.ini")
settings = parser["DEFAULT"]

project, author, release = settings["title"], settings["author"], settings["version"]
copyright = settings["copyright"]
extensions = ["myst_nb", "sphinx.ext.viewcode", "sphinx_copybutton"]
exclude_patterns = ["jupyter_execute"]

nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["colon_fence", "dollarmath", "amsmath", "deflist", "attrs_inline"]
myst_heading_anchors = 4

add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
toc_object_entries_show_parents = "hide"

html_theme = "pydata_sphinx_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["reidkit.css"]
html_favicon = "_static/favicon.svg"
html_show_sourcelink = False
html_copy_source = False
html_math_renderer = "mathml"
html_context = {"default_mode": "auto"}
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": True,
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": ["page-toc"],
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "tango",
    "pygments_dark_style": "github-dark",
}


def setup(app):
    """Formulas become MathML while building: every current browser draws it, and nothing is fetched."""

    def mathml(formula: str, as_block: bool) -> str:
        formula = formula.replace(r"\dots", r"\ldots")
        formula = re.sub(r"\\([td]?frac)(\d)(\d)", r"\\\1{\2}{\3}", formula)
        formula = re.sub(r"\\[Bb]igg?[lrm]?(?![a-zA-Z])", "", formula)  # MathML brackets grow by themselves
        element = latex2mathml.tex2mathml(formula, as_block=as_block)
        return element if isinstance(element, str) else element.toxml()

    def inline(writer, node):
        writer.body.append(mathml(node.astext(), False))
        raise nodes.SkipNode

    def block(writer, node):
        writer.body.append(
            writer.starttag(node, "div", CLASS="math") + mathml(node.astext(), True) + "</div>\n"
        )
        raise nodes.SkipNode

    app.add_html_math_renderer("mathml", (inline, None), (block, None))
