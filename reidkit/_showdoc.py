"""nbdev's page renderer, with the parameter table that nbdev 2.4.10 dropped. Named in `settings.ini`; never imported by the package."""

from fastcore.docments import DocmentTbl
from nbdev.showdoc import BasicMarkdownRenderer


class TableRenderer(BasicMarkdownRenderer):
    """Signature block, then the table of parameters: type, default, what it is."""

    def _repr_markdown_(self) -> str:
        return super()._repr_markdown_() + "\n\n" + str(DocmentTbl(self.sym))
