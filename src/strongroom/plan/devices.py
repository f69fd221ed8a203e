"""What a platform's host side needs beside the kernel's options: groups, rights of devices, firmware, services, limits."""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.model.host_setup import DeviceRule, Service
from strongroom.plan.files import File
from strongroom.plan.kernel_options import VENDOR
from strongroom.plan.resource import Observed, Resource, Step, quote
from strongroom.plan.script import STATE
from strongroom.plan.system import Unit

_ORIGINAL = f"{STATE}/original"


@dataclass(frozen=True)
class SystemGroup(Resource):
    """A system group, on the CPUs that need it; undoing removes the one that we made."""

    name: str
    vendors: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"group {self.name}"

    @property
    def _made(self) -> str:
        return f"{_ORIGINAL}/groups/{self.name}"

    def read(self) -> str:
        return (
            f"{VENDOR}\n! getent group {self.name} >/dev/null || echo there=yes\n[ ! -e {self._made} ] || echo made=yes"
        )

    def steps(self, seen: Observed) -> list[Step]:
        now = seen.fields()
        if "there" in now or (self.vendors and now.get("vendor") not in self.vendors):
            return []
        script = (
            f"mkdir -p {_ORIGINAL}/groups; chmod 0700 {_ORIGINAL}\n"
            f": > {self._made}; sync {self._made}\ngroupadd --system {self.name}"
        )
        return [Step(self.key, f"add the group {self.name} (absent)", script)]

    def undo(self, seen: Observed) -> list[Step]:
        now = seen.fields()
        if "made" not in now:
            return []
        remove = f"groupdel {self.name}\n" if "there" in now else ""
        forget = f"rm -f {self._made}; rmdir {_ORIGINAL}/groups {_ORIGINAL} 2>/dev/null || true"
        return [Step(self.key, f"remove the group {self.name}", f"{remove}{forget}")]


@dataclass(frozen=True)
class DeviceRights(Resource):
    """Owner group and mode of device files: a udev rule for what comes, and in effect on what is there."""

    devices: tuple[DeviceRule, ...]
    path: str = "/etc/udev/rules.d/99-strongroom.rules"

    @property
    def key(self) -> str:
        return "device rights"

    @property
    def rules(self) -> File:
        """The rules; they come last, so that no other rule has the last word."""
        lines = "".join(
            f'SUBSYSTEM=="misc", KERNEL=="{one.kernel}", GROUP="{one.group}", MODE="{one.mode}"\n'
            for one in self.devices
        )
        return File(self.path, f"# Managed by strongroom.\n{lines}".encode())

    def read(self) -> str:
        names = " ".join(f"/dev/{one.kernel}" for one in self.devices)
        return f"{self.rules.read()}\nfor d in {names}; do [ ! -e $d ] || stat -c 'device.%n=%04a %G' $d; done"

    def _trigger(self) -> str:
        return "".join(
            f"[ ! -e /dev/{one.kernel} ] || udevadm trigger --action=change --name-match=/dev/{one.kernel}\n"
            for one in self.devices
        )

    def steps(self, seen: Observed) -> list[Step]:
        now = seen.fields()
        rules = Observed(tuple(line for line in seen.lines if not line.startswith("device.")))
        written = [Step(self.key, step.sentence, step.script) for step in self.rules.steps(rules)]
        wrong = [
            f"/dev/{one.kernel} is {is_}, wanted {one.mode} {one.group}"
            for one in self.devices
            if (is_ := now.get(f"device./dev/{one.kernel}")) is not None and is_ != f"{one.mode} {one.group}"
        ]
        if not wrong:
            return written
        script = f"udevadm control --reload\n{self._trigger()}udevadm settle --timeout=30"
        return [*written, Step(self.key, f"give devices their rights ({'; '.join(wrong)})", script)]

    def undo(self, seen: Observed) -> list[Step]:
        rules = Observed(tuple(line for line in seen.lines if not line.startswith("device.")))
        script = "udevadm control --reload || true\n" + self._trigger()
        return [Step(self.key, step.sentence, f"{step.script}\n{script}") for step in self.rules.undo(rules)]


@dataclass(frozen=True)
class Firmware(Resource):
    """A firmware file out of an installed component, where the kernel looks before the distribution's own place.

    The kernel's order is updates/RELEASE, updates, RELEASE, /lib/firmware (drivers/base/firmware_loader/main.c), so no
    file of a package is replaced, and taking ours away brings the distribution's back.
    """

    name: str
    source: str
    sha256: str

    @property
    def path(self) -> str:
        """Where it lies."""
        return f"/lib/firmware/updates/{self.name}"

    @property
    def key(self) -> str:
        return f"firmware {self.name}"

    def read(self) -> str:
        path = quote(self.path)
        return (
            f"[ -L {path} ] && echo sum=link || {{ [ ! -e {path} ] || echo sum=$(sha256sum < {path} | cut -c1-64); }}"
        )

    def steps(self, seen: Observed) -> list[Step]:
        now = seen.fields().get("sum")
        if now == self.sha256:
            return []
        script = (
            f"printf '%s  %s\\n' {self.sha256} {quote(self.source)} | sha256sum -c --status"
            f" || fail {quote(f'{self.source}: is not what the bundle lists; apply again')}\n"
            f"put {quote(self.path)} 0644 root:root < {quote(self.source)}"
        )
        why = "absent" if now is None else "a link" if now == "link" else "content differs"
        return [Step(self.key, f"lay down {self.path} ({why})", script)]

    def undo(self, seen: Observed) -> list[Step]:
        if seen.fields().get("sum") != self.sha256:
            return []
        return [Step(self.key, f"remove {self.path}", f"rm -f {quote(self.path)}")]


