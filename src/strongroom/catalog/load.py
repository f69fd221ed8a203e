"""Reads the packaged catalogue of checks."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml
from pydantic import ValidationError

from strongroom import paths
from strongroom.errors import StrongroomError
from strongroom.model.checks import CheckCatalogue


def _file(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(paths.catalog("checks", f"{name}.yaml").read_text(encoding="utf-8"))
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
        index = yaml.safe_load(paths.catalog("checks", "index.yaml").read_text(encoding="utf-8"))
        files = [_file(name) for name in index["files"]]
        return CheckCatalogue.model_validate({"files": files, "vendors": index["vendors"]})
    except (OSError, yaml.YAMLError, KeyError, ValidationError) as error:
        raise StrongroomError(f"catalogue of checks: {error}", hint="reinstall the wheel") from error
