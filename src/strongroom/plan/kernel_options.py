"""The options that a platform needs of the kernel, in whatever boots the host."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from strongroom.errors import StrongroomError
from strongroom.model.host_setup import KernelOption, RefusedOption
from strongroom.plan import command_line
from strongroom.plan.boot_entries import SystemdBoot, Zipl
from strongroom.plan.boot_grubby import Grubby
from strongroom.plan.boot_loaders import DETECT, BootLoader, Facts, GrubDropIn, GrubFile, dump
from strongroom.plan.resource import Observed, Resource, Step, quote

LOADERS: dict[str, BootLoader] = {
    loader.name: loader for loader in (GrubDropIn(), GrubFile(), Grubby(), SystemdBoot(), Zipl())
}
VENDOR = "sed -n '/^vendor_id/{s/^[^:]*: *//;s/^/vendor=/p;q;}' /proc/cpuinfo"  # s390x numbers its lines; it asks of no vendor
# Where modprobe takes options from; a line can go on behind a backslash.
_MODPROBE = (
    "for f in /run/modprobe.d/*.conf /etc/modprobe.d/*.conf /usr/lib/modprobe.d/*.conf /lib/modprobe.d/*.conf; do\n"
    '    [ -f "$f" ] || continue\n'
    "    sed -e :a -e '/\\\\$/N; s/\\\\\\n/ /; ta' \"$f\" |"
    " grep -E '^[[:space:]]*(options|blacklist)[[:space:]]+%s([[:space:]]|$)' | while read -r l; do\n"
    "        " + dump("modprobe", 'printf \'%s: %s\' "$f" "$l"') + "; done; done"
)


def for_vendor(options: Sequence[KernelOption], vendor: str) -> tuple[KernelOption, ...]:
    """The options that a CPU needs."""
    return tuple(option for option in options if not option.vendors or vendor in option.vendors)


@dataclass(frozen=True)
class KernelOptions(Resource):
    """Options that are on the kernel's command line from the next boot on (that it comes is ``plan.reboot``'s matter).

    One that somebody else has put there as it is wanted stays theirs. One that contradicts what is wanted is named, and
    nothing is changed: it is the owner's to take away. Undoing takes out what we have put in, and nothing else.
    """

    options: tuple[KernelOption, ...]
    refused: tuple[RefusedOption, ...] = ()

    @property
    def key(self) -> str:
        return "kernel options"

    def read(self) -> str:
        modules = sorted({option.name.partition(".")[0] for option in self.options if "." in option.name})
        parts = [VENDOR, DETECT, "case $loader in"]
        parts += [f"{name}) {loader.read()} ;;" for name, loader in LOADERS.items()]
        parts.append("esac")
        if modules:
            pattern = f"({'|'.join(re.sub('[-_]', '[-_]', name) for name in modules)})"
            parts.append(_MODPROBE.replace("%s", pattern, 1))
        return "\n".join(parts)

    def wanted(self, seen: Observed) -> tuple[KernelOption, ...]:
        """The options that this host's CPU needs."""
        return for_vendor(self.options, seen.fields().get("vendor", ""))

    def loader(self, seen: Observed) -> BootLoader | None:
        """What boots the host."""
        return LOADERS.get(seen.fields().get("loader", ""))

    def ours(self, facts: Facts, loader: BootLoader) -> list[str]:
        """The words that are ours to put in: what the owners' command lines have not.

        Raises:
            StrongroomError: they have what contradicts it.
        """
        view, wanted = loader.view(facts), self.wanted(facts.seen)
        for line in view.owner:
            if line.count('"') % 2:
                raise StrongroomError(
                    f"{loader.configuration}: a double quote is not closed in {line.strip()!r}",
                    hint="close it, then apply again",
                )
        refused = tuple(one for one in self.refused if not one.vendors or facts.get("vendor") in one.vendors)
        for found in command_line.contradictions((), refused, " ".join(option.text for option in wanted)):
            raise StrongroomError(
                f"cluster: host.kernel_options: found {found.text}: {found.why}",
                hint="take it out of the inventory",
            )
        for line in view.owner:
            for found in command_line.contradictions(wanted, refused, line):
                raise StrongroomError(
                    f"{loader.where(facts, found.text)}: kernel option {found.text}: {found.why}",
                    hint=f"{found.instead}, then apply again",
                )
        self._modules(facts, wanted)
        missing = [option for line in view.owner for option in command_line.missing(wanted, line)]
        return [option.text for option in wanted if option in missing]

    @staticmethod
    def _modules(facts: Facts, wanted: Sequence[KernelOption]) -> None:
        for said in facts.texts("modprobe"):
            path, _, line = said.partition(": ")
            kind, module, *words = line.split()
            module = module.replace("-", "_")
            if kind == "blacklist" and any(option.name.partition(".")[0] == module for option in wanted):
                raise StrongroomError(f"{path}: {line}: the platform needs this module", hint="take the line out")
            options = " ".join(f"{module}.{word}" for word in words)
            for found in command_line.contradictions(wanted, (), options):
                raise StrongroomError(
                    f"{path}: {line}: {found.text.partition('.')[2]} contradicts the platform: {found.why}",
                    hint=f"{found.instead.replace(f'{module}.', '')}, then apply again",
                )

    def preview(self) -> str:
        """All options, each with the CPUs that need it."""
        return "".join(f"{option.text}  {', '.join(option.vendors)}".rstrip() + "\n" for option in self.options)

    def steps(self, seen: Observed) -> list[Step]:
        facts, loader = Facts(seen), self.loader(seen)
        if loader is None:
            needed = " ".join(option.text for option in self.wanted(seen))
            if not needed:
                return []
            message = (
                f"no boot loader that strongroom knows; put {needed} on the kernel's command line yourself, and reboot"
            )
            return [Step(self.key, f"have the kernel boot with {needed}", f"fail {quote(message)}")]
        change = loader.change(facts, self.ours(facts, loader))
        return [] if change is None else [Step(self.key, f"kernel options: {change[0]}", change[1], journal=True)]

    def undo(self, seen: Observed) -> list[Step]:
        loader = self.loader(seen)
        script = loader.undo(Facts(seen)) if loader else None
        if script is None:
            return []
        return [
            Step(
                self.key, "take our options off the kernel's command line (from the next boot on)", script, journal=True
            )
        ]


def option(text: str, why: str) -> KernelOption:
    """An option that the inventory asks for."""
    name, mark, value = text.partition("=")
    return KernelOption(name=name, value=value if mark else None, why=why, source="the inventory")