@dataclass(frozen=True)
class Attestation(Resource):
    """A service of the platform's attestation: running where it is installed, told of where it is not."""

    service: Service

    @property
    def key(self) -> str:
        return f"unit {self.service.unit}"

    @property
    def _unit(self) -> Unit:
        return Unit(self.service.unit, foreign=True)

    @property
    def _was(self) -> str:
        return f"{_ORIGINAL}/units/{self.service.unit}"

    def read(self) -> str:
        return (
            f"{VENDOR}\n{self._unit.read()}\nif {self.service.unless}; then echo elsewhere=yes; fi\n"
            f"[ ! -e {self._was} ] || echo was=$(cat {self._was})"
        )

    def steps(self, seen: Observed) -> list[Step]:
        now = seen.fields()
        if now.get("LoadState") != "loaded" or not self._asked(now):
            return []
        if now.get("UnitFileState") == "masked":
            return []  # its owner's word; the note says so
        steps = self._unit.steps(seen)
        if self.service.kind == "oneshot":
            # At rest after it ran: inactive is as it should be, and starting it again registers again.
            steps = [step for step in steps if not step.sentence.startswith("start")]
        if not steps or "was" in now:
            return steps
        was = f"{now.get('UnitFileState', '')}/{now.get('ActiveState', '')}"
        keep = (
            f"mkdir -p {_ORIGINAL}/units; chmod 0700 {_ORIGINAL}\n"
            f"printf '%s\\n' {quote(was)} | put {self._was} 0600 root:root\n"
        )
        return [Step(**{**steps[0].__dict__, "script": keep + steps[0].script}), *steps[1:]]

    def _asked(self, now: dict[str, str]) -> bool:
        vendors = self.service.vendors
        return "elsewhere" not in now and (not vendors or now.get("vendor") in vendors)

    def undo(self, seen: Observed) -> list[Step]:
        """As it was enabled and running before us."""
        was = seen.fields().get("was")
        if was is None:
            return []
        enabled, _, active = was.partition("/")
        unit = quote(self.service.unit)
        script = "" if enabled == "enabled" else f"systemctl disable -q {unit}\n"
        script += "" if active == "active" else f"systemctl stop {unit}\n"
        script += f"rm -f {self._was}; rmdir {_ORIGINAL}/units {_ORIGINAL} 2>/dev/null || true"
        return [Step(self.key, f"{self.service.unit} as it was ({enabled or 'not enabled'}, {active})", script)]

    def notes(self, seen: Observed) -> list[str]:
        now = seen.fields()
        if not self._asked(now):
            return []
        if now.get("UnitFileState") == "masked":
            return [f"{self.service.unit} is masked, and stays so; the platform's attestation needs it"]
        return [] if now.get("LoadState") == "loaded" else [f"{self.service.unit} is missing: {self.service.missing}"]


@dataclass(frozen=True)
class LockedMemory(Resource):
    """What a unit's processes may lock, in effect: the drop-in counts from the next start of the unit on."""

    unit: str

    @property
    def key(self) -> str:
        return f"locked memory of {self.unit}"

    @property
    def drop_in(self) -> File:
        """The unit's drop-in."""
        text = (
            "# Managed by strongroom: the memory of a confidential guest is locked.\n[Service]\nLimitMEMLOCK=infinity\n"
        )
        return File(f"/etc/systemd/system/{self.unit}.d/10-strongroom.conf", text.encode())

    def read(self) -> str:
        return (
            f"{self.drop_in.read()}\npid=$(systemctl show {self.unit} -p MainPID --value)\n"
            "[ \"${pid:-0}\" = 0 ] || sed -n 's/^Max locked memory *\\([^ ]*\\) .*/locked=\\1/p' /proc/$pid/limits"
        )

    def steps(self, seen: Observed) -> list[Step]:
        file = Observed(tuple(line for line in seen.lines if not line.startswith("locked=")))
        steps = [Step(self.key, step.sentence, step.script) for step in self.drop_in.steps(file)]
        locked = seen.fields().get("locked")
        if locked in (None, "unlimited"):
            return steps
        sentence = f"restart {self.unit} (its processes may lock {locked} bytes)"
        script = f"systemctl daemon-reload\nsystemctl try-restart {self.unit}"
        return [*steps, Step(self.key, sentence, script, because=f"file {self.drop_in.path}")]

    def undo(self, seen: Observed) -> list[Step]:
        file = Observed(tuple(line for line in seen.lines if not line.startswith("locked=")))
        return [Step(self.key, step.sentence, step.script) for step in self.drop_in.undo(file)]
