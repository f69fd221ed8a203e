"""Files that an earlier inventory asked for and this one doesn't: taken away, and what was there before us brought back."""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.plan.files import File
from strongroom.plan.resource import Observed, Resource, Step, quote

MARK = "# Managed by strongroom"


@dataclass(frozen=True)
class Stale(Resource):
    """Files at ``places`` (shell patterns) that begin with our mark and are not among ``wanted``.

    ``after`` has, for a file that a running program read at its start, what makes it forget; ``before`` what has to end while
    the file is still there, as a unit has.
    """

    name: str
    places: tuple[str, ...]
    wanted: tuple[str, ...]
    after: tuple[tuple[str, str], ...] = ()
    before: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        return f"files of {self.name}"

    def read(self) -> str:
        patterns = " ".join(self.places)
        return f'for f in {patterns}; do head -n 1 "$f" 2>/dev/null | grep -q "^{MARK}" && echo "file=$f"; done'

    def steps(self, seen: Observed) -> list[Step]:
        found = [line.removeprefix("file=") for line in seen.lines if line.startswith("file=")]
        return [self._remove(path) for path in found if path not in self.wanted]

    def undo(self, seen: Observed) -> list[Step]:
        """The wanted ones are undone by themselves."""
        return self.steps(seen)

    def _remove(self, path: str) -> Step:
        # What undoing a kept file does, which knows whether there was one of the owner's.
        (undo,) = File(path, b"", keep=True).undo(Observed(("sha256=ours", "kept=yes")))
        folder = quote(path.rpartition("/")[0])
        script = "".join(f"{what}\n" for file, what in self.before if file == path)
        script += f"{undo.script}\nrmdir --ignore-fail-on-non-empty {folder} || true"
        script += "".join(f"\n{what}" for file, what in self.after if file == path)
        return Step(self.key, f"remove {path}, which the inventory no longer asks for", script)
