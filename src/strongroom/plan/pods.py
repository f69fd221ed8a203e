"""Pods that still run on shims of ours: taking a runtime away from under them would leave them without a keeper."""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.plan.resource import Observed, Resource, Step, quote


@dataclass(frozen=True)
class NoPods(Resource):
    """No shim below ``prefix`` runs; found by the program behind each process, whatever containerd says of it.

    With ``force`` the pods are ended: their shims are killed, and containerd is told to forget the sandboxes.
    """

    prefix: str
    force: bool = False

    @property
    def key(self) -> str:
        return f"pods on {self.prefix}"

    def _find(self, each: str) -> str:
        """Runs ``each`` with ``$p`` (the process) and ``$id`` (the sandbox) for every shim found."""
        return (
            f'for p in /proc/[0-9]*; do case "$(readlink $p/exe 2>/dev/null)" in {self.prefix}/*containerd-shim-*)\n'
            "    id=$(tr '\\0' '\\n' < $p/cmdline | sed -n '/^-id$/{n;p;q}')\n"
            f'    [ -z "$id" ] || {{ {each}; }};;\nesac; done'
        )

    def read(self) -> str:
        return self._find("echo pod=$id")

    def steps(self, seen: Observed) -> list[Step]:
        return []

    def why_not(self, seen: Observed) -> str | None:
        """The one line that says which pods keep the runtime where it is."""
        count, named = _named(seen)
        verb = "pods run" if count > 1 else "pod runs"
        return f"{count} {verb} on {self.prefix} ({named}): end them first, or give --force" if count else None

    def undo(self, seen: Observed) -> list[Step]:
        why = self.why_not(seen)
        if why is None:
            return []
        _, named = _named(seen)
        if not self.force:
            sentence = f"see that no pod runs on {self.prefix} any more (now: {named})"
            return [Step(self.key, sentence, f"fail {quote(why)}")]
        script = (
            f"ids=$({self._find('echo $id')})\n{self._find('kill -9 ${p#/proc/}')}\n"
            "for id in $ids; do\n"
            '    for c in $(ctr -n k8s.io containers ls -q "labels.\\"io.kubernetes.pod.uid\\"==$(_uid $id)"); do _forget $c; done\n'
            "    _forget $id\ndone"
        )
        return [Step(self.key, f"end the pods on {self.prefix} ({named})", _FORGET + script)]


def _named(seen: Observed) -> tuple[int, str]:
    """How many sandboxes were seen, and the first of their ids as crictl prints them."""
    pods = sorted({line.removeprefix("pod=")[:13] for line in seen.lines if line.startswith("pod=")})
    return len(pods), f"{', '.join(pods[:3])}{', …' if len(pods) > 3 else ''}"


# ctr knows a sandbox and its containers as containers with a task each; the task's shim is gone by now.
_FORGET = """\
_uid() { ctr -n k8s.io containers info $1 | sed -n 's/.*"io.kubernetes.pod.uid": "\\([^"]*\\)".*/\\1/p' | head -n 1; }
_forget() {
    timeout 30 ${CTR:-ctr} -n k8s.io tasks rm -f $1 >/dev/null 2>&1 || true
    ctr -n k8s.io containers rm $1 >/dev/null 2>&1 || true
}
"""
