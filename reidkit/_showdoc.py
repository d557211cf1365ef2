"""nbdev's page renderer: parameter tables, and annotations whose module is imported late.

Named in `settings.ini`; only nbdev imports it.
"""

import builtins
import importlib
from typing import Any

from fastcore.docments import DocmentTbl
from nbdev.showdoc import BasicMarkdownRenderer


class TableRenderer(BasicMarkdownRenderer):
    """Signature block, then the table of parameters: type, default, what it is."""

    def __init__(self, symbol: Any, *arguments: Any, **options: Any):
        while True:
            try:
                return super().__init__(symbol, *arguments, **options)
            except NameError as error:  # "torch.Tensor" in a module that imports torch only when it is used
                name = str(error.name)
                setattr(builtins, name, importlib.import_module(name))

    def _repr_markdown_(self) -> str:
        return super()._repr_markdown_() + "\n\n" + str(DocmentTbl(self.sym))
