"""What other installers of Kata have left on a host: named, with what to do about it, and never removed by us.

kata-deploy (kata-containers, tools/packaging/kata-deploy/binary/src: runtime/containerd.rs, runtime/crio.rs,
artifacts/install.rs) unpacks to /opt/kata and writes drop-ins, or with containerd 1.7 the main configuration. Contrast's
node-installer unpacks to /opt/edgeless and edits the main configuration, or k3s' template; it has no way back of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from strongroom.errors import StrongroomError
from strongroom.plan.registration import KEPT
from strongroom.plan.resource import Guard, Observed, Step

_OURS = "/opt/strongroom/kata"
_RANCHER = "/var/lib/rancher/*/agent/etc/containerd"
# Where handlers are registered. What k3s, RKE2 and k0s render of these is not looked at.
_CONFIGS = (
    "/etc/containerd/config.toml", "/etc/containerd/conf.d/*", "/etc/containerd/config.d/*",
    "/opt/kata/containerd/config.d/*", f"{_RANCHER}/*.tmpl", f"{_RANCHER}/config*.toml.d/*", "/etc/k0s/containerd.d/*",
    "/etc/crio/crio.conf", "/etc/crio/crio.conf.d/*",
)  # fmt: skip
# What shows an installer that does no harm by itself, or not yet.
_TRACES = (
    "/opt/edgeless", "/etc/systemd/system/nydus-for-kata-tee*.service", "/var/log/pods/*_kata-deploy-*",
    "/var/log/pods/*contrast-node-installer*",
)  # fmt: skip
# The name in the header of a handler's table, however it is quoted; of a table below it there is more behind the name.
_HEADER = r"s/^[[:space:]]*\[[^]#]*runtimes\.[^A-Za-z0-9]\{0,1\}\([A-Za-z0-9_-]*\)[^A-Za-z0-9]\{0,1\}\][[:space:]]*\(#.*\)\{0,1\}$/\1/p"
# The same as an inline table or with dotted keys, below a header of all runtimes.
_INLINE = r"s/^[[:space:]]*[^A-Za-z0-9#]\{0,1\}\(\(kata\|contrast\)-[A-Za-z0-9_-]*\)[^A-Za-z0-9]\{0,1\}[[:space:]]*\(=[[:space:]]*{\|\.\).*/\1/p"
_KATA_DEPLOY, _CONTRAST = "kata-deploy", "Contrast's node-installer"
_REMOVE = {
    _KATA_DEPLOY: "uninstall it (helm uninstall kata-deploy, or delete its DaemonSet) and see that its files are gone",
    _CONTRAST: "delete its DaemonSet and take its tables out of the file; it has no way back of its own",
    "somebody": "take it out of that file, or leave the shim out of runtime.shims",
}


@dataclass(frozen=True)
class Leftovers(Guard):
    """Nothing of other installers is in the way of ``handlers``; what else there is of theirs is a note.

    Without handlers nothing can be in the way: the host gets no Kata.
    """

    handlers: tuple[str, ...]

    @property
    def key(self) -> str:
        return "other installers of Kata"

    def read(self) -> str:
        return (
            "if [ -L /opt/kata ]; then echo kata=$(readlink /opt/kata)\n"
            "elif [ -d /opt/kata ]; then echo kata=; echo kind=folder; elif [ -e /opt/kata ]; then echo kata=; echo kind=file; fi\n"
            f"[ ! -d {_OURS} ] || echo installed=yes\n"
            f"for f in {' '.join(_CONFIGS)}; do\n"
            '    [ -f "$f" ] || continue\n'
            # Ours by name and by its first line: one that somebody edited is ours to mend.
            "    case $f in */10-strongroom.toml | */60-strongroom.conf) continue;; esac\n"
            "    case $(head -n 1 \"$f\") in '# Managed by strongroom'*) continue;; esac\n"
            f"    sed -n -e '{_HEADER}' -e '{_INLINE}' \"$f\" | sort -u | while read -r n; do\n"
            # containerd 1.7 has ours in the main configuration; our record says so.
            f'        [ "$f" = /etc/containerd/config.toml ] && grep -qsF "\\"$n\\"" {KEPT}/record.json && continue\n'
            '        echo "handler $n $f"; done\ndone\n'
            f'for f in {" ".join(_TRACES)}; do [ ! -e "$f" ] || echo "trace $f"; done'
        )

    def steps(self, seen: Observed) -> list[Step]:
        if self.handlers and (problem := next(self._conflicts(seen), None)):
            what, hint = problem
            raise StrongroomError(what, hint=hint)
        return []

    def _conflicts(self, seen: Observed) -> Iterator[tuple[str, str]]:
        now = seen.fields()
        whose = "kata-deploy's, or of a release that was unpacked there by hand"
        wanted = f"allowed is nothing, or a link into {_OURS}: every configuration of Kata names files below it"
        hint = f"{_REMOVE[_KATA_DEPLOY]}; else move it away"
        if "kind" in now:
            yield f"/opt/kata: is a {now['kind']} ({whose}), {wanted}", hint
        elif now.get("kata") and not now["kata"].startswith(f"{_OURS}/") and "installed" not in now:
            yield f"/opt/kata: is somebody else's link to {now['kata']}, {wanted}", hint
        for name, path in _handlers(seen):
            if name in self.handlers:
                who = _who(name, path)
                yield f"{path}: registers the handler {name} as well ({who})", _REMOVE[who]

    def notes(self, seen: Observed) -> list[str]:
        out = []
        for name, path in _handlers(seen):
            who = _who(name, path)
            if name not in self.handlers and (who != "somebody" or name.startswith("kata")):
                out.append(f"{path}: has a handler {name} of {who}; it stays")
        for path in (line.removeprefix("trace ") for line in seen.lines if line.startswith("trace ")):
            who = _CONTRAST if "edgeless" in path or "contrast" in path else _KATA_DEPLOY
            more = " it writes its files again when it starts;" if "/pods/" in path else ""
            out.append(f"{path}: is of {who};{more} it stays, and is in nobody's way so far")
        return out


def _handlers(seen: Observed) -> list[tuple[str, str]]:
    """Name and file of every handler that isn't ours."""
    found = [line.split(" ", 2) for line in seen.lines if line.startswith("handler ")]
    return [(parts[1], parts[2]) for parts in found if len(parts) == 3]


def _who(name: str, path: str) -> str:
    if "kata-deploy" in path or path.startswith("/opt/kata/"):
        return _KATA_DEPLOY
    return _CONTRAST if name.startswith("contrast") else "somebody"
