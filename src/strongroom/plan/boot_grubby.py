"""Boot entries that grubby edits; kept and undone as those of boot_entries are."""

from __future__ import annotations

from collections.abc import Sequence

from strongroom.errors import StrongroomError
from strongroom.plan import command_line
from strongroom.plan.boot_loaders import KEPT, BootLoader, Facts, View, dump
from strongroom.plan.boot_note import FORGET, NOTE, Note
from strongroom.plan.resource import quote


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
            f"[ ! -f {NOTE} ] || {dump('note', f'cat {NOTE}')}"
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
        script = f"{self._keep(first=note is None)}rm -f {KEPT}/after\n" + Note(tuple(ours), theirs=theirs).put()
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
        # What others have edited since is theirs, and is not overwritten with what it was: its copy goes. Without the sums
        # of after our edit, that one was cut off, and what differs is ours.
        return (
            f"rm -f {KEPT}/marked; [ ! -e {KEPT}/after ] || find {KEPT}/files -type f | while read -r k; do f=${{k#{KEPT}/files}}\n"
            f'    cmp -s "$k" "$f" || grep -qxF "$(sha256sum < "$f" | cut -c1-64) $f" {KEPT}/after || rm -f "$k"; done\n'
        )

    def _sums(self) -> str:
        return (
            f'for f in {self._EDITED}; do [ ! -f $f ] || echo "$(sha256sum < $f | cut -c1-64) $f"; done'
            f" | put {KEPT}/after 0600 root:root"
        )

    def undo(self, facts: Facts) -> str | None:
        note = Note.of(facts)
        if note is None:  # copies of a step that was cut off before its note
            return FORGET if facts.seen.interrupted else None
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
        return f"{mark}{script}{back}{self._AFTER}\n{FORGET}"
