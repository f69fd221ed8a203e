"""Which function judges which check. A platform is one module here; importing it registers its functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType
from typing import TypeAlias

from strongroom.checks.verdict import Finding
from strongroom.model.checks import Check
from strongroom.probe.report import HostReport

Judge: TypeAlias = Callable[[HostReport, Check], Finding]

_JUDGES: dict[str, Judge] = {}


def judges(name: str) -> Callable[[Judge], Judge]:
    """Register the function that judges the check of that id; one check has one function."""

    def register(function: Judge) -> Judge:
        if name in _JUDGES:
            raise ValueError(f"two functions judge {name}")
        _JUDGES[name] = function
        return function

    return register


@cache
def registered() -> MappingProxyType[str, Judge]:
    """Every function by its check's id, with all modules of this package imported."""
    package = import_module("strongroom.checks")
    for module in iter_modules(package.__path__):
        import_module(f"strongroom.checks.{module.name}")
    return MappingProxyType(_JUDGES)
