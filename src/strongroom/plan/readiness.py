"""That a host's platform is ready before a confidential handler is registered on it.

Kata's Rust runtime starts a guest without any protection where the host has none, and says nothing (kata-containers 4.1.0,
runtime-rs/crates/runtimes/virt_container/src/sandbox.rs, prepare_protection_device_config: NoProtection is no error). So the
handler itself must not be there. The host is probed and judged again right where handlers are registered, in the same
execution that reads the rest: there is no earlier run, note or option that this could be skipped by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from strongroom.model.platform import Platform
from strongroom.plan.resource import Observed, Resource, Step, quote

Judge = Callable[[Sequence[str]], Mapping[Platform, str | None]]
"""From the probe's lines: why a platform is not ready on the host, None where it is. What is missing is not ready."""
_PREFIX = "|"


@dataclass(frozen=True)
class Ready(Resource):
    """The platforms that ``shims`` need are ready. Comes before all that would register them; there is nothing to undo."""

    platforms: tuple[Platform, ...]
    shims: tuple[str, ...]
    probe: str = field(repr=False)
    judge: Judge = field(compare=False, repr=False)

    @property
    def key(self) -> str:
        return f"platform {' and '.join(self.platforms)} ready"

    def read(self) -> str:
        # In a shell of its own, which knows nothing of ours; the prefix keeps the host's text from passing for markers.
        return f"sh -s <<'STRONGROOM_PROBE' | sed 's/^/{_PREFIX}/'\n{self.probe}\nSTRONGROOM_PROBE"

    def why_not(self, seen: Observed) -> str | None:
        """The one line that says which platform is not ready, and which handlers are therefore not registered."""
        lines = [line.removeprefix(_PREFIX) for line in seen.lines if line.startswith(_PREFIX)]
        said = self.judge(lines) if lines else {}
        missing = {one: said.get(one, "was not probed") for one in self.platforms}
        reasons = [f"{one} {why}" for one, why in missing.items() if why is not None]
        if not reasons:
            return None
        return f"{', '.join(self.shims)}: not registered, because the host is not ready for it: {'; '.join(reasons)}"

    def steps(self, seen: Observed) -> list[Step]:
        why = self.why_not(seen)
        if why is None:
            return []
        hint = "see strongroom preflight; a waiver does not make a platform ready"
        return [Step(self.key, f"see that {' and '.join(self.platforms)} is ready", f"fail {quote(f'{why} ({hint})')}")]
