"""What programs leave behind beside the files that we manage: folders that were not there before they ran.

Which of them were absent is noted before the first change, so that taking a cluster down removes what it brought and
nothing else. A folder that was there before us stays, with all that is in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.plan.resource import Observed, Resource, Step, quote
from strongroom.plan.script import STATE

_NOTES = f"{STATE}/original/traces"


@dataclass(frozen=True)
class Traces(Resource):
    """Paths of one phase; comes first among its resources, so that it is undone last.

    ``data`` goes with all that is in it, ``folders`` only where they are empty: others may have put files there since.
    """

    name: str
    data: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"traces of {self.name}"

    @property
    def _note(self) -> str:
        return f"{_NOTES}/{self.name}"

    @property
    def _paths(self) -> tuple[str, ...]:
        return (*self.data, *self.folders)

    def read(self) -> str:
        return (
            f"[ -f {self._note} ] && sed 's/^/noted=/' {self._note}\n"
            f'for p in {" ".join(map(quote, self._paths))}; do [ ! -e "$p" ] && [ ! -L "$p" ] || echo there=$p; done'
        )

    def steps(self, seen: Observed) -> list[Step]:
        noted = {line.split(" ", 1)[1] for line in seen.lines if line.startswith("noted=")}
        new = [path for path in self._paths if path not in noted]
        if not new:
            return []
        script = (
            f"mkdir -p {_NOTES}; chmod 0700 {STATE}/original\n"
            f"{{ [ ! -f {self._note} ] || cat {self._note}\nfor p in {' '.join(map(quote, new))}; do\n"
            '    if [ -e "$p" ] || [ -L "$p" ]; then echo "present $p"; else echo "absent $p"; fi\ndone; }'
            f" | put {self._note} 0600 root:root"
        )
        return [Step(self.key, f"note what is there before {self.name}", script)]

    def undo(self, seen: Observed) -> list[Step]:
        absent = {line.split(" ", 1)[1] for line in seen.lines if line.startswith("noted=absent ")}
        there = {line.removeprefix("there=") for line in seen.lines if line.startswith("there=")}
        data = [path for path in self.data if path in absent & there]
        folders = sorted((path for path in self.folders if path in absent & there), reverse=True)
        if not any(line.startswith("noted=") for line in seen.lines):
            return []
        script = "".join(f"{_unmounted(path)}rm -rf --one-file-system {quote(path)}\n" for path in data)
        # Deepest first; one that others have put something into stays.
        script += "".join(f"rmdir --ignore-fail-on-non-empty {quote(path)}\n" for path in folders)
        script += f"rm -f {self._note}; rmdir {_NOTES} {STATE}/original 2>/dev/null || true"
        sentence = f"remove what {self.name} left ({', '.join((*data, *folders)) or 'nothing'})"
        return [Step(self.key, sentence, script)]


def _unmounted(path: str) -> str:
    message = quote(
        f"{path}: something is still mounted below it; unmount it (see /proc/self/mounts), then run it again"
    )
    return f"! grep -q ' {path}/' /proc/self/mounts || fail {message}\n"
