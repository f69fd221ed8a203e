"""What all of the inventory's words are made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Immutable, and strict about names: an unknown key is an error, never a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)
