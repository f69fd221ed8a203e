"""What a phase's resources read on a host, as a pyinfra fact: one execution, whatever their number."""

from __future__ import annotations

from collections.abc import Iterable

from pyinfra.api.facts import FactBase


class ScriptOutput(FactBase[Iterable[str]]):
    """The lines that a POSIX sh script, given as ``_stdin``, prints; an empty list when it printed nothing."""

    def command(self) -> str:
        """The shell that reads the script."""
        return "sh -s"

    @staticmethod
    def default() -> Iterable[str]:
        """Nothing printed."""
        return []

    def process(self, output: list[str]) -> Iterable[str]:
        """The lines as they are."""
        return output
