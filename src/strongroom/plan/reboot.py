"""That a host runs what it is configured to boot with.

Whether a reboot is due is read from the host: options that are configured and not in the running kernel's command line,
files that are read at boot and are younger than it (``btime`` of /proc/stat). No stamp is left, so nothing is forgotten
when a run dies in between, and a host that somebody else has rebooted is not rebooted again.
"""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.errors import StrongroomError
from strongroom.model.host_setup import KernelOption
from strongroom.plan import command_line
from strongroom.plan.boot_loaders import Facts, dump
from strongroom.plan.kernel_options import LOADERS, KernelOptions
from strongroom.plan.resource import Observed, Resource, Step, quote

BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
# The step's answer has to be out before the connection goes; nothing may keep the step lock that dies with the host.
DETACHED = (
    "sync\nnohup sh -c 'sleep 2; systemctl reboot || { sleep 30; systemctl reboot --force; }'"
    " </dev/null >/dev/null 2>&1 9>&- &"
)
_SLACK = 2
"""Seconds: btime is computed from the clock, and moves a little with it."""


@dataclass(frozen=True)
class ReadAtBoot:
    """A file that is read at boot alone; ``done`` is a shell test that succeeds where what it says is in effect already."""

    resource: Resource
    path: str
    done: str = "false"


@dataclass(frozen=True)
class Reboot(Resource):
    """The last of what a host is set up with. ``allowed`` is the inventory's word on it."""

    kernel: KernelOptions
    files: tuple[ReadAtBoot, ...] = ()
    allowed: bool = True

    @property
    def key(self) -> str:
        return "reboot"

    def read(self) -> str:
        parts = [
            f"( {self.kernel.read()}\n) | sed 's/^/kernel./'",
            dump("cmdline", "cat /proc/cmdline"),
            "sed -n 's/^btime /btime=/p' /proc/stat",
            "[ ! -e /etc/kubernetes/kubelet.conf ] || echo node=yes",
        ]
        for number, option in enumerate(self.kernel.options):
            if option.live:
                pattern = "|".join("*" if value == "*" else quote(value) for value in option.live.values)
                parts.append(
                    f"for f in {option.live.path}; do [ -r $f ] && read -r v < $f || continue\n"
                    f"    case $v in {pattern}) echo live={number};; esac; done"
                )
        patterns = " ".join(dict.fromkeys(path for loader in LOADERS.values() for path in loader.files))
        parts.append(f"stat -c 'configured=%Y' {patterns} 2>/dev/null | sort -t= -k2 -n | tail -n 1")
        for number, file in enumerate(self.files):
            parts.append(
                f"( {file.resource.read()}\n) | sed 's/^/file{number}./'\n"
                f"stat -c 'changed{number}=%Y' {quote(file.path)} 2>/dev/null; if {file.done}; then echo done{number}=yes; fi"
            )
        return "\n".join(parts)

    def steps(self, seen: Observed) -> list[Step]:
        facts = Facts(seen)
        why = [*self._options(facts), *self._files(facts)]
        if not why:
            return []
        reason = "; ".join(why)
        if not self.allowed:
            message = f"a reboot is due ({reason}), and host.reboot is never; reboot it, then apply again"
            return [Step(self.key, f"wait for you to reboot it ({reason})", f"fail {quote(message)}")]
        alone = facts.get("node") is not None
        return [
            Step(self.key, f"reboot ({reason})", DETACHED, because=self.kernel.key, reboot="alone" if alone else "any")
        ]

    def _options(self, facts: Facts) -> list[str]:
        below = Observed(facts.below("kernel").lines, facts.seen.interrupted)
        running = command_line.parse(facts.text("cmdline") or "")
        live = {line.removeprefix("live=") for line in facts.seen.lines if line.startswith("live=")}
        lacking = [
            option
            for number, option in enumerate(self.kernel.options)
            if option in self.kernel.wanted(below)
            and not command_line.held(option, running)
            and str(number) not in live
        ]
        # What was taken out of the configuration since: the plan of the options refuses it as long as it is there.
        refused = [one for one in self.kernel.refused if not one.vendors or below.fields().get("vendor") in one.vendors]
        gone = [one.text for one in command_line.contradictions((), refused, facts.text("cmdline") or "")]
        if not (lacking or gone) or self.kernel.loader(below) is None:
            return []  # without a loader the options' own step says what to do
        names = ", ".join([*(f"{one.text} is not in effect" for one in lacking), *(f"{one} still is" for one in gone)])
        configured, booted = int(facts.get("configured") or 0), int(facts.get("btime") or 0)
        if not self.kernel.steps(below) and configured + _SLACK < booted:
            raise StrongroomError(
                f"{names}, though configured before the last boot ({self._running(lacking, facts)})",
                hint="see which entry the host boots (its console, efibootmgr, grub-editenv list), and have it boot the default one",
            )
        return [names]

    @staticmethod
    def _running(lacking: list[KernelOption], facts: Facts) -> str:
        words = command_line.parse(facts.text("cmdline") or "")
        there = [word.text for option in lacking for word in command_line.named(words, option.name)]
        return f"/proc/cmdline has {' '.join(there)}" if there else "/proc/cmdline has none of it"

    def _files(self, facts: Facts) -> list[str]:
        booted, found = int(facts.get("btime") or 0), []
        for number, file in enumerate(self.files):
            if facts.get(f"done{number}"):
                continue
            changed = int(facts.get(f"changed{number}") or 0)
            pending = [
                step for step in file.resource.steps(facts.below(f"file{number}")) if "mend" not in step.sentence
            ]
            if pending or changed > booted + _SLACK:
                found.append(f"{file.path} is read at boot")
        return found
