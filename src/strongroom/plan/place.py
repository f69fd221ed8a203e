"""That a host can hold and start what the bundle has, before anything is laid on it."""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.errors import StrongroomError
from strongroom.plan.resource import Guard, Observed, Step, quote
from strongroom.plan.script import STATE

#: ``uname -m`` of the architectures that bundles are for.
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True)
class Place(Guard):
    """Where programs go is writable and lets them start, and the processor is one that they are made for.

    A mount and a processor are not ours to change.
    """

    prefix: str
    arch: str

    @property
    def key(self) -> str:
        return f"place {self.prefix}"

    def read(self) -> str:
        # The last mount line whose mount point leads to the path counts: a later mount hides an earlier one. In mountinfo a
        # read-only file system shows in the super options (behind the dash), a read-only mount in its own (the sixth field).
        look = (
            'awk -v p="$(realpath -m "$p")" \'{ m = $5; if (m == "/" || index(p "/", m "/") == 1)'
            ' if (length(m) >= length(b)) { b = m; o = $6; s = $NF } } END { print b " " o "," s }\' /proc/self/mountinfo'
        )
        return f'echo "machine=$(uname -m)"\nfor p in {quote(self.prefix)} {STATE}; do echo "$p=$({look})"; done'

    def steps(self, seen: Observed) -> list[Step]:
        now = seen.fields()
        machine = now.get("machine")
        if machine is not None and machine != MACHINES.get(self.arch):
            raise StrongroomError(
                f"its processor is {machine}, allowed is {MACHINES.get(self.arch, self.arch)}: the bundle is for {self.arch}",
                hint="use a bundle for this host's architecture: strongroom bundle create --arch",
            )
        for path, wanted in ((self.prefix, ("rw", "exec")), (STATE, ("rw",))):
            mount, _, options = now.get(path, "").partition(" ")
            words = options.split(",")
            refused = [word for word in ("ro", "noexec") if word in words and _OPPOSITE[word] in wanted]
            if refused:
                raise StrongroomError(
                    f"{path}: {mount} is mounted {' and '.join(refused)}, allowed is {' and '.join(wanted)}: strongroom"
                    f" {'puts its programs' if 'exec' in wanted else 'keeps its notes'} there",
                    hint=f"mount -o remount,{','.join(_OPPOSITE[word] for word in refused)} {mount}, and so in /etc/fstab",
                )
        return []


_OPPOSITE = {"ro": "rw", "noexec": "exec"}
