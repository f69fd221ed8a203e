"""Registers our handlers with the distribution's containerd, and takes them out again.

The owner's configuration is kept, whole, before our first edit. As long as nobody but us has edited it since, undoing
brings back those very bytes; otherwise it takes out our keys alone.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import asdict, dataclass, replace

from strongroom.errors import StrongroomError
from strongroom.model.shims import Shim
from strongroom.plan import containerd
from strongroom.plan.containerd import CONFIG, DROP_IN
from strongroom.plan.files import File, decoded
from strongroom.plan.resource import Observed, Resource, Step, quote
from strongroom.plan.script import STATE
from strongroom.plan.toml_settings import Setting, merge, unmerge
from strongroom.plan.toml_text import parse

KEPT = f"{STATE}/original/containerd"
_NEW = "/etc/containerd/.config.toml.strongroom-new"
READY = "ctr --connect-timeout 5s version"


@dataclass(frozen=True)
class Record:
    """What we know of our edits; it lies beside the owner's configuration as it was."""

    absent: bool
    """There was no configuration before us."""
    written: tuple[str, ...]
    """SHA-256 of the text that we wrote last, and of the one before, which is in place when the last write was cut off."""
    only_ours: bool
    """Nobody else had edited the file between our first edit and our last."""
    settings: tuple[Setting, ...]

    @classmethod
    def load(cls, text: str) -> Record:
        """From the record's JSON."""
        fields = json.loads(text)
        settings = tuple(
            Setting(kind, tuple(path), tuple(value) if isinstance(value, list) else value)
            for kind, path, value in fields.pop("settings")
        )
        return cls(fields["absent"], tuple(fields["written"]), fields["only_ours"], settings)

    def dump(self) -> bytes:
        """The record as JSON."""
        fields = asdict(self) | {"settings": [[s.kind, s.path, s.value] for s in self.settings]}
        return json.dumps(fields, indent=1).encode() + b"\n"


@dataclass(frozen=True)
class _Seen:
    """An observation, decoded."""

    config: str | None
    record: Record | None
    original: str
    drop_in: Observed
    leftover: bool
    kept: bool

    @classmethod
    def of(cls, seen: Observed) -> _Seen:
        now = seen.fields()
        if "type" in now:
            raise StrongroomError(
                f"{CONFIG}: is a {now['type']}; strongroom edits a regular file only",
                hint="make it a file, or set runtime.containerd to bundle",
            )
        record = _text(now.get("record"), f"{KEPT}/record.json")
        lines = tuple(line.removeprefix("drop-in.") for line in seen.lines if line.startswith("drop-in."))
        return cls(
            config=_text(now.get("config"), CONFIG),
            record=Record.load(record) if record else None,
            original=_text(now.get("original"), f"{KEPT}/config.toml") or "",
            drop_in=Observed(lines),
            leftover="leftover" in now,
            kept="kept" in now,
        )

    @property
    def edited(self) -> Record | None:
        """What we know of our edits, if any of them is in the file: the record is written first, and the edit may have been
        refused or cut off. Then the file is its owner's alone, whatever they have made of it since.
        """
        record = self.record
        if record is None or not record.settings or _is_written(self.config, record):
            return record
        text, before = parse(self.config or "", CONFIG), parse(self.original, CONFIG)
        return record if any(one.holds(text) > one.holds(before) for one in record.settings) else None


def _text(encoded: str | None, where: str) -> str | None:
    try:
        return None if encoded is None else base64.b64decode(encoded).decode()
    except UnicodeDecodeError as error:
        raise StrongroomError(f"{where}: not valid TOML: it is not UTF-8 ({error.reason})") from error


