"""Our handlers in the containerd, or the CRI-O, of a cluster that somebody else made: the handlers alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from strongroom.model.shims import Shim
from strongroom.plan import containerd, service
from strongroom.plan.containerd import CONFIG
from strongroom.plan.files import File
from strongroom.plan.resource import Observed, Step
from strongroom.plan.snapshots import SnapshotRegistration, tables
from strongroom.plan.toml_settings import Setting, merge
from strongroom.plan.toml_text import parse

CRIO = "/etc/crio/crio.conf.d/60-strongroom.conf"
CRIO_UNIT = ("crio.service",)
# Its unit is Type=notify: active is when it serves.
CRIO_READY = "systemctl -q is-active crio.service"


@dataclass(frozen=True)
class TheirRegistration(SnapshotRegistration):
    """The handlers in containerd's own configuration, as :class:`~strongroom.plan.registration.Registration` has them there;
    sandbox image, CNI and runc stay as they are."""

    def preview(self) -> str:
        document = parse(containerd.empty_config(containerd.OLDEST), CONFIG)
        text = merge("", containerd.handlers_alone(containerd.OLDEST, document, self.shims), CONFIG)
        return tables(document, self.shims, text, CONFIG) if self.per_shim else text

    def steps(self, seen: Observed) -> list[Step]:
        version = containerd.parse_version(seen.fields().get("version"))
        document = parse(self.text(seen, version), CONFIG)
        handlers = containerd.handlers_alone(version, document, self.shims)
        return self._towards(seen, version, handlers, containerd.main_settings(version, document, handlers))


def crio(shims: Sequence[Shim], pulled_inside: Sequence[str] = ()) -> bytes:
    """CRI-O's drop-in (cri-o, docs/crio.conf.5.md): a handler for each shim, which it starts as a VM runtime.

    Args:
        pulled_inside: names of shims whose images are pulled by the guest.
    """
    settings: list[Setting] = []
    for shim in shims:
        table = ("crio", "runtime", "runtimes", shim.handler)
        settings += [
            Setting("is", (*table, "runtime_path"), shim.runtime_path),
            Setting("is", (*table, "runtime_type"), "vm"),
            Setting("is", (*table, "runtime_root"), "/run/vc"),
            Setting("is", (*table, "runtime_config_path"), shim.config_path),
            Setting("is", (*table, "privileged_without_host_devices"), True),
        ]
        if shim.name in pulled_inside:
            settings.append(Setting("is", (*table, "runtime_pull_image"), True))
    return merge("# Managed by strongroom: handlers for Kata.\n", settings, CRIO).encode()


@dataclass(frozen=True)
class CrioHandlers(File):
    """That drop-in; taking it away restarts CRI-O, or it would go on with handlers whose programs are gone."""

    def undo(self, seen: Observed) -> list[Step]:
        steps = super().undo(seen)
        if not steps and not seen.interrupted:
            return []
        script = "".join(f"{step.script}\n" for step in steps) + service.restart(CRIO_UNIT, CRIO_READY)
        return [Step(self.key, f"remove {self.path}, and restart CRI-O", script, journal=True)]
