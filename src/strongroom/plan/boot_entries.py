"""Boot loaders whose command line stands in files that are edited in place: systemd-boot and zipl.

What such a file was like before our first edit is kept, with a note of what we put in. As long as nobody but us has
edited it since, undoing brings those very bytes back; otherwise it takes out our options alone.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

from strongroom.errors import StrongroomError
from strongroom.plan import command_line
from strongroom.plan.boot_loaders import KEPT, BootLoader, Facts, View, bytes_of, dump
from strongroom.plan.boot_note import FORGET, NOTE, Note, digest
from strongroom.plan.files import decoded
from strongroom.plan.resource import quote


class _EditedFile(BootLoader):
    """A configuration file with command lines in it."""

    path: ClassVar[str]
    regenerate: ClassVar[str]
    """Script that has the boot loader take up the file."""

    def read(self) -> str:
        return (
            f"[ ! -f {self.path} ] || {dump('config', f'cat {self.path}')}\n"
            f"[ ! -L {self.path} ] || echo link=yes\n"
            f"[ ! -f {NOTE} ] || {dump('note', f'cat {NOTE}')}\n"
            f"[ ! -f {KEPT}/file ] || {dump('kept', f'cat {KEPT}/file')}"
        )

    @abstractmethod
    def _edit(self, text: str, edit: Callable[[str], str]) -> str:
        """The text with every command line in it edited."""

    def _base(self, facts: Facts) -> str | None:
        """What counts where the file is not there; None where it has to be."""
        return None

    @abstractmethod
    def _stale(self, facts: Facts, ours: Sequence[str]) -> str | None:
        """Why the boot loader has to be told again, though the file is as it should be."""

    def _current(self, facts: Facts) -> str:
        if facts.get("link"):
            raise StrongroomError(f"{self.path}: is a symbolic link; strongroom edits a regular file only")
        config = facts.text("config")
        base = self._base(facts) if config is None else config
        if base is None:
            raise StrongroomError(f"{self.path}: is not there", hint="configure the boot loader, then apply again")
        return base

    def _without_ours(self, facts: Facts, text: str) -> str:
        note = Note.of(facts)
        return self._edit(text, lambda line: command_line.remove(line, note.ours)) if note else text

    def view(self, facts: Facts) -> View:
        text = self._current(facts)
        note = Note.of(facts)
        return View(self._lines(self._without_ours(facts, text)), self._lines(text), note.ours if note else ())

    def _lines(self, text: str) -> tuple[str, ...]:
        found: list[str] = []

        def see(line: str) -> str:
            found.append(line)
            return line

        self._edit(text, see)
        return tuple(found)

    def change(self, facts: Facts, ours: Sequence[str]) -> tuple[str, str] | None:
        now, text = facts.text("config"), self._current(facts)

        def edit(line: str) -> str:
            there = [word.text for word in command_line.parse(line)]
            return command_line.add(line, [word for word in ours if word not in there])

        wanted = self._edit(self._without_ours(facts, text), edit)
        if not ours and now is None:
            return None
        if wanted != now:
            what = f"write {self.path}{' (absent)' if now is None else ''}, and have the boot loader take it up"
            return what, f"{self._write(facts, wanted, ours)}{self.regenerate}"
        why = "it was cut off" if facts.seen.interrupted else self._stale(facts, ours)
        return (f"have the boot loader take up {self.path} ({why})", self.regenerate) if why else None

    def _write(self, facts: Facts, wanted: str, ours: Sequence[str]) -> str:
        now, before = facts.text("config"), Note.of(facts)
        keep = (
            ""
            if before or now is None
            else f"mkdir -p {KEPT}; cp -a {self.path} {KEPT}/.new; sync {KEPT}/.new; mv {KEPT}/.new {KEPT}/file\n"
        )
        if before is None:
            note = Note(tuple(ours), now is None, True, (digest(wanted),), self._current(facts))
        else:
            only_ours = before.only_ours and (digest(now) in before.written or now == facts.text("kept"))
            # The sum before this one counts too: this write can be cut off.
            written = (digest(wanted), digest(now)) if only_ours else (digest(wanted),)
            note = Note(tuple(ours), before.absent, only_ours, written, before.base)
        mode = f'"$(stat -c %04a {self.path} 2>/dev/null || echo 0644)" "$(stat -c %U:%G {self.path} 2>/dev/null || echo root:root)"'
        return f"{self._unchanged(now)}{keep}{note.put()}{decoded(bytes_of(wanted), f'put {self.path} {mode}')}\n"

    def _unchanged(self, now: str | None) -> str:
        message = quote(f"{self.path} was changed while strongroom read it; run it again")
        if now is None:
            return f"[ ! -e {self.path} ] || fail {message}\n"
        return f"printf '%s  %s\\n' {digest(now)} {self.path} | sha256sum -c --status || fail {message}\n"

    def undo(self, facts: Facts) -> str | None:
        note, now = Note.of(facts), facts.text("config")
        if note is None:
            return f"{self.regenerate}\n{FORGET}" if facts.seen.interrupted else None
        # The base is what an undo writes first where there was no file; it can be cut off behind that.
        pristine = note.only_ours and (digest(now) in note.written or (note.absent and now == note.base))
        if now is None:
            back = ""
        elif pristine and note.absent:
            # Without the file the running kernel's line would count, which still has ours.
            back = f"{decoded(bytes_of(note.base), f'put {self.path} 0644 root:root')}\n"
            return f"{back}{self.regenerate}\nrm -f {self.path}\n{FORGET}"
        elif pristine:
            new = f"{self.path.rpartition('/')[0]}/.strongroom-new"
            back = f"cp -a {KEPT}/file {new}; sync {new}; mv -f {new} {self.path}\n"
        else:
            rest = self._without_ours(facts, now)
            owner = f'"$(stat -c %04a {self.path})" "$(stat -c %U:%G {self.path})"'
            back = f"{decoded(bytes_of(rest), f'put {self.path} {owner}')}\n"
        return f"{self._unchanged(now)}{back}{self.regenerate}\n{FORGET}"


class SystemdBoot(_EditedFile):
    """``/etc/kernel/cmdline``, from which kernel-install makes the entries.

    Source: kernel-install(8) and 90-loaderentry.install of systemd 252: the file in /etc, that in /usr/lib, else the
    running kernel's line without BOOT_IMAGE and initrd.
    """

    name = "systemd-boot"
    configuration = path = "/etc/kernel/cmdline"
    files = (path,)
    regenerate = (
        "for m in /lib/modules/*; do v=$(basename $m); i=/boot/initrd.img-$v; [ -e $i ] || i=\n"
        "    for k in $m/vmlinuz /boot/vmlinuz-$v; do [ -e $k ] || continue\n"
        "        kernel-install add $v $k $i; break; done; done"
    )

    def read(self) -> str:
        return (
            f"{super().read()}\n"
            "if [ -f /usr/lib/kernel/cmdline ]; then "
            + dump("base", "cat /usr/lib/kernel/cmdline")
            + "\nelse "
            + dump(
                "base",
                "tr -s ' ' '\\n' < /proc/cmdline | grep -v -e ^BOOT_IMAGE= -e ^initrd= | tr '\\n' ' ' | sed 's/ $//'",
            )
            + "\nfi\n"
            "for d in /efi /boot /boot/efi; do for f in $d/loader/entries/*.conf; do [ -f $f ] || continue\n"
            "    v=$(sed -n 's/^version[[:space:]]*//p' $f); [ -n \"$v\" ] && [ -d /lib/modules/$v ] || continue\n"
            "    " + dump("entry", "sed -n 's/^options[[:space:]]*//p' $f | tr '\\n' ' '") + "; done\n"
            # A unified kernel image has its command line sealed in: it has to be younger than the file.
            "    for m in /lib/modules/*; do for f in $d/EFI/Linux/*-${m##*/}.efi; do\n"
            f"        [ -f $f ] && [ {self.path} -nt $f ] && echo sealed=$f; done; done\ndone"
        )

    def _base(self, facts: Facts) -> str | None:
        return (facts.text("base") or "") + "\n"

    def _edit(self, text: str, edit: Callable[[str], str]) -> str:
        return edit(text)

    def _stale(self, facts: Facts, ours: Sequence[str]) -> str | None:
        for entry in facts.texts("entry"):
            if lost := [word for word in ours if word not in entry.split()]:
                return f"an entry has no {lost[0]}"
        return f"{facts.get('sealed')} is older" if facts.get("sealed") else None


_PARAMETERS = re.compile(
    r"""^(?P<head>[ \t]*parameters[ \t]*=[ \t]*)(?P<quote>["']?)(?P<line>[^\n]*?)(?P=quote)(?P<tail>[ \t]*)$""", re.M
)


class Zipl(_EditedFile):
    """``parameters`` of every section of ``/etc/zipl.conf``, which zipl writes into the boot map (zipl.conf(5))."""

    name = "zipl"
    configuration = path = "/etc/zipl.conf"
    files = (path,)
    regenerate = "zipl >/dev/null"

    def read(self) -> str:
        return f"{super().read()}\n[ ! {self.path} -nt /boot/bootmap ] || echo stale=yes"

    def _edit(self, text: str, edit: Callable[[str], str]) -> str:
        def section(match: re.Match[str]) -> str:
            line = edit(match["line"])
            mark = match["quote"] or ('"' if " " in line and line != match["line"] else "")
            return f"{match['head']}{mark}{line}{mark}{match['tail']}"

        return _PARAMETERS.sub(section, text)

    def view(self, facts: Facts) -> View:
        found = super().view(facts)
        if not found.owner:
            raise StrongroomError(
                f"{self.path}: has no parameters= line", hint="give its section one, then apply again"
            )
        return found

    def _stale(self, facts: Facts, ours: Sequence[str]) -> str | None:
        return "the boot map is older" if facts.get("stale") else None
