"""``strongroom init``: a commented inventory to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strongroom import paths
from strongroom.errors import ConfigError


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it; must not exist.")] = Path(
        "inventory.py"
    ),
) -> None:
    """Write a commented inventory of bare-metal hosts, to be edited."""
    sample = paths.data("inventories", "bare_metal.py").read_bytes()
    try:
        with file.open("xb") as out:
            out.write(sample)
    except FileExistsError as error:
        raise ConfigError(f"{file}: exists and stays as it is", hint="name another file") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from error
    print(f"{file}: written; edit it, then: strongroom preflight {file}")
