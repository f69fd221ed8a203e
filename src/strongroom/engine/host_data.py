"""pyinfra's own keys in a host's data. pyinfra ignores one that is misspelt, and then reaches the host in another way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_type_hints

from pyinfra.api.arguments import all_global_arguments
from pyinfra.api.util import raise_if_bad_type
from pyinfra.connectors import docker, ssh

from strongroom.model.explain import nearest

_OURS = ("ssh_", "docker_", "podman_", "_")


@cache
def known() -> Mapping[str, Any]:
    """pyinfra's keys and the types that it declares for them: of its connectors, and of every operation."""
    connectors = {**get_type_hints(ssh.ConnectorData), **get_type_hints(docker.ConnectorData)}
    return {**connectors, **{name: kind for name, kind in all_global_arguments() if name.startswith("_")}}


def problems(data: Mapping[str, Any]) -> Iterator[str]:
    """What pyinfra would ignore or trip over once it connects."""
    for key, value in data.items():
        if not key.startswith(_OURS):
            continue
        if key not in known():
            yield f"{key}: pyinfra has no such key{nearest(key, tuple(known()))}"
            continue
        try:
            raise_if_bad_type(value, known()[key], TypeError, "")
        except TypeError:
            yield f"{key}: found {value!r}, allowed is {_word(known()[key])}"


def _word(kind: Any) -> str:
    words = {bool: "True or False", int: "a whole number", float: "a number", str: "text", dict: "a dict"}
    return words.get(kind, str(kind).replace("typing.", ""))
