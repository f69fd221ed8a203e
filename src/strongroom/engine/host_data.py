"""pyinfra's own keys in a host's data. pyinfra ignores one that is misspelt, and then reaches the host in another way."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, get_type_hints

from pyinfra.api.arguments import all_global_arguments
from pyinfra.api.util import raise_if_bad_type
from pyinfra.connectors import docker, ssh

from strongroom.model.explain import nearest

_SECRET = re.compile("password|paramiko|_env|_stdin")
_OURS = ("ssh_", "docker_", "podman_", "_")


@cache
def known() -> Mapping[str, Any]:
    """pyinfra's keys and the types that it declares for them: of its connectors, and of every operation."""
    connectors = {**get_type_hints(ssh.ConnectorData), **get_type_hints(docker.ConnectorData)}
    return {**connectors, **{name: kind for name, kind in all_global_arguments() if name.startswith("_")}}


def problems(data: Mapping[str, Any]) -> Iterator[str]:
    """What pyinfra would ignore or trip over once it connects."""
    for key, value in data.items():
        if not key.startswith(_OURS) or (key.startswith("_") and value is None):
            continue  # None is how a host takes back what its group says
        if key not in known():
            # A name of one's own with an underscore is a helper of group_data's files, unless it is nearly one of these.
            if key.startswith("_") and (callable(value) or not get_close_matches(key, known(), 1, 0.8)):
                continue
            yield f"{key}: pyinfra has no such key{nearest(key, tuple(known()))}"
            continue
        try:
            raise_if_bad_type(value, known()[key], TypeError, "")
        except TypeError:
            yield f"{key}: found {shown(key, value)}, allowed is {_word(known()[key])}"


def shown(key: str, value: object) -> str:
    """A value as it may stand in an error: of what can be a secret, its type alone."""
    return f"a value of type {type(value).__name__}" if _SECRET.search(key) else repr(value)


def _word(kind: Any) -> str:
    words = {bool: "True or False", int: "a whole number", float: "a number", str: "text", dict: "a dict"}
    return words.get(kind, str(kind).replace("typing.", ""))
