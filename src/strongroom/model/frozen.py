"""What all of the inventory's words are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


def _path(value: str) -> str:
    if "\0" in value:
        raise ValueError("a path, which has no null byte in it")
    return value


PathText = Annotated[str, AfterValidator(_path)]
"""A path on the controller, as somebody wrote it; the kernel could be asked for it."""


class Frozen(BaseModel):
    """Immutable, and strict about names: an unknown key is an error, never a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)
