"""A bundle: all that hosts need, in one folder, so that nothing is fetched while they are provisioned.

``bundle.json`` lists every file below ``artifacts/`` with its digest, and what unpacking it yields on a host. Digests
are 64 lower-case hexadecimal digits, sizes are bytes. Nothing here reads a file; :mod:`strongroom.fetch.bundle` does.
"""

from __future__ import annotations

import posixpath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from strongroom.errors import ConfigError

Kind = Literal["binary", "archive", "image", "manifest"]
Arch = Literal["amd64", "arm64"]
Origin = Literal["upstream", "go-modules"]

#: Of ``bundle.json``; a higher one is of a newer strongroom.
SCHEMA = 1

#: What these are is unpacked on no host.
_WITHOUT_FILES = ("image", "manifest")


def _below(path: str) -> str:
    """A normal relative path that stays below where it is joined to, and is one line of a script or a list of sums."""
    if not path.isprintable():
        raise ValueError(f"{path!r} has a character that cannot be printed")
    if not path or path.startswith("/") or "\\" in path or "\0" in path or posixpath.normpath(path) != path:
        raise ValueError(f"{path!r} is no plain relative path")
    if path.split("/")[0] in ("..", "."):
        raise ValueError(f"{path!r} escapes its folder")
    return path


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Below = Annotated[str, AfterValidator(_below)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
#: The name of a folder below a component's.
Version = Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z._+-]*$")]


class Frozen(BaseModel):
    """Immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class BundledFile(Frozen):
    """One file (or symbolic link) that an artifact yields on a host, below its version's prefix."""

    path: Below
    sha256: Sha256 | None = None
    mode: str = Field(pattern=r"^0[0-7]{3,4}$")
    target: str | None = None

    @model_validator(mode="after")
    def _file_or_link(self) -> BundledFile:
        if (self.sha256 is None) == (self.target is None):
            raise ValueError(f"{self.path}: has to have either a sha256 (a file) or a target (a symbolic link)")
        if self.target is not None:
            end = posixpath.normpath(posixpath.join(posixpath.dirname(self.path), self.target))
            if self.target.startswith("/") or end.split("/")[0] == "..":
                raise ValueError(f"{self.path}: its target {self.target!r} escapes the prefix")
        return self


class Artifact(Frozen):
    """One file below ``artifacts/``, and what it becomes on a host.

    ``strip`` and ``subdir`` are the unpack rule of an archive: ``tar --strip-components=STRIP`` into ``SUBDIR`` below
    the version's prefix; ``files`` are the paths after that. An image goes to containerd and yields no files:
    ``image`` and ``image_digest`` are what ``ctr images ls`` shows after ``ctr images import``. A manifest is Kubernetes
    objects as YAML documents; it goes to the API server, and to no host.
    """

    component: Name
    version: Version
    arch: Arch
    kind: Kind
    file: Below
    size: int = Field(ge=0)
    sha256: Sha256
    licence: str = Field(min_length=1)
    source: str = Field(min_length=1)
    stand_in: bool = False
    strip: int = Field(default=0, ge=0)
    subdir: str = ""
    files: tuple[BundledFile, ...] = ()
    image: str | None = None
    image_digest: Digest | None = None

    @model_validator(mode="after")
    def _as_its_kind(self) -> Artifact:
        if (self.kind == "image") != (self.image is not None) or (self.image is None) != (self.image_digest is None):
            raise ValueError(f"{self.component}: image and image_digest belong to the kind image, and only to it")
        if (self.kind in _WITHOUT_FILES) == bool(self.files):
            raise ValueError(f"{self.component}: a {self.kind} has {'some' if not self.files else 'no'} files")
        if self.kind == "binary" and [file.path for file in self.files] != [f"bin/{self.component}"]:
            raise ValueError(f"{self.component}: a binary yields exactly bin/{self.component}")
        if self.subdir and _below(self.subdir) != self.subdir:
            raise ValueError(f"{self.component}: subdir {self.subdir!r}")
        return self


class BundleManifest(Frozen):
    """``bundle.json``. ``digest`` is the recipe's: of the lock's entries, or of modules, sources and toolchain."""

    schema_version: Literal[1] = 1
    arch: Arch
    origin: Origin
    digest: Digest
    artifacts: tuple[Artifact, ...]

    @model_validator(mode="after")
    def _consistent(self) -> BundleManifest:
        for key in ("component", "file"):
            values = [getattr(artifact, key) for artifact in self.artifacts]
            if double := sorted({value for value in values if values.count(value) > 1}):
                raise ValueError(f"{key} {double[0]!r} is there twice")
        if strange := [artifact.component for artifact in self.artifacts if artifact.arch != self.arch]:
            raise ValueError(f"{strange[0]}: is not for {self.arch}")
        return self

    def of(self, component: str) -> Artifact:
        """The artifact of a component.

        Raises:
            ConfigError: the bundle has none; the message names what it has.
        """
        for artifact in self.artifacts:
            if artifact.component == component:
                return artifact
        there = ", ".join(sorted(artifact.component for artifact in self.artifacts)) or "nothing"
        raise ConfigError(f"bundle: has no component {component!r}; it has {there}")

    def images(self) -> tuple[Artifact, ...]:
        """The container images, in the order of the manifest."""
        return tuple(artifact for artifact in self.artifacts if artifact.kind == "image")