def _is_written(config: str | None, record: Record) -> bool:
    return config is not None and _sum(config) in record.written


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Registration(Resource):
    """Handlers, sandbox image and CNI folder in the configuration of a containerd that isn't ours."""

    sandbox_image: str
    shims: tuple[Shim, ...]
    config_path: str | None = None
    """Where ``hosts.toml`` of registries lie, if that is ours to say."""

    @property
    def key(self) -> str:
        return "containerd configuration"

    def read(self) -> str:
        return (
            'echo "version=$(containerd --version)"\n'
            f"if [ -L {CONFIG} ]; then echo 'type=symbolic link'\n"
            f'elif [ -f {CONFIG} ]; then echo "config=$(base64 -w0 {CONFIG})"\n'
            f"elif [ -e {CONFIG} ]; then echo type=folder; fi\n"
            f"for f in record.json config.toml; do [ -f {KEPT}/$f ] || continue; n=original; [ $f = config.toml ] || n=record\n"
            f'    echo "$n=$(base64 -w0 {KEPT}/$f)"; done\n'
            f"[ ! -e {_NEW} ] || echo leftover=yes\n[ ! -e {KEPT} ] || echo kept=yes\n"
            f"( {File(DROP_IN, b'').read()} ) | sed 's/^/drop-in./'"
        )

    def preview(self) -> str:
        """What is merged, as it would stand in a configuration of version 2; the real one is the host's to name."""
        document = parse(containerd.empty_config(containerd.OLDEST), CONFIG)
        handlers = containerd.handler_settings(
            containerd.OLDEST, document, self.sandbox_image, self.shims, self.config_path
        )
        return merge("", handlers, CONFIG)

    def steps(self, seen: Observed) -> list[Step]:
        version = containerd.parse_version(seen.fields().get("version"))
        document = parse(self.text(seen, version), CONFIG)
        handlers = containerd.handler_settings(version, document, self.sandbox_image, self.shims, self.config_path)
        return self._towards(seen, version, handlers, containerd.main_settings(version, document, handlers))

    def _towards(
        self, seen: Observed, version: tuple[int, int], handlers: list[Setting], wanted: list[Setting]
    ) -> list[Step]:
        """The steps to a drop-in with these handlers, where that works, and to a main configuration as wanted."""
        now, text = _Seen.of(seen), self.text(seen, version)
        document = parse(text, CONFIG)
        out = []
        if containerd.uses_drop_in(version):
            file = File(DROP_IN, containerd.drop_in(document, handlers))
            out += [replace(step, resource=self.key) for step in file.steps(now.drop_in)]
        ours = now.edited.settings if now.edited else ()
        stale = [setting for setting in ours if setting not in wanted and setting.path not in _paths(wanted)]
        edited = merge(unmerge(text, now.original, stale, CONFIG), wanted, CONFIG)
        if edited != now.config:
            out.append(self._edit(now, edited, self._owned(document, wanted, ours), version))
        elif now.leftover:
            out.append(Step(self.key, f"remove a half-written {_NEW}", f"rm -f {_NEW}"))
        if seen.interrupted:  # of an undo that was cut off before its restart
            out.append(Step(self.key, f"restart containerd ({CONFIG} was being restored)", RESTART))
            out = [replace(step, journal=True) for step in out]
        return out

    def text(self, seen: Observed, version: tuple[int, int]) -> str:
        """The main configuration as it is, or what one begins with."""
        found = _Seen.of(seen).config
        return containerd.empty_config(version) if found is None else found

    @staticmethod
    def _owned(document: dict[str, object], wanted: list[Setting], ours: tuple[Setting, ...]) -> tuple[Setting, ...]:
        """What we answer for after the edit: what it changes, and what earlier edits changed and is still wanted."""
        return tuple(setting for setting in wanted if setting in ours or not setting.holds(document))

    def _edit(self, now: _Seen, edited: str, owned: tuple[Setting, ...], version: tuple[int, int]) -> Step:
        before = now.edited
        pristine = before is None or now.config == (None if before.absent else now.original)
        only_ours = pristine or (before is not None and before.only_ours and _is_written(now.config, before))
        last = [_sum(now.config)] if now.config is not None and only_ours and not pristine else []
        record = Record(before.absent if before else now.config is None, (_sum(edited), *last), only_ours, owned)
        keep = (
            f"mkdir -p {KEPT}; chmod 0700 {STATE}/original\nrm -f {KEPT}/config.toml\n"
            f"if [ -f {CONFIG} ]; then cp -a {CONFIG} {KEPT}/.new; sync {KEPT}/.new; mv {KEPT}/.new {KEPT}/config.toml; fi\n"
        )
        # A handler that is in the file and not in what containerd makes of it: an import has replaced the table.
        names = [] if containerd.uses_drop_in(version) else [shim.handler for shim in self.shims]
        check = "".join(f'grep -qF {quote(name)} "$d/dump" || fail {quote(_hidden(name))}\n' for name in names)
        script = (
            f"{_unchanged(now.config)}{'' if before else keep}{decoded(record.dump(), f'put {KEPT}/record.json 0600 root:root')}\n"
            # What it makes of its configuration can hold a registry's password.
            f"d=$(umask 077; mktemp -d); trap 'rm -rf \"$d\" {_NEW}' EXIT\n{_staged(edited)}"
            f'containerd --config {_NEW} config dump > "$d/dump" 2> "$d/said"'
            f' || fail "containerd refuses the merged {CONFIG}: $(tail -n 1 "$d/said")"\n'
            f"{check}mv -f {_NEW} {CONFIG}; sync /etc/containerd"
        )
        document = parse(now.config or "", CONFIG)
        changed = dict.fromkeys(_short(setting) for setting in owned if not setting.holds(document))
        what = ", ".join(changed) or "keys no longer wanted"
        return Step(self.key, f"merge into {CONFIG}: {what}", script)

    def undo(self, seen: Observed) -> list[Step]:
        now = _Seen.of(seen)
        script = "".join(f"{step.script}\n" for step in File(DROP_IN, b"").undo(now.drop_in))
        what = [DROP_IN] if script else []
        if now.record is not None:
            script += self._restore(now, now.record)
            what.append(CONFIG)
        forget = f"rm -rf {KEPT} {_NEW}; rmdir {STATE}/original 2>/dev/null || true"
        if not script and not seen.interrupted:  # an edit that was refused, or cut off before it was made
            return [Step(self.key, f"forget the copy of {CONFIG}, which is as it was", forget)] if now.kept else []
        sentence = f"take our handlers out of {' and '.join(what) or 'containerd'}, and restart containerd"
        return [Step(self.key, sentence, f"{script}{RESTART}\n{forget}", journal=True)]

    def _restore(self, now: _Seen, record: Record) -> str:
        if now.config is None or (not record.absent and now.config == now.original):
            return ""  # removed since, or our edit was cut off before it was made
        if record.only_ours and _is_written(now.config, record):
            if record.absent:
                return f"{_unchanged(now.config)}rm -f {CONFIG}\n"
            return f"{_unchanged(now.config)}cp -a {KEPT}/config.toml {_NEW}; sync {_NEW}; mv -f {_NEW} {CONFIG}\n"
        kept = unmerge(now.config, now.original, record.settings, CONFIG)
        return f"{_unchanged(now.config)}{_staged(kept)}mv -f {_NEW} {CONFIG}; sync /etc/containerd\n"


