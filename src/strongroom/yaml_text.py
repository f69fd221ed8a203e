"""YAML by libyaml, where PyYAML was built with it: seven times as fast on the catalogue, and every command reads that."""

from __future__ import annotations

from typing import Any

import yaml

_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEPEST = 100
"""Levels of a document; what we read has ten, and libyaml ends the whole process where some ten thousand exhaust its stack."""


def load(text: str) -> Any:
    """A document, by the safe tags alone.

    Raises:
        yaml.YAMLError: as :func:`refuse_endless`, or it is none.
    """
    refuse_endless(text)
    return yaml.load(text, Loader=_LOADER)  # noqa: S506 - safe, by either parser


def refuse_endless(text: str) -> None:
    """A look at a text's structure alone, which costs a quarter of loading it.

    Raises:
        yaml.YAMLError: it is no YAML, is nested too deep to be loaded, or has aliases of aliases: ten lines of them stand for a
            milliard of values, and who prints one of them never comes to an end.
    """
    anchored: list[bool] = []  # for each collection that is open, whether an alias can stand for it
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            anchored.append(event.anchor is not None)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchored.pop()
        mark: Any = event.start_mark  # libyaml's, which the class takes as its own
        if len(anchored) > _DEEPEST:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {_DEEPEST} levels", problem_mark=mark)
        if isinstance(event, yaml.AliasEvent) and any(anchored):
            raise yaml.MarkedYAMLError(problem="an alias of something that has aliases itself", problem_mark=mark)
