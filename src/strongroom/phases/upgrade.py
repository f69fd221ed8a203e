"""What an upgrade of the runtime does on hosts, as phases: the runtime's own resources, in an order that pods survive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from strongroom.model.cluster import Host, Inventory
from strongroom.phases.base import Context
from strongroom.phases.runtime import RuntimePhase, switches
from strongroom.plan.artifacts import PREFIX, Image
from strongroom.plan.containerd import CONFIG, DROP_IN
from strongroom.plan.files import File, Link
from strongroom.plan.pods import NoPods
from strongroom.plan.registration import KEPT, Registration
from strongroom.plan.resource import Resource
from strongroom.plan.stale import Stale
from strongroom.plan.system import Unit
from strongroom.plan.versions import Former, FormerUnit, Remembered, Settled, Versions

NAME = "upgrade"


class _On:
    """A phase on some hosts, all of them together."""

    name = NAME

    def __init__(self, hosts: Sequence[Host]) -> None:
        self.hosts = tuple(hosts)

    def waves(self, inventory: Inventory) -> Sequence[Sequence[Host]]:
        return [self.hosts] if self.hosts else []


def _runtime(context: Context, host: Host) -> list[Resource]:
    """The runtime's resources, without the removal of what the inventory no longer asks for: apply does that afterwards, for a
    rollback could not bring it back."""
    return [one for one in RuntimePhase(switching=True).resources(context, host) if not isinstance(one, Stale)]


def _switches(resource: Resource) -> bool:
    """Whether a resource is part of the switch; the rest lies beside what is in use, and can come before it."""
    if isinstance(resource, File):
        return not resource.path.startswith(f"{PREFIX}/")
    return isinstance(resource, Link | Unit | Registration)


class StagePhase(_On):
    """Everything new beside what is in use: components, Kata's configurations, images. No pod notices."""

    title = "Install the new versions beside those in use"

    def resources(self, context: Context, host: Host) -> Sequence[Resource]:
        there = [one for one in _runtime(context, host) if not _switches(one) and not isinstance(one, NoPods)]
        if host in context.inventory.runtime_hosts:
            verify = context.bundle.manifest.of("verify-pod")
            there.append(Image(verify, context.bundle.path(verify)))
        return there


class SwitchPhase(_On):
    """Note what is in use, then switch links and configuration; containerd is restarted where it changed."""

    title = "Switch"

    def resources(self, context: Context, host: Host) -> Sequence[Resource]:
        wanted = _runtime(context, host)
        files = [one.path for one in wanted if isinstance(one, File) and _switches(one)]
        if any(isinstance(one, Registration) for one in wanted):
            files += [CONFIG, DROP_IN, f"{KEPT}/record.json"]
        links = [one.path for one in wanted if isinstance(one, Link)]
        return [Remembered(tuple(links), tuple(files)), *wanted]


class BackPhase(_On):
    """The noted versions and configuration again, without any bundle; containerd is restarted where that changed it."""

    title = "Switch back"

    def resources(self, context: Context, host: Host) -> Sequence[Resource]:
        units = [one for one in _runtime(context, host) if isinstance(one, Unit)]
        return [Former(), *(FormerUnit(**{own.name: getattr(one, own.name) for own in fields(one)}) for one in units)]


class SettlePhase(_On):
    """The switch has its end: the former versions are kept for a rollback."""

    title = "End the switch"

    def resources(self, context: Context, host: Host) -> Sequence[Resource]:
        return [Settled()]


class TidyPhase(_On):
    """Versions that are neither in use nor the former ones go, unless pods still run on them."""

    title = "Remove versions that are no longer used"

    def __init__(self, hosts: Sequence[Host], *, ahead: bool = False) -> None:
        super().__init__(hosts)
        self.ahead = ahead

    def resources(self, context: Context, host: Host) -> Sequence[Resource]:
        return [Versions(switches(context, host), remove=True, ahead=self.ahead)]
