"""``strongroom init``: commented samples to start from."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from strongroom import paths
from strongroom.errors import ConfigError


class Sample(StrEnum):
    """What hosts there are, or in what form they are written down."""

    BARE_METAL = "bare-metal"
    ANSIBLE = "ansible"
    VAGRANT = "vagrant"


#: Sample -> (the file to name when none is given, the files in inventories/). Several files go into a folder.
_FILES = {
    Sample.BARE_METAL: ("inventory.py", ("bare_metal.py",)),
    Sample.ANSIBLE: ("hosts.yml", ("ansible/hosts.yml",)),
    Sample.VAGRANT: ("vagrant", ("vagrant.py", "vagrant-hosts.yaml", "Vagrantfile")),
}
#: What the file may be called, so that the verbs know its form again.
_SUFFIXES = {Sample.BARE_METAL: (".py",), Sample.ANSIBLE: (".yml", ".yaml")}


def init(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="Where to write it; must not exist. For vagrant a folder."),
    ] = None,
    sample: Annotated[
        Sample, typer.Option("--for", help="Bare-metal hosts, the same as Ansible's YAML, or machines of Vagrant.")
    ] = Sample.BARE_METAL,
) -> None:
    """Write a commented inventory, to be edited."""
    default, names = _FILES[sample]
    place = file or Path(default)
    if len(names) == 1 and place.suffix not in _SUFFIXES[sample]:
        raise ConfigError(
            f"{place}: found the suffix {place.suffix or 'none'!r}, allowed for {sample.value} is"
            f" {' or '.join(_SUFFIXES[sample])}",
            hint="--for chooses what is written",
        )
    contents = {name: paths.data("inventories", *name.split("/")).read_bytes() for name in names}
    try:
        if len(contents) > 1:
            place.mkdir()
        for name, content in contents.items():
            with (place / name if len(contents) > 1 else place).open("xb") as out:
                out.write(content)
    except FileExistsError as error:
        raise ConfigError(f"{place}: exists and stays as it is", hint="give another name") from error
    except OSError as error:
        raise ConfigError(f"{place}: cannot be written: {error.strerror}") from error
    print(f"{place}: written; edit it, then: strongroom preflight {place / names[0] if len(contents) > 1 else place}")
