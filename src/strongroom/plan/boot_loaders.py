"""Where a host's boot loader takes the kernel's command line from, and how it is told of a change.

A loader says how its configuration is read (sh), which options are somebody else's and which are in effect, and how ours
come in and go out again. Which one a host has is found on the host, by what is there (:data:`DETECT`).
"""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from strongroom.errors import StrongroomError
from strongroom.plan.files import Block, File
from strongroom.plan.resource import Observed, quote
from strongroom.plan.script import STATE

KEPT = f"{STATE}/original/kernel-options"
DROP_IN = "/etc/default/grub.d/90-strongroom.cfg"
GRUB = "/etc/default/grub"

# In the order of what proves most: what the firmware was told booted this machine, then tools beside their data.
DETECT = r"""
loader=none
v=/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f
mk=$(command -v grub-mkconfig || command -v grub2-mkconfig)
entries() { ls /boot/loader/entries/*.conf /efi/loader/entries/*.conf /boot/efi/loader/entries/*.conf 2>/dev/null | grep -q .; }
if [ -r "$v" ] && tr -d '\000' < "$v" | grep -qa systemd-boot; then loader=systemd-boot
elif command -v grubby >/dev/null && entries; then loader=grubby
elif [ -f /etc/zipl.conf ] && command -v zipl >/dev/null; then loader=zipl
elif [ -n "$mk" ] && [ -f /etc/default/grub ]; then
    loader=grub; ! grep -q default/grub\\.d "$mk" || loader=grub.d
elif command -v kernel-install >/dev/null && { [ -f /etc/kernel/cmdline ] || entries; }; then loader=systemd-boot
fi
echo loader=$loader
"""


class Facts:
    """An observation whose values are base64, some under keys that come several times."""

    def __init__(self, seen: Observed) -> None:
        self.seen = seen
        self._plain = seen.fields()

    def get(self, key: str) -> str | None:
        """A value as it was printed."""
        return self._plain.get(key)

    def text(self, key: str) -> str | None:
        """A file's text; bytes that are no UTF-8 stay, as surrogates."""
        value = self._plain.get(key)
        return None if value is None else base64.b64decode(value).decode(errors="surrogateescape")

    def texts(self, key: str) -> list[str]:
        """All values of a key."""
        start = f"{key}="
        return [
            base64.b64decode(line.removeprefix(start)).decode(errors="surrogateescape")
            for line in self.seen.lines
            if line.startswith(start)
        ]

    def below(self, key: str) -> Observed:
        """What another resource's reader printed, each line behind ``key.``."""
        start = f"{key}."
        return Observed(tuple(line.removeprefix(start) for line in self.seen.lines if line.startswith(start)))


def bytes_of(text: str) -> bytes:
    """A text of :class:`Facts` as it was."""
    return text.encode(errors="surrogateescape")


@dataclass(frozen=True)
class View:
    """A loader's configuration: the owners' command lines without ours, and those that the next boot may take."""

    owner: tuple[str, ...]
    effective: tuple[str, ...]
    ours: tuple[str, ...] = ()
    """What is known to be ours, where it stands among other people's."""


class BootLoader(ABC):
    """One way; found by its name."""

    name: ClassVar[str]
    configuration: ClassVar[str]
    """What an operator is told to edit."""
    files: ClassVar[tuple[str, ...]]
    """Patterns of the files whose change the next boot reads."""

    @abstractmethod
    def read(self) -> str:
        """POSIX sh that prints the configuration."""

    @abstractmethod
    def view(self, facts: Facts) -> View:
        """The configuration.

        Raises:
            StrongroomError: it can't be understood; the message names the file.
        """

    @abstractmethod
    def change(self, facts: Facts, ours: Sequence[str]) -> tuple[str, str] | None:
        """What is to do, and the script; None where our options are already what they should be."""

    @abstractmethod
    def undo(self, facts: Facts) -> str | None:
        """The script that takes ours out; None where there is nothing of ours."""

    def where(self, facts: Facts, word: str) -> str:
        """The file in which somebody has put a word."""
        return self.configuration


def dump(key: str, command: str) -> str:
    """Prints what a command says as ``key=<base64>``."""
    return f'printf "{key}=%s\\n" "$({command} | base64 -w0)"'


_DUMP_LINE = dump("entry", 'printf %s "$l"')
_MARK = "strongroom-complete"
_MAKE = (
    "if command -v update-grub >/dev/null; then update-grub\n"
    "else c=/boot/grub/grub.cfg; [ -d /boot/grub ] || c=/boot/grub2/grub.cfg\n"
    '    "$(command -v grub-mkconfig || command -v grub2-mkconfig)" -o $c; fi'
)


