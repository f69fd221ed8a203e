"""The pins: ``artifacts.lock`` for what is downloaded, ``go-modules.lock`` for what is built from Go modules.

An entry of :class:`Lock` is one remote file or image. ``sha256`` (of the file) or ``digest`` (of the image's manifest
or index) is the pin; :data:`UNPINNED` says that nobody recorded one yet, and such an entry is refused by
``bundle create``. :class:`GoLock` pins sources by the digest of each module folder's ``go.sum``, which pins every
source in turn, and the toolchain by its version. Nothing here reads a file; :mod:`strongroom.fetch.lockfile` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from strongroom.errors import ConfigError
from strongroom.model.bundle import Arch, Below, Digest, Frozen, Kind, Name, Sha256, Version

UNPINNED = "unpinned"


class LockEntry(Frozen):
    """One remote artifact for one architecture. One of the kind manifest is a Helm chart, rendered into it.

    ``prefix`` is the folder inside an archive that becomes the version's prefix on a host, ``subdir`` the folder below
    that prefix which archives without folders of their own go to. ``size`` is in bytes, ``None`` when not known.
    ``only`` names the files below ``prefix`` that are taken of an archive with much else in it: the bundle has these alone.
    ``sums`` is the publisher's own file of SHA-256 sums, which pins are held against.
    """

    component: Name
    version: Version
    arch: Arch
    kind: Kind
    url: str | None = Field(default=None, pattern=r"^https?://\S+$")
    image: str | None = Field(default=None, pattern=r"^[a-z0-9.:-]+(/[a-z0-9._-]+)+:[A-Za-z0-9._-]+$")
    size: Annotated[int, Field(gt=0)] | None = None
    sha256: Sha256 | Literal["unpinned"] | None = None
    digest: Digest | Literal["unpinned"] | None = None
    sums: str | None = Field(default=None, pattern=r"^https?://\S+$")
    prefix: Below | Literal[""] = ""
    subdir: Below | Literal[""] = ""
    only: tuple[Below, ...] = ()
    licence: str = Field(min_length=1)
    source: str = Field(pattern=r"^https://\S+$")
    stand_in: bool = False

    @model_validator(mode="after")
    def _as_its_kind(self) -> LockEntry:
        if self.only and self.kind != "archive":
            raise ValueError(f"{self.component} {self.version}: only belongs to the kind archive")
        if self.sums is not None and self.url is None:
            raise ValueError(f"{self.component} {self.version}: sums belongs to url, and an image has none")
        is_image = self.kind == "image"
        for key, wanted in (("image", is_image), ("digest", is_image), ("url", not is_image), ("sha256", not is_image)):
            if (getattr(self, key) is not None) != wanted:
                raise ValueError(
                    f"{self.component} {self.version}: the kind {self.kind} has {'a' if wanted else 'no'} {key}"
                )
        return self

    @property
    def pinned(self) -> bool:
        """Whether its bytes are known."""
        return UNPINNED not in (self.sha256, self.digest)

    @property
    def key(self) -> tuple[str, tuple[tuple[int, str], ...], str]:
        """Entries are sorted by component, version (numbers as numbers) and architecture; no two share a key."""
        return self.component, version_key(self.version), self.arch

    def __str__(self) -> str:
        return f"{self.component} {self.version} {self.arch}"


def version_key(version: str) -> tuple[tuple[int, str], ...]:
    """``1.9`` before ``1.36``, ``2.0-rc.1`` before ``2.0`` before ``2.0-1``: the parts, numbers as numbers."""
    parts = version.removeprefix("v").replace("-", ".").split(".")
    end = (-1, "~")  # after every word, before every number
    return (*((int(part), "") if part.isdigit() else (-1, part) for part in parts), end)


def in_order(keys: Iterable[Any]) -> None:
    """Raise ValueError unless the keys rise strictly."""
    before: Any = None
    for key in keys:
        if before is not None and key <= before:
            raise ValueError(f"{key} comes after {before}: entries are sorted, and each is there once")
        before = key


class Lock(Frozen):
    """``artifacts.lock``. ``default`` names the version of each component that a bundle takes unless told otherwise."""

    schema_version: Literal[1] = 1
    default: dict[Name, str]
    artifacts: tuple[LockEntry, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Lock:
        in_order(entry.key for entry in self.artifacts)
        in_order(self.default)
        for component, version in self.default.items():
            if version not in self.versions(component):
                raise ValueError(f"default: {component} {version} is not among artifacts")
        return self

    def versions(self, component: str) -> tuple[str, ...]:
        """The versions of a component, oldest first."""
        return tuple(dict.fromkeys(entry.version for entry in self.artifacts if entry.component == component))

    def unpinned(self) -> tuple[LockEntry, ...]:
        """What has no digest yet."""
        return tuple(entry for entry in self.artifacts if not entry.pinned)

    def select(self, arch: str, versions: dict[str, str] | None = None) -> tuple[LockEntry, ...]:
        """One entry per component of ``default``, for an architecture, with some versions replaced.

        Raises:
            ConfigError: no such component or version, or not for this architecture.
        """
        wanted = dict(self.default)
        for component, version in (versions or {}).items():
            if version not in (known := self.versions(component)):
                allowed = ", ".join(known) or "nothing; it is no component"
                raise ConfigError(f"{component}: {version!r} is not in the lock, which has {allowed}")
            wanted[component] = version
        chosen = {e.component: e for e in self.artifacts if e.arch == arch and wanted.get(e.component) == e.version}
        if missing := sorted(set(wanted) - set(chosen)):
            raise ConfigError(f"{missing[0]}: the lock has no {wanted[missing[0]]} for {arch}")
        return tuple(chosen[component] for component in sorted(chosen))


class GoModule(Frozen):
    """A folder below ``catalog/go``: its pins and how its packages are compiled."""

    name: Name
    go_mod: Sha256
    go_sum: Sha256
    cgo: bool = False
    tags: tuple[str, ...] = ()
    ldflags: tuple[str, ...] = ()
    licence: str = Field(min_length=1)
    source: str = Field(pattern=r"^https://\S+$")


class GoBinary(Frozen):
    """A package, and the path of its binary in the archive or image (``bin/<component>`` for the kind binary)."""

    package: str = Field(min_length=1)
    path: Below


class GoFile(Frozen):
    """A file below ``catalog/go`` that is packed as it is; without ``file`` an empty folder."""

    file: Below | None = None
    path: Below


class GoImage(Frozen):
    """An image of the binaries. ``with_nft`` adds the controller's ``nft`` and its libraries (for kube-proxy)."""

    reference: str = Field(pattern=r"^[a-z0-9.-]+(/[a-z0-9._-]+)+:[A-Za-z0-9._-]+$")
    entrypoint: tuple[str, ...] = Field(min_length=1)
    user: str = ""
    with_nft: bool = False