RESTART = (
    "systemctl try-restart containerd.service\n"
    "if systemctl -q is-active containerd.service; then\n"
    f"    n=0; until {READY} >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 300 ] ||"
    " fail 'containerd does not answer after 5 minutes; see journalctl -u containerd'; sleep 1; done\nfi"
)


def _unchanged(config: str | None) -> str:
    """Ends the step where the file is no longer what the plan was made from."""
    message = quote(f"{CONFIG} was changed while strongroom read it; run it again")
    if config is None:
        return f"[ ! -e {CONFIG} ] || fail {message}\n"
    return f"printf '%s  %s\\n' {_sum(config)} {CONFIG} | sha256sum -c --status || fail {message}\n"


def _staged(text: str) -> str:
    """Writes the new text beside the file, with the file's mode, owner and extended attributes."""
    return (
        f"mkdir -p /etc/containerd; rm -f {_NEW}\n"
        f"if [ -f {CONFIG} ]; then cp -a {CONFIG} {_NEW}; else : > {_NEW}; chmod 0644 {_NEW}; fi\n"
        f"{decoded(text.encode(), f'cat > {_NEW}')}\n"
        f"printf '%s  %s\\n' {_sum(text)} {_NEW} | sha256sum -c --status; sync {_NEW}\n"
    )


def _hidden(handler: str) -> str:
    return (
        f"{CONFIG}: containerd does not see {handler} in it: a file that it imports replaces the whole CRI table"
        " (containerd 1.7); move that file's settings into it"
    )


def _paths(settings: list[Setting]) -> set[tuple[str, ...]]:
    return {setting.path for setting in settings if setting.kind == "is"}


def _short(setting: Setting) -> str:
    """A setting in few words: a handler's by the handler's name."""
    path = setting.path
    return path[path.index("runtimes") + 1] if "runtimes" in path else path[-1]
