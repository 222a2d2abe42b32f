"""An extension of griffe, which reads docstrings for the site: ours are written for editors and ``help()``."""

from __future__ import annotations

import re

import griffe

ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):(?=`)")
EXAMPLE = re.compile(r"^(\s*)Example:$", re.MULTILINE)


class DocstringsForSite(griffe.Extension):
    """Have names of code be code alone, and an example be laid out as code, not quoted text."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Put it so in the docstring of what has been read, if there is one."""
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(r"\1Examples:", ROLE.sub("", obj.docstring.value))
