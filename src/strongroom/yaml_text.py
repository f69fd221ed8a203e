"""YAML by libyaml, where PyYAML was built with it: seven times as fast on the catalogue, and every command reads that."""

from __future__ import annotations

from typing import Any

import yaml

_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEPEST = 100
"""Levels of a document; what we read has ten, and libyaml ends the whole process where some ten thousand exhaust its stack."""


def load(text: str, *, aliases: bool = True) -> Any:
    """A document, by the safe tags alone; without ``aliases`` nothing in it may stand for something else.

    Raises:
        yaml.YAMLError: it is none, or is nested deeper than any that we read.
    """
    refuse_deep(text, aliases=aliases)
    return yaml.load(text, Loader=_LOADER)  # noqa: S506 - safe, by either parser


def refuse_deep(text: str, *, aliases: bool = True) -> None:
    """A look at a text's structure alone, which costs a quarter of loading it. Ten lines of aliases can stand for a milliard of
    values, on which whoever prints one of them never comes to an end.

    Raises:
        yaml.YAMLError: it is no YAML, or is nested too deep to be loaded.
    """
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        mark: Any = event.start_mark  # libyaml's, which the class takes as its own
        if depth > _DEEPEST:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {_DEEPEST} levels", problem_mark=mark)
        if not aliases and isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="an alias, which has no place here", problem_mark=mark)