class GoChart(Frozen):
    """A Helm chart that lies in a Go module's zip, and the wrapper module and package that ``helm`` is compiled from.

    The wrapper module of the component pins the zip by its ``go.sum``; nothing of that module is compiled.
    """

    go_module: str = Field(pattern=r"^[a-z0-9.-]+(/[A-Za-z0-9._-]+)+$")
    path: Below
    helm_module: Name
    helm_package: str = Field(min_length=1)


class GoComponent(Frozen):
    """What one component of a bundle is made of: binaries, or the chart of a manifest."""

    component: Name
    version: str
    module: Name
    kind: Kind
    binaries: tuple[GoBinary, ...] = ()
    chart: GoChart | None = None
    files: tuple[GoFile, ...] = ()
    strip: int = Field(default=0, ge=0)
    subdir: Below | Literal[""] = ""
    image: GoImage | None = None
    licence: str | None = None
    source: str | None = None
    stand_in: bool = False

    @model_validator(mode="after")
    def _as_its_kind(self) -> GoComponent:
        if (self.kind == "image") != (self.image is not None):
            raise ValueError(f"{self.component}: image belongs to the kind image, and only to it")
        if (self.kind == "manifest") != (self.chart is not None):
            raise ValueError(f"{self.component}: chart belongs to the kind manifest, and only to it")
        if (self.kind == "manifest") == bool(self.binaries):
            raise ValueError(f"{self.component}: a {self.kind} has {'some' if not self.binaries else 'no'} binaries")
        return self

    @property
    def modules(self) -> tuple[str, ...]:
        """The wrapper modules that it is made from."""
        return (self.module, self.chart.helm_module) if self.chart else (self.module,)


class GoLock(Frozen):
    """``go-modules.lock``. ``go`` is the toolchain, as Go names it (``go1.26.8``)."""

    schema_version: Literal[1] = 1
    go: str = Field(pattern=r"^go1\.\d+\.\d+$")
    modules: tuple[GoModule, ...]
    components: tuple[GoComponent, ...]

    @model_validator(mode="after")
    def _consistent(self) -> GoLock:
        in_order(module.name for module in self.modules)
        in_order(component.component for component in self.components)
        known = {module.name for module in self.modules}
        for component in self.components:
            if missing := [name for name in component.modules if name not in known]:
                raise ValueError(f"{component.component}: module {missing[0]!r} is not among modules")
        return self

    def module(self, name: str) -> GoModule:
        """A module by name; the validator saw that it is there."""
        return next(module for module in self.modules if module.name == name)

    def version(self, name: str) -> str:
        """The version of a component that every bundle has."""
        return next(component.version for component in self.components if component.component == name)
