"""What a platform wants of a host that carries it, as the catalogue says it: data, so that no code branches on a platform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

from pydantic import Field

from strongroom.model.cluster import KERNEL_OPTION
from strongroom.model.frozen import Frozen
from strongroom.model.platform import Platform

Vendors = tuple[str, ...]
T = TypeVar("T")
_ABSOLUTE = Annotated[str, Field(pattern=r"^/[\w./*-]+$")]


class Live(Frozen):
    """A file that shows that an option is already in effect, whatever the command line says: a module's parameter."""

    path: _ABSOLUTE
    values: tuple[str, ...] = Field(min_length=1)


class KernelOption(Frozen):
    """One option of the kernel's command line. ``alike`` are other values that mean the same."""

    name: str = Field(pattern=KERNEL_OPTION)
    value: str | None = Field(None, pattern=r"^[\w.,:@/+-]+$")
    alike: tuple[str, ...] = ()
    vendors: Vendors = Field((), description="CPUs that need it; empty: all")
    live: Live | None = None
    mends: tuple[str, ...] = Field((), description="checks that fail without it, and pass once it is in effect")
    untold: tuple[str, ...] = Field((), description="checks that cannot be told without it")
    why: str
    source: str

    @property
    def text(self) -> str:
        """As it stands on the command line."""
        return self.name if self.value is None else f"{self.name}={self.value}"


class RefusedOption(Frozen):
    """An option with which the platform does not work. Nobody but its owner takes it away."""

    name: str
    values: tuple[str, ...] = Field((), description="the values that are refused; empty: any")
    vendors: Vendors = ()
    why: str
    source: str


class KernelFloor(Frozen):
    """The oldest kernel that has the platform's host side, on one release of a distribution or (empty) on any other.

    A kernel whose release has one of ``backports`` in its name has it before the floor. ``kernel`` None says that
    nobody here knows.
    """

    distributions: tuple[str, ...] = ()
    release: str = ""
    kernel: str | None = Field(None, pattern=r"^\d+(\.\d+)*(-\d+)?$")
    backports: tuple[str, ...] = ()
    remedy: str
    source: str


class DeviceRule(Frozen):
    """Rights of a device file, by its kernel name."""

    kernel: str = Field(pattern=r"^[a-z_-]+$")
    group: str = Field(pattern=r"^[a-z_][a-z0-9_-]*$")
    mode: str = Field(pattern=r"^0[0-7]{3}$")
    source: str


class Service(Frozen):
    """A unit of the platform's attestation that has to run where it is installed, and is told of where it is not."""

    unit: str = Field(pattern=r"^[\w@.-]+\.service$")
    kind: Literal["service", "oneshot"] = Field(
        "service", description="a oneshot has to be enabled, and rests in peace"
    )
    missing: str = Field(description="what an operator reads where it is not installed")
    vendors: Vendors = ()
    unless: str = Field("false", description="shell test: whether the host does without it")
    source: str


class SystemGroup(Frozen):
    """A group that has to exist."""

    name: str = Field(pattern=r"^[a-z_][a-z0-9_-]*$")
    vendors: Vendors = ()


V = TypeVar("V", KernelOption, RefusedOption, Service, SystemGroup)


class PlatformSetup(Frozen):
    """All of that for one platform. ``also`` are platforms whose devices, groups, services and options come with it."""

    also: tuple[Platform, ...] = ()
    vendors: Vendors = ()
    options: tuple[KernelOption, ...] = ()
    refused: tuple[RefusedOption, ...] = ()
    floors: tuple[KernelFloor, ...] = ()
    modules: tuple[str, ...] = Field((), description="loaded now and after every boot")
    modprobe: tuple[str, ...] = Field((), description="lines of /etc/modprobe.d")
    groups: tuple[SystemGroup, ...] = ()
    devices: tuple[DeviceRule, ...] = ()
    services: tuple[Service, ...] = ()
    firmware: str | None = Field(None, description="component of the bundle with files for /lib/firmware")
    mends: tuple[str, ...] = Field((), description="checks that fail before the rest of this is set up, and pass after")


class HostCatalogue(Frozen):
    """Every platform's set-up."""

    platforms: dict[Platform, PlatformSetup]

    def of(self, platform: Platform) -> PlatformSetup:
        """A platform's set-up with that of the platforms that come with it; nothing for a platform without one."""
        own = self.platforms.get(platform, PlatformSetup())
        parts = [own, *(self.of(other) for other in own.also)]
        return PlatformSetup(
            vendors=own.vendors,
            options=_each([_for(part.vendors, part.options) for part in parts]),
            refused=_each([_for(part.vendors, part.refused) for part in parts]),
            floors=own.floors,
            modules=_each([part.modules for part in parts]),
            modprobe=_each([part.modprobe for part in parts]),
            groups=_each([_for(part.vendors, part.groups) for part in parts]),
            devices=_each([part.devices for part in parts]),
            services=_each([_for(part.vendors, part.services) for part in parts]),
            firmware=next((part.firmware for part in parts if part.firmware), None),
            mends=_each([part.mends for part in parts]),
        )


def _for(vendors: Vendors, options: Sequence[V]) -> tuple[V, ...]:
    """Options, services and groups, asked of the platform's own CPUs alone: a platform can come along on another's."""
    return tuple(
        option if option.vendors or not vendors else option.model_copy(update={"vendors": vendors})
        for option in options
    )


def _each(parts: Sequence[Sequence[T]]) -> tuple[T, ...]:
    found: list[T] = []
    for part in parts:
        found += [one for one in part if one not in found]
    return tuple(found)


def floor_for(floors: Sequence[KernelFloor], distribution: str, release: str) -> KernelFloor | None:
    """The floor of a distribution's release; that of any other where the catalogue has none for it.

    ``release`` 9.6 is one of the release 9; 24.04 is none of the release 2.
    """
    for floor in floors:
        if distribution in floor.distributions and (
            release == floor.release or release.startswith(f"{floor.release}.")
        ):
            return floor
    return next((floor for floor in floors if not floor.distributions), None)


def kernel_numbers(release: str) -> tuple[int, ...]:
    """``5.14.0-427.13.1.el9_4.x86_64`` -> (5, 14, 0, 427, 13, 1): the numbers up to the first letter."""
    numbers: list[int] = []
    for part in release.replace("-", ".").split("."):
        if not (part.isascii() and part.isdigit() and len(part) < 9):
            break
        numbers.append(int(part))
    return tuple(numbers)
