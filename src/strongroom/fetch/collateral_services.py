"""The vendors' services as data: addresses, sizes, and one request for one address."""

from __future__ import annotations

from dataclasses import dataclass, field
from email.message import Message
from functools import cache
from typing import Any

from strongroom import paths, yaml_text
from strongroom.fetch.http import Client


@cache
def services() -> dict[str, Any]:
    """The packaged facts of ``catalog/collateral.yaml``."""
    found: dict[str, Any] = yaml_text.load(paths.catalog("collateral.yaml").read_text(encoding="utf-8"))
    return found


@dataclass
class Service:
    """One vendor's service, asked no more than once for one address.

    Attributes:
        vendor: ``amd`` or ``intel``.
        base: in place of the vendor's own address, without a slash at its end.
        client: how to ask.
    """

    vendor: str
    base: str | None = None
    client: Client = field(default_factory=lambda: Client(tries=5, delay=2.0))
    answers: dict[str, tuple[bytes, Message]] = field(default_factory=dict, repr=False)

    @property
    def facts(self) -> dict[str, Any]:
        """What the catalogue says of the vendor."""
        found: dict[str, Any] = services()[self.vendor]
        return found

    def get(self, name: str, **values: str) -> tuple[bytes, Message]:
        """The answer to the request of that name: its body and headers.

        Raises:
            StrongroomError: it refuses, can't be reached, is too large, or asks for more patience than there is.
        """
        what = self.facts[name]
        url = what["url"] if "url" in what else (self.base or self.facts["base"]) + what["path"].format(**values)
        if url not in self.answers:
            self.answers[url] = self.client.get(url, limit=what["limit"])
        return self.answers[url]
