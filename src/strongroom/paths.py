"""Where things lie: the user's XDG folders, and the data that is packed into the wheel."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from strongroom.errors import StrongroomError


def _xdg(variable: str, fallback: str) -> Path:
    value = os.environ.get(variable, "")
    base = Path(value) if os.path.isabs(value) else Path.home() / fallback
    return base / "strongroom"


def cache_dir() -> Path:
    """Slow-to-build things, addressed by digest; may be deleted at any time."""
    return _xdg("XDG_CACHE_HOME", ".cache")


def state_dir() -> Path:
    """Running labs, locks and records."""
    return _xdg("XDG_STATE_HOME", ".local/state")


def written(text: str) -> Path:
    """A path as somebody wrote it. One in the home of a user whom nobody knows stays as it is, and is then simply not there."""
    return Path(os.path.expanduser(text))


def catalog(*parts: str) -> Path:
    """A file or folder of the packaged catalogue."""
    return Path(str(files("strongroom"))).joinpath("catalog", *parts)


def data(*parts: str) -> Path:
    """A file of ``templates/``, ``deploys/`` or ``inventories/``: from the wheel, else from the checkout.

    Raises:
        StrongroomError: neither place has it.
    """
    package = Path(str(files("strongroom")))
    for root in (package / "_data", package.parents[1]):
        if (found := root.joinpath(*parts)).exists():
            return found
    raise StrongroomError(
        f"{'/'.join(parts)}: not packed into this installation of strongroom", hint="reinstall the wheel"
    )
