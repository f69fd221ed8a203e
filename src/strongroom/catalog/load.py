"""Reads the packaged catalogues: of checks, and of what platforms want of their hosts."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml
from pydantic import ValidationError

from strongroom import paths, yaml_text
from strongroom.errors import StrongroomError
from strongroom.model.checks import CheckCatalogue
from strongroom.model.host_setup import HostCatalogue


def _file(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml_text.load(paths.catalog("checks", f"{name}.yaml").read_text(encoding="utf-8"))
    checks = content.pop("checks") or {}
    sides = {"platform": content["platform"], "role": content["role"]}
    return {**content, "checks": [{"id": check, **sides, **fields} for check, fields in checks.items()]}


@cache
def checks() -> CheckCatalogue:
    """The catalogue, validated.

    Raises:
        StrongroomError: this installation's catalogue is damaged.
    """
    try:
        index = yaml_text.load(paths.catalog("checks", "index.yaml").read_text(encoding="utf-8"))
        files = [_file(name) for name in index["files"]]
        return CheckCatalogue.model_validate({"files": files, "vendors": index["vendors"]})
    except (OSError, yaml.YAMLError, KeyError, ValidationError) as error:
        raise StrongroomError(f"catalogue of checks: {error}", hint="reinstall the wheel") from error


@cache
def hosts() -> HostCatalogue:
    """What platforms want of their hosts, validated.

    Raises:
        StrongroomError: this installation's catalogue is damaged.
    """
    try:
        content = yaml_text.load(paths.catalog("hosts.yaml").read_text(encoding="utf-8"))
        return HostCatalogue.model_validate(content)
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise StrongroomError(f"catalogue of hosts: {error}", hint="reinstall the wheel") from error
