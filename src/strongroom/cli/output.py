"""The form of a verb's result. Apart from the other options, for it needs nothing of pyinfra."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Output(StrEnum):
    """Forms of a result."""

    TEXT = "text"
    JSON = "json"


OutputForm = Annotated[Output, typer.Option("--output", help="Form of the result on stdout.")]
