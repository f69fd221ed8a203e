"""Files, links and blocks in other people's files."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from strongroom.plan.resource import Observed, Resource, Step, quote
from strongroom.plan.script import STATE


def decoded(content: bytes, into: str = "") -> str:
    """A command that prints ``content``, optionally piped ``into`` another; base64 carries any byte through any shell."""
    pipe = f" | {into}" if into else ""
    return f"base64 -d <<'STRONGROOM_END'{pipe}\n{base64.encodebytes(content).decode()}STRONGROOM_END"


def _leftover(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/.{name}.strongroom-new"


@dataclass(frozen=True)
class File(Resource):
    """A regular file with exactly this content (bytes), mode (octal, four digits) and owner (``user:group``).

    ``keep`` is for a place where somebody else's file may be: it is kept before the first write, and undoing brings it back.
    """

    path: str
    content: bytes
    mode: str = "0644"
    owner: str = "root:root"
    keep: bool = False

    @property
    def key(self) -> str:
        return f"file {self.path}"

    def read(self) -> str:
        path = quote(self.path)
        return (
            f"if [ -L {path} ]; then echo type=link; elif [ -f {path} ]; then "
            f"stat -c 'mode=%04a' {path}; stat -c 'owner=%U:%G' {path}; echo sha256=$(sha256sum < {path} | cut -c1-64); "
            f"elif [ -e {path} ]; then echo type=other; fi; [ ! -e {quote(_leftover(self.path))} ] || echo leftover=yes"
            + (
                f"\nls {quote(self._kept)} {quote(self._kept + '.absent')} | sed 's/.*/kept=yes/;q'"
                if self.keep
                else ""
            )
        )

    def steps(self, seen: Observed) -> list[Step]:
        now = seen.fields()
        if "type" in now:
            why = f"a {now['type']} is in its place"
        elif "sha256" not in now:
            why = "absent"
        elif now["sha256"] != hashlib.sha256(self.content).hexdigest():
            why = "content differs"
        elif now.get("mode") != self.mode:
            why = f"mode {now.get('mode')}, wanted {self.mode}"
        elif now.get("owner") != self.owner:
            why = f"owner {now.get('owner')}, wanted {self.owner}"
        elif "leftover" in now:
            return [
                Step(self.key, f"remove a half-written {_leftover(self.path)}", f"rm -f {quote(_leftover(self.path))}")
            ]
        else:
            return []
        if why.startswith(("mode", "owner")):
            # Only the metadata: a new file would look like a new configuration and restart what reads it.
            script = f"chmod {self.mode} {quote(self.path)}; chown {self.owner} {quote(self.path)}"
            return [Step(self.key, f"mend {self.path} ({why})", script)]
        clear = f"rm -rf {quote(self.path)}\n" if "type" in now else ""
        script = f"{self._keep()}{clear}{decoded(self.content, f'put {quote(self.path)} {self.mode} {self.owner}')}"
        # A pipe ends with its last command's status: a base64 that failed shows in the sum alone.
        check = (
            f"printf '%s  %s\\n' {hashlib.sha256(self.content).hexdigest()} {quote(self.path)} | sha256sum -c --status"
        )
        return [Step(self.key, f"write {self.path} ({why})", f"{script}\n{check}")]

    def undo(self, seen: Observed) -> list[Step]:
        if not seen.lines:
            return []
        path, reload = quote(self.path), ""
        if self.path.startswith("/etc/systemd/system/"):
            reload = "\nsystemctl daemon-reload"
        remove = f"rm -f {path} {quote(_leftover(self.path))}"
        if not self.keep:
            return [Step(self.key, f"remove {self.path}", remove + reload)]
        if "kept" not in seen.fields():  # what is there is theirs: never written by us, or given back already
            return []
        kept, new = quote(self._kept), quote(_leftover(self.path))
        script = (
            f"if [ -e {kept} ]; then cp -a {kept} {new}; sync {new}; mv -fT {new} {path}; else {remove}; fi\n"
            f"rm -f {kept} {kept}.absent; rmdir -p {quote(self._kept.rpartition('/')[0])} 2>/dev/null || true"
        )
        return [Step(self.key, f"remove {self.path}, or bring back what was there", script + reload)]

    @property
    def _kept(self) -> str:
        return f"{STATE}/original/files{self.path}"

    def _keep(self) -> str:
        if not self.keep:
            return ""
        path, kept = quote(self.path), quote(self._kept)
        return (
            f"if [ ! -e {kept} ] && [ ! -e {kept}.absent ]; then\n"
            f'    mkdir -p "$(dirname {kept})"; chmod 0700 {STATE}/original\n'
            f"    if [ -f {path} ]; then cp -a {path} {kept}.new; sync {kept}.new; mv {kept}.new {kept}\n"
            f"    else : > {kept}.absent; sync {kept}.absent; fi\nfi\n"
        )


@dataclass(frozen=True)
class Link(Resource):
    """A symbolic link, switched atomically.

    One that leads below ``versions``, the folder with all versions of its target, is ours too.
    """

    path: str
    target: str
    versions: str = ""

    @property
    def key(self) -> str:
        return f"link {self.path}"

    def read(self) -> str:
        path = quote(self.path)
        return f"if [ -L {path} ]; then echo target=$(readlink {path}); elif [ -e {path} ]; then echo target=; fi"

    def steps(self, seen: Observed) -> list[Step]:
        now = seen.fields().get("target")
        if now == self.target:
            return []
        if now == "":
            # Somebody else's file under our name: taking it away silently could break what they installed.
            message = f"{self.path} exists and is not strongroom's; move it away, then apply again"
            return [Step(self.key, f"link {self.path} to {self.target}", f"fail {quote(message)}")]
        new = quote(_leftover(self.path))
        script = (
            f"mkdir -p {quote(self.path.rpartition('/')[0])}; rm -f {new}; ln -s {quote(self.target)} {new}\n"
            f"mv -fT {new} {quote(self.path)}; sync {quote(self.path.rpartition('/')[0])}"
        )
        why = "absent" if now is None else f"points to {now}"
        return [Step(self.key, f"link {self.path} to {self.target} ({why})", script)]

    def undo(self, seen: Observed) -> list[Step]:
        now = seen.fields().get("target", "")
        if now != self.target and not (self.versions and now.startswith(f"{self.versions}/")):
            return []
        return [Step(self.key, f"remove the link {self.path}", f"rm -f {quote(self.path)}")]


@dataclass(frozen=True)
class Block(Resource):
    """Lines of ours between two markers at the end of a file that belongs to somebody else.

    Everything outside the markers is kept to the byte, so taking the block out restores the file.
    """

    path: str
    name: str
    content: str

    @property
    def key(self) -> str:
        return f"block {self.name} in {self.path}"

    @property
    def _begin(self) -> str:
        return f"# BEGIN strongroom {self.name}"

    @property
    def _end(self) -> str:
        return f"# END strongroom {self.name}"

    @property
    def text(self) -> str:
        """The block with its markers, as it stands in the file."""
        return f"{self._begin}\n{self.content.rstrip()}\n{self._end}\n"

    def read(self) -> str:
        path = quote(self.path)
        inside = f"/^{self._begin}$/,/^{self._end}$/"
        return f"[ -f {path} ] && echo sha256=$(sed -n {quote(inside + 'p')} {path} | sha256sum | cut -c1-64)"

    def _without(self) -> str:
        inside = f"/^{self._begin}$/,/^{self._end}$/d"
        return f"if [ -f {quote(self.path)} ]; then sed {quote(inside)} {quote(self.path)}; fi"

    def _rewrite(self, tail: str) -> str:
        return f"{{ {self._without()}\n{tail}\n}} | rewrite {quote(self.path)}"

    def steps(self, seen: Observed) -> list[Step]:
        if seen.fields().get("sha256") == hashlib.sha256(self.text.encode()).hexdigest():
            return []
        return [
            Step(self.key, f"write the block {self.name} in {self.path}", self._rewrite(decoded(self.text.encode())))
        ]

    def undo(self, seen: Observed) -> list[Step]:
        if seen.fields().get("sha256") in (None, hashlib.sha256(b"").hexdigest()):
            return []
        return [Step(self.key, f"take the block {self.name} out of {self.path}", self._rewrite("true"))]
