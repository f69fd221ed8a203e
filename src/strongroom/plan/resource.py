"""What the plan is made of: a resource says how to read itself and which steps take it from what was seen to what is wanted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Literal

__all__ = ["Observed", "Resource", "Step", "Upload", "quote"]


@dataclass(frozen=True)
class Upload:
    """A local file that a step needs on the host; it is verified there before anything uses it."""

    source: Path
    sha256: str
    size: int

    @property
    def incoming(self) -> str:
        """Where it lands on the host, under a name that nothing else uses."""
        return f"/var/lib/strongroom/incoming/{self.sha256}"


@dataclass(frozen=True)
class Observed:
    """What a resource's own reader printed on one host.

    ``interrupted`` is true when a step of this resource was begun there and never ended (see ``plan.script``): what is
    in place may then be anything.
    """

    lines: tuple[str, ...] = ()
    interrupted: bool = False

    def fields(self) -> dict[str, str]:
        """The lines that read ``name=value``, as a dict."""
        return dict(line.split("=", 1) for line in self.lines if "=" in line)


@dataclass(frozen=True)
class Step:
    """One change on one host.

    ``resource`` is the key of the resource that wants it, ``sentence`` what an operator reads, ``script`` POSIX sh that
    may use the functions of ``plan.script.LIBRARY``. A step with ``because`` is a consequence of another resource's
    change (a restart), not a drift of its own. ``journal`` marks steps that are not atomic: when one is cut off, the
    next observation says so. ``leader_input`` is a script whose output, read on the control plane's first host at the
    last moment, becomes ``$INPUT`` of this step and appears nowhere else. ``reboot`` marks the step after which the host
    goes down and comes back: ``alone`` while no other host of the cluster is down, ``any`` together with others.
    """

    resource: str
    sentence: str
    script: str
    uploads: tuple[Upload, ...] = ()
    because: str | None = None
    journal: bool = False
    leader_input: str | None = None
    timeout: int = 900
    secret: bool = False
    reboot: Literal["", "alone", "any"] = ""


@dataclass(frozen=True)
class Resource(ABC):
    """One managed thing on a host."""

    @property
    @abstractmethod
    def key(self) -> str:
        """Stable name, unique on a host: kind and path or name."""

    @abstractmethod
    def read(self) -> str:
        """POSIX sh that prints what is there; read-only, and silent about what is not."""

    @abstractmethod
    def steps(self, seen: Observed) -> list[Step]:
        """The steps from ``seen`` to the wanted state; empty when nothing is to do."""

    def undo(self, seen: Observed) -> list[Step]:
        """The steps that take the resource away again; by default there is nothing to take away."""
        return []

    def notes(self, seen: Observed) -> list[str]:
        """What an operator is told and strongroom doesn't do; a sentence each."""
        return []


@dataclass(frozen=True)
class Group:
    """Resources that belong together under one heading of a phase."""

    title: str
    resources: tuple[Resource, ...] = field(default=())


class Guard(Resource):
    """One that only ever refuses: it never has a step, and tells by a host that nothing was done to yet whether a phase can
    be carried out there. So preflight looks at it too, on all hosts, before anything is changed on one of them.
    """
