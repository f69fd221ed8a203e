"""Read and write the lock files. YAML in, models out; a bad key is one line that names the file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ValidationError

from strongroom import paths, yaml_text
from strongroom.errors import ConfigError, StrongroomError
from strongroom.fetch.hashing import sha256_file
from strongroom.model.bundle import Frozen
from strongroom.model.explain import TYPES
from strongroom.model.lock import GoLock, Lock, LockEntry

Model = TypeVar("Model", bound=Frozen)

ARTIFACTS_HEADER = """\
# Every remote byte of strongroom (model: strongroom.model.lock.Lock): one entry per component, version and
# architecture, sorted. What is `unpinned` is refused by `bundle create`; `lock update --lock FILE` records it.
# `default` names the versions that a bundle takes unless told otherwise. Sizes are bytes, null when not known.
"""


def artifacts_path() -> Path:
    """The packaged ``artifacts.lock``."""
    return paths.catalog("artifacts.lock")


def go_modules_path() -> Path:
    """The packaged ``go-modules.lock``."""
    return paths.catalog("go-modules.lock")


def _where(loc: Sequence[int | str], content: object) -> str:
    """``artifacts.3.size``; and which artifact that is, where the content tells: nobody counts to a hundred in a file."""
    where = ""
    for part in loc:
        where += f".{part}" if where else str(part)
        try:
            content = content[part]  # type: ignore[index] # whatever it is, it may have none
        except (KeyError, IndexError, TypeError):
            content = None
        if isinstance(part, int) and isinstance(content, dict):
            known = [str(content[key])[:40] for key in ("component", "version", "arch") if key in content]
            where += f" ({' '.join(known)})" if known else ""
    return where


def one_line(path: Path | str, error: ValidationError, content: object = None) -> str:
    """The first problem of a validation, as ``file: key: what is wrong, found what``, and how many more there are."""
    problems = error.errors(include_url=False)
    first = problems[0]
    if first["type"] == "json_invalid":
        return f"{path}: no JSON: {first['ctx']['error']}"
    if missing := [".".join(map(str, one["loc"])) for one in problems if one["type"] == "missing"]:
        return f"{path}: missing: {', '.join(missing[:6])}"
    where = _where(first["loc"], content)
    found = "" if isinstance(first["input"], dict) else f", found {str(first['input'])[:80]!r}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown key"
    elif kind := TYPES.get(first["type"]):
        message = f"allowed is {kind}"
    return f"{path}: {where + ': ' if where else ''}{message}{found}{more}"


def _load(path: Path, model: type[Model]) -> Model:
    try:
        content = yaml_text.load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is no YAML: {' '.join(str(error).split())}") from error
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ConfigError(one_line(path, error, content)) from error


def load(path: Path | None = None) -> Lock:
    """``artifacts.lock``, packaged or at a path.

    Raises:
        ConfigError: unreadable, no YAML, or not of the schema (unsorted counts).
    """
    return _load(path or artifacts_path(), Lock)


def load_go(path: Path | None = None) -> GoLock:
    """``go-modules.lock``; errors as :func:`load`."""
    return _load(path or go_modules_path(), GoLock)


def dump(lock: Lock) -> str:
    """``artifacts.lock`` as YAML text; keys that an entry doesn't need are left out, an unknown size is null."""
    entries = []
    for entry in lock.artifacts:
        said = entry.model_dump(mode="json", exclude_defaults=True)
        entries.append({key: said.get(key) for key in LockEntry.model_fields if key in said or key == "size"})
    content = {"schema_version": lock.schema_version, "default": dict(lock.default), "artifacts": entries}
    return ARTIFACTS_HEADER + yaml.safe_dump(content, sort_keys=False, width=140)


def write(path: Path, text: str) -> None:
    """Write a lock so that a reader sees the old one or the new one.

    Raises:
        StrongroomError: the folder isn't there or isn't writable.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(handle)  # or a power cut could leave the new name with nothing in it
            os.chmod(name, 0o644)
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise StrongroomError(f"{path}: cannot be written: {error.strerror}") from error


def repin_go(text: str, root: Path) -> str:
    """``go-modules.lock`` with the digests that go.mod and go.sum have now; comments and all else stay."""
    lock = GoLock.model_validate(yaml_text.load(text))
    for module in lock.modules:
        for name, old in (("go.mod", module.go_mod), ("go.sum", module.go_sum)):
            text = text.replace(old, sha256_file(root / module.name / name))
    return text
