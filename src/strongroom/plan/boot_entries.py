"""Boot loaders whose command line stands in files that are edited in place: systemd-boot, zipl, and grubby's entries.

What such a file was like before our first edit is kept, with a note of what we put in. As long as nobody but us has
edited it since, undoing brings those very bytes back; otherwise it takes out our options alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

from strongroom.errors import StrongroomError
from strongroom.plan import command_line
from strongroom.plan.boot_loaders import KEPT, BootLoader, Facts, View, bytes_of, dump
from strongroom.plan.files import decoded
from strongroom.plan.resource import quote

_NOTE = f"{KEPT}/note.json"


def _sum(text: str | None) -> str:
    return "" if text is None else hashlib.sha256(bytes_of(text)).hexdigest()


@dataclass(frozen=True)
class Note:
    """What we know of our edits. ``base`` is the line that counted where there was no file."""

    ours: tuple[str, ...] = ()
    absent: bool = False
    only_ours: bool = True
    written: tuple[str, ...] = ()
    base: str = ""
    theirs: dict[str, list[str]] | None = None
    """grubby only: kernel -> words of ours that its owner had there before."""

    @classmethod
    def of(cls, facts: Facts) -> Note | None:
        """From the host."""
        text = facts.text("note")
        if text is None:
            return None
        fields = json.loads(text)
        return cls(**{**fields, "ours": tuple(fields["ours"]), "written": tuple(fields["written"])})

    def put(self) -> str:
        """The script that writes it."""
        text = json.dumps(asdict(self), indent=1).encode() + b"\n"
        return (
            f"mkdir -p {KEPT}; chmod 0700 {KEPT.rpartition('/')[0]}\n{decoded(text, f'put {_NOTE} 0600 root:root')}\n"
        )


_FORGET = f"rm -rf {KEPT}; rmdir {KEPT.rpartition('/')[0]} 2>/dev/null || true"


class _EditedFile(BootLoader):
    """A configuration file with command lines in it."""

    path: ClassVar[str]
    regenerate: ClassVar[str]
    """Script that has the boot loader take up the file."""

    def read(self) -> str:
        return (
            f"[ ! -f {self.path} ] || {dump('config', f'cat {self.path}')}\n"
            f"[ ! -L {self.path} ] || echo link=yes\n"
            f"[ ! -f {_NOTE} ] || {dump('note', f'cat {_NOTE}')}\n"
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
            note = Note(tuple(ours), now is None, True, (_sum(wanted),), self._current(facts))
        else:
            only_ours = before.only_ours and (_sum(now) in before.written or now == facts.text("kept"))
            # The sum before this one counts too: this write can be cut off.
            written = (_sum(wanted), _sum(now)) if only_ours else (_sum(wanted),)
            note = Note(tuple(ours), before.absent, only_ours, written, before.base)
        mode = f'"$(stat -c %04a {self.path} 2>/dev/null || echo 0644)" "$(stat -c %U:%G {self.path} 2>/dev/null || echo root:root)"'
        return f"{self._unchanged(now)}{keep}{note.put()}{decoded(bytes_of(wanted), f'put {self.path} {mode}')}\n"

    def _unchanged(self, now: str | None) -> str:
        message = quote(f"{self.path} was changed while strongroom read it; run it again")
        if now is None:
            return f"[ ! -e {self.path} ] || fail {message}\n"
        return f"printf '%s  %s\\n' {_sum(now)} {self.path} | sha256sum -c --status || fail {message}\n"

    def undo(self, facts: Facts) -> str | None:
        note, now = Note.of(facts), facts.text("config")
        if note is None:
            return f"{self.regenerate}\n{_FORGET}" if facts.seen.interrupted else None
        pristine = note.only_ours and _sum(now) in note.written
        if now is None:
            back = ""
        elif pristine and note.absent:
            # Without the file the running kernel's line would count, which still has ours.
            back = f"{decoded(bytes_of(note.base), f'put {self.path} 0644 root:root')}\n"
            return f"{back}{self.regenerate}\nrm -f {self.path}\n{_FORGET}"
        elif pristine:
            new = f"{self.path.rpartition('/')[0]}/.strongroom-new"
            back = f"cp -a {KEPT}/file {new}; sync {new}; mv -f {new} {self.path}\n"
        else:
            rest = self._without_ours(facts, now)
            owner = f'"$(stat -c %04a {self.path})" "$(stat -c %U:%G {self.path})"'
            back = f"{decoded(bytes_of(rest), f'put {self.path} {owner}')}\n"
        return f"{self._unchanged(now)}{back}{self.regenerate}\n{_FORGET}"


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


class Grubby(BootLoader):
    """Boot entries (BLS) of RHEL and Rocky Linux, by grubby: all kernels that are there, and those that come.

    With ``--update-kernel=ALL`` grubby (8.40) writes the entries, GRUB_CMDLINE_LINUX in /etc/default/grub, and
    /etc/kernel/cmdline where it is there. Before 8.40-79 it does not run zipl.
    """

    name = "grubby"
    configuration = "the boot entries (grubby --info=ALL)"
    files = ("/boot/loader/entries/*.conf", "/etc/kernel/cmdline")
    _EDITED = "/etc/default/grub /etc/kernel/cmdline /boot/loader/entries/*.conf"
    _AFTER = '[ "$(uname -m)" != s390x ] || zipl >/dev/null'

    def read(self) -> str:
        return (
            f"{dump('info', 'grubby --info=ALL')}\n"
            f"[ ! -f /etc/kernel/cmdline ] || {dump('cmdline', 'cat /etc/kernel/cmdline')}\n"
            f"[ ! -f {_NOTE} ] || {dump('note', f'cat {_NOTE}')}"
        )

    @staticmethod
    def _kernels(facts: Facts) -> dict[str, str]:
        found, kernel = {}, ""
        for line in (facts.text("info") or "").splitlines():
            key, _, value = line.partition("=")
            if key == "kernel":
                kernel = value.strip('"')
            elif key == "args" and kernel:
                found[kernel] = value.removeprefix('"').removesuffix('"')
        if not found:
            raise StrongroomError(
                "grubby --info=ALL: names no kernel with its arguments", hint="mend the boot entries, then apply again"
            )
        return found

    def view(self, facts: Facts) -> View:
        kernels, note = self._kernels(facts), Note.of(facts)
        ours = note.ours if note else ()
        theirs = (note.theirs if note else None) or {}

        def owner(kernel: str, line: str) -> str:
            return command_line.remove(line, [word for word in ours if word not in theirs.get(kernel, ())])

        return View(tuple(owner(*item) for item in kernels.items()), tuple(kernels.values()), ours)

    def change(self, facts: Facts, ours: Sequence[str]) -> tuple[str, str] | None:
        note, kernels = Note.of(facts), self._kernels(facts)
        have = note.ours if note else ()
        stale = [word for word in have if word not in ours]
        lines = [*kernels.values(), *([facts.text("cmdline") or ""] if facts.get("cmdline") is not None else [])]
        lost = [word for word in ours if any(word not in line.split() for line in lines)]
        if not lost and not stale and not facts.seen.interrupted:
            return None
        theirs = dict((note.theirs if note else None) or {})
        for kernel, line in kernels.items():
            new = [word for word in ours if word not in have and word in line.split()]
            if new:
                theirs[kernel] = [*theirs.get(kernel, []), *new]
        script = self._keep(first=note is None) + Note(tuple(ours), theirs=theirs).put()
        if stale:
            script += f"grubby --update-kernel=ALL --remove-args={quote(' '.join(stale))}\n"
        if ours:
            script += f"grubby --update-kernel=ALL --args={quote(' '.join(ours))}\n"
        script += f"{self._AFTER}\n{self._sums()}"
        said = ", ".join([*(f"add {word}" for word in lost), *(f"take out {word}" for word in stale)])
        return f"{said or 'write again what was cut off'} (grubby, all kernels)", script

    def _keep(self, first: bool) -> str:
        if first:
            return (
                f"mkdir -p {KEPT}/files; chmod 0700 {KEPT.rpartition('/')[0]}\n"
                f"for f in {self._EDITED}; do [ ! -f $f ] || {{ mkdir -p {KEPT}/files$(dirname $f);"
                f" cp -a $f {KEPT}/files$f; }}; done; sync -f {KEPT}\n"
            )
        # What others have edited since is theirs, and is not overwritten with what it was: its copy goes.
        return (
            f"rm -f {KEPT}/marked; find {KEPT}/files -type f | while read -r k; do f=${{k#{KEPT}/files}}\n"
            f'    cmp -s "$k" "$f" || grep -qxF "$(sha256sum < "$f" | cut -c1-64) $f" {KEPT}/after || rm -f "$k"; done\n'
        )

    def _sums(self) -> str:
        return (
            f'for f in {self._EDITED}; do [ ! -f $f ] || echo "$(sha256sum < $f | cut -c1-64) $f"; done'
            f" | put {KEPT}/after 0600 root:root"
        )

    def undo(self, facts: Facts) -> str | None:
        note = Note.of(facts)
        if note is None:
            return None
        script = ""
        if note.ours:
            script = f"grubby --update-kernel=ALL --remove-args={quote(' '.join(note.ours))}\n"
        for kernel, words in (note.theirs or {}).items():
            script += f"grubby --update-kernel={quote(kernel)} --args={quote(' '.join(words))} || true\n"
        # Before grubby edits them: what is to the byte as we left it goes back to what it was.
        mark = f"[ ! -d {KEPT}/files ] || [ -e {KEPT}/marked ] || {{ {self._keep(first=False)}: > {KEPT}/marked; }}\n"
        back = (
            f"[ ! -d {KEPT}/files ] || find {KEPT}/files -type f | while read -r k; do f=${{k#{KEPT}/files}}\n"
            '    [ ! -f "$f" ] || { n="$(dirname "$f")/.strongroom-new"; cp -a "$k" "$n"; sync "$n"; mv -f "$n" "$f"; }; done\n'
        )
        return f"{mark}{script}{back}{self._AFTER}\n{_FORGET}"
