"""Preflight as one HTML page that needs nothing else: no script, no font, no picture from anywhere."""

from __future__ import annotations

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from strongroom import paths
from strongroom.report.document import PreflightDocument


def html(document: PreflightDocument) -> str:
    """The page. Everything that a host said is escaped."""
    environment = Environment(
        loader=FileSystemLoader(paths.data("templates")),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report/preflight.html.j2").render(document=document)
