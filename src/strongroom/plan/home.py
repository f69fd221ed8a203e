"""What strongroom keeps on a host for itself."""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.plan.artifacts import PREFIX
from strongroom.plan.resource import Observed, Resource, Step
from strongroom.plan.script import STATE

# A copy that was cut off under its temporary name is not the only one: what it is of was not touched yet.
_KEPT = f"find {STATE}/original -type f ! -name '*.new' 2>/dev/null"


@dataclass(frozen=True)
class Home(Resource):
    """Its folders: every installed version, the journal, uploads and what was noted of the host before the first change."""

    @property
    def key(self) -> str:
        return "strongroom's own folders"

    def read(self) -> str:
        return f"for p in {PREFIX} {STATE}; do [ ! -e $p ] || echo there=$p; done\n{_KEPT} | sed 's/^/kept=/'"

    def steps(self, seen: Observed) -> list[Step]:
        return []

    def undo(self, seen: Observed) -> list[Step]:
        there = [line.removeprefix("there=") for line in seen.lines if line.startswith("there=")]
        kept = [line.removeprefix("kept=") for line in seen.lines if line.startswith("kept=")]
        if not there:
            return []
        # The only copy of something of theirs: that it is still here means that it was not brought back.
        guard = f"[ -z \"$({_KEPT})\" ] || fail '{STATE}/original: holds what was not brought back'\n"
        sentence = f"remove {' and '.join(there)}{f' (once {len(kept)} kept files are back)' if kept else ''}"
        return [Step(self.key, sentence, f"{guard}rm -rf {PREFIX} {STATE}")]
