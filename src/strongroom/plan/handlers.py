"""Our handlers in the containerd that a Kubernetes distribution brings, by the ways in that it offers.

Drop-ins where its configuration imports a folder of them, and containerd merges what it imports (2.0 and newer; before, an
imported file replaces the whole CRI table) or the distribution does that itself. Else a template of ours that begins with the
distribution's own, where it takes one. Its configuration is never written, nor is a template of somebody else's.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from posixpath import dirname, join
from typing import Any

from strongroom.errors import StrongroomError
from strongroom.model.distribution import Distribution
from strongroom.model.shims import Shim
from strongroom.plan import containerd, service, snapshots
from strongroom.plan.files import File
from strongroom.plan.resource import Observed, Resource, Step, quote
from strongroom.plan.through import through
from strongroom.plan.toml_settings import merge
from strongroom.plan.toml_text import parse

NAME = "10-strongroom.toml"
MARK = "# Managed by strongroom: handlers for Kata. Their own template comes first, so that it stays up to date."
_BASE = '{{ template "base" . }}'
# What a registry's password can stand in: nothing of it is needed, and it should not travel.
_SECRETS = r"^[[:space:]]*\(username\|password\|auth\|identitytoken\)[[:space:]]*="


@dataclass(frozen=True)
class _Seen:
    """What the host has, decoded."""

    unit: str
    version: tuple[int, int]
    config: dict[str, Any]
    first: str
    templates: dict[int, str]
    """The first line of each template that is there."""
    files: dict[str, Observed]
    """Of each of our possible files, by its path: what its own reader found."""

    @property
    def generation(self) -> int:
        """The version of the configuration, as far as the places for drop-ins go."""
        said = self.config.get("version", 0)
        return 2 if isinstance(said, int) and said < 3 else 3


@dataclass(frozen=True)
class Handlers(Resource):
    """A handler for each shim, in a drop-in or a template; ``per_shim`` gives it the snapshotter that it is made for."""

    of: Distribution
    shims: tuple[Shim, ...]
    per_shim: bool = False

    @property
    def key(self) -> str:
        return f"handlers in {self.of.name}"

    @property
    def files(self) -> tuple[str, ...]:
        """Every place that a file of ours can be at."""
        return (*dict.fromkeys(f"{folder}/{NAME}" for folder in self.of.drop_ins.values()), *self.of.templates.values())

    def read(self) -> str:
        config = quote(self.of.config)
        templates = "".join(
            f'[ ! -e {quote(path)} ] || echo "template.{number}=$(head -n 1 {quote(path)})"\n'
            for number, path in self.of.templates.items()
        )
        ours = "\n".join(f"( {File(path, b'').read()} ) | sed {quote(f's#^#{path} #')}" for path in self.files)
        return (
            f'{service.found(self.of.services)}\necho "unit=$unit"\n'
            f"version=$({through(self.of.ctr, 'ctr --connect-timeout 5s version')}) 2>/dev/null\n"
            "printf '%s\\n' \"$version\" | sed -n '/^Server/,$s/^ *Version: */version=/p'\n"
            f'[ ! -f {config} ] || {{ echo "first=$(grep -m 1 . {config})"\n'
            f'    echo "config=$(grep -v {quote(_SECRETS)} {config} | base64 -w0)"; }}\n{templates}{ours}'
        )

    def _seen(self, seen: Observed) -> _Seen:
        now = seen.fields()
        if not now.get("unit"):
            raise StrongroomError(
                f"none of {', '.join(self.of.services)} is active, needed is one: handlers are registered on a node that runs",
                hint="start it, or correct kubernetes.distribution; this phase has changed nothing here",
            )
        said = re.match(r"v?(\d+)\.(\d+)\.\d", now.get("version", ""))
        if said is None:
            raise StrongroomError(
                f"{now['unit']}: its containerd does not answer ({self.of.ctr} version)",
                hint="see journalctl on the host",
            )
        version = int(said[1]), int(said[2])
        if version < containerd.OLDEST:
            raise StrongroomError(
                f"{now['unit']}: found containerd {version[0]}.{version[1]}, allowed is"
                f" {containerd.OLDEST[0]}.{containerd.OLDEST[1]} or newer",
                hint=f"upgrade {self.of.name}",
            )
        if "config" not in now:
            raise StrongroomError(
                f"{self.of.config}: there is none, and {now['unit']} runs",
                hint=f"see whether {self.of.name} is in its usual place",
            )
        return _Seen(
            unit=now["unit"],
            version=version,
            config=parse(base64.b64decode(now["config"]).decode(errors="replace"), self.of.config),
            first=now.get("first", ""),
            templates={number: now[key] for number in self.of.templates if (key := f"template.{number}") in now},
            files=self._files(seen),
        )

    def _files(self, seen: Observed) -> dict[str, Observed]:
        return {
            path: Observed(tuple(line.removeprefix(f"{path} ") for line in seen.lines if line.startswith(f"{path} ")))
            for path in self.files
        }

    def steps(self, seen: Observed) -> list[Step]:
        now = self._seen(seen)
        path, content = self._wanted(now)
        stale = [other for other in self._ours(now.files, now.templates) if other != path]
        out = [Step(self.key, step.sentence, step.script) for step in File(path, content).steps(now.files[path])]
        if stale:
            # The touch makes the restart due: of a file that is gone there is no time.
            what = f"remove {' and '.join(stale)} (handlers are in {path} now)"
            out.append(Step(self.key, what, f"rm -f {' '.join(map(quote, stale))}; touch {quote(path)}"))
        if seen.interrupted and not self.of.containerd:  # an undo that was cut off before its restart
            again = service.restart(self.of.services, service.answers(self.of.ctr))
            out.append(Step(self.key, f"restart {now.unit} (handlers were being taken away)", again, journal=True))
        return out

    def _ours(self, files: dict[str, Observed], templates: dict[int, str]) -> list[str]:
        mine = {path for number, path in self.of.templates.items() if templates.get(number) == MARK}
        return [path for path in self.files if files[path].lines and (path.endswith(NAME) or path in mine)]

    def _wanted(self, now: _Seen) -> tuple[str, bytes]:
        """Where the handlers go, and the whole file.

        Raises:
            StrongroomError: there is no way in that is not somebody else's file.
        """
        if self.of.managed and now.first != self.of.managed:
            raise StrongroomError(
                f"{self.of.config}: it begins with {now.first[:60]!r}, allowed is {self.of.managed!r}: {self.of.name} reads"
                f" no drop-ins while somebody else manages that file",
                hint=f"move it away and restart {now.unit}, which writes it anew; own settings go to a file beside ours",
            )
        theirs = {number: path for number, path in self.of.templates.items() if now.templates.get(number, MARK) != MARK}
        # The highest template counts; without one of theirs, what containerd of that version gets by default.
        generation = max(theirs) if theirs else 3 if now.version >= (2, 0) and self.of.templates else now.generation
        path = f"{self.of.drop_ins[generation]}/{NAME}"
        if self._reads(now) and (containerd.uses_drop_in(now.version) or self.of.merged in _imports(now.config)):
            return path, containerd.drop_in(now.config | {"version": generation}, self._settings(now, generation))
        if not self.of.templates:
            raise StrongroomError(
                f"{self.of.config}: imports neither {path} nor {self.of.merged}",
                hint=f"upgrade {self.of.name} to a version that does",
            )
        if theirs:
            raise StrongroomError(
                f"{theirs[max(theirs)]}: is somebody else's template, and what it renders does not import"
                f" {dirname(path)}/*.toml; strongroom edits no file that is not its own",
                hint=f'add imports = ["{dirname(path)}/*.toml"] to the top of it, or begin it with {_BASE}, and restart {now.unit}',
            )
        return self.of.templates[generation], self._template(now, generation)

    def _reads(self, now: _Seen) -> bool:
        """Whether the configuration imports drop-ins. One that is rendered of a template of ours has the older version's
        folder in it, and the same release of the distribution imports the newer's as well."""
        places = {f"{folder}/{NAME}" for folder in self.of.drop_ins.values()}
        imports = _imports(now.config)
        wanted = [join(dirname(self.of.config), item) for item in imports]
        return (
            any(containerd.imports_of(item, place) for place in places for item in wanted) or self.of.merged in imports
        )

    def _settings(self, now: _Seen, generation: int) -> list[Any]:
        document = {"version": generation}
        found = containerd.handlers_alone(now.version, document, self.shims)
        return found + (snapshots.settings(document, self.shims) if self.per_shim else [])

    def _template(self, now: _Seen, generation: int) -> bytes:
        if self.per_shim and snapshots.needing(self.shims):
            raise StrongroomError(
                f"{self.of.config}: imports no {self.of.drop_ins[generation]}/*.toml, which runtime.snapshotters 'per-shim'"
                f" needs: a template can only add tables, and {self.of.name} has written the one of images already",
                hint=f"upgrade {self.of.name} to a version with that import, or leave snapshotters 'unchanged'",
            )
        return f"{MARK}\n{_BASE}\n{merge('', self._settings(now, generation), self.of.templates[generation])}".encode()

    def preview(self) -> list[File]:
        """The drop-in as it would stand beside a configuration of the newest version."""
        newest = max(self.of.drop_ins)
        document = {"version": newest}
        settings = containerd.handlers_alone((2, 0), document, self.shims)
        settings += snapshots.settings(document, self.shims) if self.per_shim else []
        return [File(f"{self.of.drop_ins[newest]}/{NAME}", containerd.drop_in(document, settings))]

    def undo(self, seen: Observed) -> list[Step]:
        now = seen.fields()
        templates = {number: now.get(f"template.{number}", "") for number in self.of.templates}
        ours = self._ours(self._files(seen), templates)
        if not ours and not seen.interrupted:
            return []
        script = f"rm -f {' '.join(map(quote, ours))}\n" if ours else ""
        ready = service.answers(self.of.ctr)
        if not self.of.containerd:
            script += service.restart(self.of.services, ready)
        elif ours and now.get("unit"):
            script = f"since=$(date +%s.%N)\n{script}{service.awaited(self.of.containerd, self.of.services, ready)}"
        what = f"remove {' and '.join(ours) or 'our handlers'}, and have {self.of.name} read its configuration anew"
        return [Step(self.key, what, script or "true", journal=True, timeout=1800)]


def _imports(config: dict[str, Any]) -> list[str]:
    found = config.get("imports", [])
    return [str(item) for item in found] if isinstance(found, list) else []
