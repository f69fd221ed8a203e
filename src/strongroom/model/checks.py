"""The catalogue of checks as typed data: what is asked, what is wanted, what to do, and the thresholds.

The judging functions (``strongroom.checks``) hold no number and no remedy of their own; a floor that a vendor raises is
a change of YAML. Entries with ``confirmed: false`` come from general knowledge and wait for a source.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cache, cached_property
from typing import Literal

from pydantic import Field, model_validator

from strongroom.model.frozen import Frozen
from strongroom.model.platform import Platform

Datum = bool | int | str | tuple[int, ...] | tuple[str, ...] | dict[str, int | str | tuple[int, ...] | tuple[str, ...]]


class Role(StrEnum):
    """Which side of a TEE a machine is on: the one that carries guests, or the guest itself."""

    HOST = "host"
    GUEST = "guest"


class Vendor(StrEnum):
    """Whose BIOS menus a remedy is worded for."""

    AMI = "ami"
    SUPERMICRO = "supermicro"
    DELL = "dell"
    HPE = "hpe"
    ASUS = "asus"
    ASROCK = "asrock"


class BiosItem(Frozen):
    """Where a setting lies in one vendor's menus, and its Redfish attribute where that is known."""

    menu: str
    redfish: str | None = None

    def __str__(self) -> str:
        return f"{self.menu} (Redfish attribute {self.redfish})" if self.redfish else self.menu


class Check(Frozen):
    """One check of the catalogue.

    ``parents`` are hard: while one of them fails, this check is skipped whatever its own evidence says.
    ``explained_by`` is soft: a failure here is laid at the door of that check, a pass stands.
    ``composite`` names platforms: the check passes if one of them is ready on this host.
    ``remedies`` are for causes that the evidence can name; ``remedy`` is for the rest, and the vendor's menu belongs to it.
    ``inventory`` marks checks of what the inventory asks for; ``strongroom.checks.needs`` judges those.
    """

    id: str = Field(pattern=r"^[A-Z][A-Z0-9]*(-[A-Z0-9]+)+$")
    platform: Platform
    role: Role
    title: str
    wanted: str
    remedy: str
    parents: tuple[str, ...] = ()
    explained_by: tuple[str, ...] = ()
    composite: tuple[Platform, ...] = ()
    required: bool = Field(False, description="the platform is ready only if this passes")
    worst: Literal["fail", "warn", "unknown", "info"] = Field(
        "fail", description="the worst verdict that this check can give"
    )
    remedies: dict[str, str] = Field(default_factory=dict)
    inventory: bool = False
    vendors: dict[Vendor, BiosItem] = Field(default_factory=dict)
    source: tuple[str, ...] = Field(min_length=1, description="where the fact comes from: file, specification, thread")
    confirmed: bool = True
    data: dict[str, Datum] = Field(default_factory=dict, description="thresholds and tables")

    @property
    def doc(self) -> str:
        """The check's page, relative to the project's root."""
        return f"docs/checks/{self.id}.md"

    def number(self, key: str) -> int:
        """A whole number of ``data``; KeyError or TypeError are faults of the catalogue."""
        value = self.data[key]
        if not isinstance(value, int):
            raise TypeError(f"{self.id}: data.{key}: found {value!r}, allowed is a number")
        return value

    def numbers(self, key: str) -> tuple[int, ...]:
        """A list of numbers, such as the parts of a version."""
        return _numbers(self.data[key], f"{self.id}: data.{key}")

    def words(self, key: str) -> tuple[str, ...]:
        """A list of words."""
        return _words(self.data[key], f"{self.id}: data.{key}")

    def table(self, key: str) -> Mapping[str, int | str | tuple[int, ...] | tuple[str, ...]]:
        """A mapping with words as keys."""
        value = self.data[key]
        if not isinstance(value, dict):
            raise TypeError(f"{self.id}: data.{key}: found {value!r}, allowed is a mapping")
        return value

    def text(self, key: str, word: str) -> str:
        """The text that a table has for a word, or an empty string."""
        return str(self.table(key).get(word, ""))


def _numbers(value: object, where: str) -> tuple[int, ...]:
    if not isinstance(value, tuple) or not all(isinstance(part, int) for part in value):
        raise TypeError(f"{where}: found {value!r}, allowed is a list of numbers")
    return value


def _words(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, tuple):
        raise TypeError(f"{where}: found {value!r}, allowed is a list of words")
    return _as_text(value)


@cache
def _as_text(value: tuple[object, ...]) -> tuple[str, ...]:
    """Asked again for every host, and some lists are long."""
    return tuple(str(part) for part in value)


class PlatformChecks(Frozen):
    """One file of the catalogue: a platform on one side, its checks, and the rows that are not checked and why.

    A platform is ready when every check that is required of it passes - its own, and those named in ``also`` -, when none
    of its own fails, and when every section of the probe in ``sections`` is whole: what was cut off may have been the
    failure. It is absent when a check of ``capability`` fails, or when the CPU is of another vendor
    (``cpus``), or when the guest is of another kind (``kinds``).
    """

    platform: Platform
    role: Role
    title: str
    everywhere: bool = Field(False, description="asked of hosts and of guests")
    cpus: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    capability: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    sections: tuple[str, ...] = Field((), description="sections of the probe that its checks read")
    shims: tuple[str, ...] = Field((), description="Kata shims that a ready host can run")
    checks: tuple[Check, ...]
    not_checked: dict[str, str] = Field(default_factory=dict)

    def __hash__(self) -> int:
        return id(self)


class CheckCatalogue(Frozen):
    """All of it, in the order in which checks are judged within a file."""

    files: tuple[PlatformChecks, ...]
    vendors: dict[str, Vendor] = Field(default_factory=dict, description="words of DMI's names, in small letters")

    @model_validator(mode="after")
    def _whole(self) -> CheckCatalogue:
        ids = [check.id for check in self.checks]
        if double := {name for name in ids if ids.count(name) > 1}:
            raise ValueError(f"checks twice in the catalogue: {', '.join(sorted(double))}")
        for check in self.checks:
            if unknown := {*check.parents, *check.explained_by} - set(ids):
                raise ValueError(f"{check.id}: no such check: {', '.join(sorted(unknown))}")
        for file in self.files:
            if unknown := {*file.also, *file.capability} - set(ids):
                raise ValueError(f"{file.role} {file.platform}: no such check: {', '.join(sorted(unknown))}")
        return self

    def __hash__(self) -> int:
        return id(self)

    @cached_property
    def checks(self) -> tuple[Check, ...]:
        """Every check, file by file."""
        return tuple(check for file in self.files for check in file.checks)

    @cached_property
    def _by_id(self) -> dict[str, Check]:
        return {check.id: check for check in self.checks}

    @property
    def not_checked(self) -> dict[str, str]:
        """Rows of the reference that are no check, with the reason."""
        return {row: reason for file in self.files for row, reason in file.not_checked.items()}

    def check(self, name: str) -> Check:
        """The check of that id; KeyError where there is none."""
        return self._by_id[name]

    def file(self, platform: Platform, role: Role) -> PlatformChecks | None:
        """The file of a platform on a side."""
        return next((file for file in self.files if (file.platform, file.role) == (platform, role)), None)