class _Grub(BootLoader):
    """GRUB whose menu is made by grub-mkconfig from ``/etc/default/grub``: shell, read as grub-mkconfig reads it."""

    files = (GRUB, "/etc/default/grub.d/*.cfg")

    #: Shell that reads the settings; ``$ours`` is where ours are, ``$1`` whether they count.
    settings: ClassVar[str]

    def read(self) -> str:
        # As grub-mkconfig does it, but in a shell of its own, which a broken file can end and not hang.
        program = (
            f'{self.settings}\nprintf "%s %s" "$GRUB_CMDLINE_LINUX" "$GRUB_CMDLINE_LINUX_DEFAULT"; printf "\\n{_MARK}"'
        )
        evaluate = f"timeout 10 sh -c {quote(program)} sh"
        section = "/^### BEGIN .*10_linux ###$/,/^### END /"
        return (
            f"{dump('owner', f'{evaluate} without </dev/null')}\n{dump('effective', f'{evaluate} with </dev/null')}\n"
            "for f in /boot/grub/grub.cfg /boot/grub2/grub.cfg; do [ -f $f ] || continue\n"
            f"    sed -n '{section}{{s/^[[:space:]]*linux[a-z0-9]*[[:space:]]//p;}}' $f | while read -r l; do"
            f" {_DUMP_LINE}; done\ndone\n"
            f'for f in {GRUB} /etc/default/grub.d/*.cfg; do [ -f "$f" ] || continue\n'
            f'    printf \'set.%s=%s\\n\' "$(base64 -w0 < "$f")" "$f"; done\n'
            f"( {self._own().read()} ) | sed 's/^/own./'"
        )

    @abstractmethod
    def _own(self, ours: Sequence[str] = ()) -> File | Block:
        """The resource that holds our options."""

    @staticmethod
    def lines(ours: Sequence[str]) -> str:
        """The setting, before what earlier files say: behind a ``--`` of theirs it would be init's."""
        return f'GRUB_CMDLINE_LINUX="{" ".join(ours)} $GRUB_CMDLINE_LINUX"\n'

    def _evaluated(self, facts: Facts, key: str) -> str:
        text = facts.text(key) or ""
        if not text.endswith(_MARK):
            raise StrongroomError(
                f"{GRUB} and {GRUB}.d: a shell cannot read them to their end, nor could grub-mkconfig",
                hint="mend them (sh -n FILE names the line), then apply again",
            )
        return text.removesuffix(f"\n{_MARK}")

    def view(self, facts: Facts) -> View:
        return View((self._evaluated(facts, "owner"),), (self._evaluated(facts, "effective"), *facts.texts("entry")))

    def change(self, facts: Facts, ours: Sequence[str]) -> tuple[str, str] | None:
        own = self._own(ours)
        seen = facts.below("own")
        steps = own.steps(seen) if ours else own.undo(seen)
        if steps and steps[0].sentence.startswith("mend"):
            return steps[0].sentence, steps[0].script
        if steps:
            return f"{steps[0].sentence}, make GRUB's menu anew", f"{steps[0].script}\n{_MAKE}"
        if facts.seen.interrupted:
            return "make GRUB's menu anew (it was cut off)", _MAKE
        effective = self._evaluated(facts, "effective").split()
        if lost := [word for word in ours if word not in effective]:
            raise StrongroomError(
                f"{self._later(facts)}: sets GRUB_CMDLINE_LINUX anew and drops {lost[0]}",
                hint='have it add to what is there: GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX …"',
            )
        for entry in facts.texts("entry"):
            if lost := [word for word in ours if word not in entry.split()]:
                return f"make GRUB's menu anew (an entry has no {lost[0]})", _MAKE
        return None

    def _later(self, facts: Facts) -> str:
        found = [path for path, text in self._set(facts) if "GRUB_CMDLINE_LINUX=" in text and path != DROP_IN]
        return found[-1] if found else GRUB

    @staticmethod
    def _set(facts: Facts) -> Iterable[tuple[str, str]]:
        for line in facts.seen.lines:
            if line.startswith("set."):
                encoded, _, path = line.removeprefix("set.").rpartition("=/")
                yield f"/{path}", base64.b64decode(encoded).decode(errors="surrogateescape")

    def undo(self, facts: Facts) -> str | None:
        steps = self._own().undo(facts.below("own"))
        if not steps and not facts.seen.interrupted:
            return None
        return "\n".join([*(step.script for step in steps), _MAKE])

    def where(self, facts: Facts, word: str) -> str:
        # Without comments: a commented-out word is nobody's setting.
        for path, text in self._set(facts):
            if path != DROP_IN and any(word in line.partition("#")[0] for line in text.splitlines()):
                return path
        return GRUB


class GrubDropIn(_Grub):
    """Debian's and Ubuntu's grub-mkconfig reads ``/etc/default/grub.d/*.cfg`` after ``/etc/default/grub``.

    Source: grub-common 2.06-13+deb12u2, grub-mkconfig lines 160-167.
    """

    name = "grub.d"
    configuration = f"{GRUB} or {GRUB}.d"
    settings = (
        f"[ ! -f {GRUB} ] || . {GRUB}\n"
        f'for x in /etc/default/grub.d/*.cfg; do [ -e "$x" ] || continue\n'
        f'    if [ "$x" != {DROP_IN} ] || [ "$1" = with ]; then . "$x"; fi; done'
    )

    def _own(self, ours: Sequence[str] = ()) -> File:
        comment = "# Managed by strongroom: what the host's platform needs of the kernel.\n"
        return File(DROP_IN, (comment + self.lines(ours)).encode())


class GrubFile(_Grub):
    """GRUB as it comes from upstream, which reads ``/etc/default/grub`` alone: a block at its end."""

    name = "grub"
    configuration = GRUB
    settings = (
        f'if [ "$1" = with ]; then . {GRUB}; else\n'
        f"eval \"$(sed '/^# BEGIN strongroom kernel options$/,/^# END strongroom kernel options$/d' {GRUB})\"; fi"
    )

    def _own(self, ours: Sequence[str] = ()) -> Block:
        return Block(GRUB, "kernel options", self.lines(ours))

    def change(self, facts: Facts, ours: Sequence[str]) -> tuple[str, str] | None:
        text = next((text for path, text in self._set(facts) if path == GRUB), "")
        if ours and text and (not text.endswith("\n") or text.endswith("\\\n")):
            raise StrongroomError(
                f"{GRUB}: its last line is not ended, and nothing can be added behind it",
                hint="end it, then apply again",
            )
        return super().change(facts, ours)
