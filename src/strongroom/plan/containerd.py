"""Our handlers in a containerd that the host had before us.

From 2.0 on they go into a drop-in, and the main configuration only has to import its folder. containerd 1.7 replaces the
whole CRI table by that of an import (mergeConfig in its cmd/containerd/server/config), so there they are merged into the
main configuration itself. Which keys those are depends on the version that the configuration says it has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from posixpath import join
from typing import Any

from strongroom.errors import StrongroomError
from strongroom.model.shims import Shim
from strongroom.plan.toml_settings import Setting, merge
from strongroom.plan.toml_text import MISSING, Path, dotted, get

CONFIG = "/etc/containerd/config.toml"
DROP_IN = "/etc/containerd/conf.d/10-strongroom.toml"
IMPORT = "/etc/containerd/conf.d/*.toml"
CNI_BIN = "/opt/cni/bin"
OLDEST = (1, 7)


@dataclass(frozen=True)
class Schema:
    """Where a configuration of one version has what we set (containerd, docs/cri/config.md and PLUGINS.md)."""

    version: str
    runtime: Path
    sandbox: Path
    registry: Path


_ONE = Schema("", ("plugins", "cri"), ("plugins", "cri", "sandbox_image"), ("plugins", "cri", "registry"))
_TWO = Schema(
    "version = 2\n",
    ("plugins", "io.containerd.grpc.v1.cri"),
    ("plugins", "io.containerd.grpc.v1.cri", "sandbox_image"),
    ("plugins", "io.containerd.grpc.v1.cri", "registry"),
)
_THREE = Schema(
    "version = 3\n",
    ("plugins", "io.containerd.cri.v1.runtime"),
    ("plugins", "io.containerd.cri.v1.images", "pinned_images", "sandbox"),
    ("plugins", "io.containerd.cri.v1.images", "registry"),
)
# All names that CRI's plugins have had; packages made for Docker come with them switched off.
_PLUGINS = ("cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images")


def parse_version(said: str | None) -> tuple[int, int]:
    """Major and minor version, of what ``containerd --version`` says.

    Raises:
        StrongroomError: there is no containerd, or one too old.
    """
    found = re.search(r"\bv?(\d+)\.(\d+)\.\d", said or "")
    if found is None:
        raise StrongroomError(
            f"containerd: {'no version in ' + repr(said) if said else 'not installed'}, and runtime.containerd says"
            " that the distribution's is to be used",
            hint="install the distribution's package, or set runtime.containerd to bundle",
        )
    version = int(found[1]), int(found[2])
    if version < OLDEST:
        raise StrongroomError(
            f"containerd: found {version[0]}.{version[1]}, allowed is {OLDEST[0]}.{OLDEST[1]} or newer",
            hint="install a newer package, or set runtime.containerd to bundle",
        )
    return version


def schema_of(document: Mapping[str, Any]) -> Schema:
    """The schema of a configuration; one that names no version has the first."""
    version = document.get("version", 0)
    if not isinstance(version, int) or version < 2:
        return _ONE
    return _TWO if version == 2 else _THREE


def empty_config(version: tuple[int, int]) -> str:
    """What a main configuration starts with where the host has none."""
    return (_THREE if version >= (2, 0) else _TWO).version


def uses_drop_in(version: tuple[int, int]) -> bool:
    """Whether this containerd merges what it imports key by key."""
    return version >= (2, 0)


def imports_of(pattern: str, path: str) -> bool:
    """Whether a pattern of ``imports`` takes in a file, as Go's filepath.Glob has it: no ``*`` reaches over a slash."""
    return PurePosixPath(path).match(pattern)


def main_settings(version: tuple[int, int], document: dict[str, Any], handlers: list[Setting]) -> list[Setting]:
    """What the main configuration must have: the import where drop-ins work, else the handlers themselves."""
    on = [Setting("lacks", ("disabled_plugins",), name) for name in _PLUGINS]
    if not uses_drop_in(version):
        return [*on, *handlers]
    imports = document.get("imports", [])
    # Ours counts as missing once it is there as well, or the next run would take it for one no longer wanted.
    theirs = (
        [join("/etc/containerd", str(item)) for item in imports if item != IMPORT] if isinstance(imports, list) else []
    )
    covered = any(imports_of(item, DROP_IN) for item in theirs)
    return on if covered else [*on, Setting("has", ("imports",), IMPORT)]


def handler_settings(
    version: tuple[int, int],
    document: dict[str, Any],
    sandbox_image: str,
    shims: tuple[Shim, ...],
    config_path: str | None = None,
) -> list[Setting]:
    """The sandbox image, the CNI plugins' folder, runc under systemd's cgroups, and a handler for each shim; with
    ``config_path`` also where registries' ``hosts.toml`` lie.
    """
    schema = schema_of(document)
    runtimes = (*schema.runtime, "containerd", "runtimes")
    found = [Setting("is", schema.sandbox, sandbox_image), *_cni(version, schema, document)]
    if config_path is not None:
        _refuse_older_way(document, schema)
        found.append(Setting("is", (*schema.registry, "config_path"), config_path))
    found += [
        Setting("is", (*runtimes, "runc", "runtime_type"), "io.containerd.runc.v2"),
        Setting("is", (*runtimes, "runc", "options", "SystemdCgroup"), True),
    ]
    for shim in shims:
        table = (*runtimes, shim.handler)
        found += [
            Setting("is", (*table, "runtime_type"), shim.runtime_type),
            Setting("is", (*table, "runtime_path"), shim.runtime_path),
            Setting("is", (*table, "privileged_without_host_devices"), True),
            Setting("is", (*table, "pod_annotations"), shim.annotations),
            Setting("is", (*table, "container_annotations"), shim.container_annotations),
            Setting("is", (*table, "options", "ConfigPath"), shim.config_path),
        ]
    return found


def _refuse_older_way(document: dict[str, Any], schema: Schema) -> None:
    # Beside config_path they are an error, and containerd starts without CRI then (internal/cri/config,
    # ValidateImageConfig), which "config dump" does not tell.
    paths: list[Path] = [("mirrors",)]
    if isinstance(hosts := get(document, (*schema.registry, "configs")), dict):
        paths += [("configs", name, "tls") for name in hosts]
    older = [path for one in paths if get(document, path := (*schema.registry, *one)) not in (MISSING, {})]
    if older:
        raise StrongroomError(
            f"{CONFIG}: found {dotted(older[0])}, allowed is none with network.on_hosts and mirrors:"
            " they are told by config_path, and containerd takes one of the two",
            hint="move it to hosts.toml files or to network.mirrors and take it out, or leave network.on_hosts out",
        )


def _cni(version: tuple[int, int], schema: Schema, document: dict[str, Any]) -> list[Setting]:
    # Debian sets bin_dir to its own folder. Newer versions have bin_dirs, and refuse a configuration with both
    # (internal/cri/config, ValidateRuntimeConfig); where neither is set, ours is their default.
    cni = (*schema.runtime, "cni")
    there = get(document, cni)
    keys = there if isinstance(there, dict) else {}
    if uses_drop_in(version) and "bin_dirs" in keys:
        return [Setting("has", (*cni, "bin_dirs"), CNI_BIN)]
    return [] if uses_drop_in(version) and "bin_dir" not in keys else [Setting("is", (*cni, "bin_dir"), CNI_BIN)]


def drop_in(document: dict[str, Any], handlers: list[Setting]) -> bytes:
    """Our drop-in; its version is the main configuration's, because containerd refuses a drop-in with a higher one."""
    head = f"# Managed by strongroom: handlers for Kata, and what they need.\n{schema_of(document).version}"
    return merge(head, handlers, DROP_IN).encode()


def handlers_alone(version: tuple[int, int], document: dict[str, Any], shims: tuple[Shim, ...]) -> list[Setting]:
    """A handler for each shim, and nothing else: all other settings are those of whoever runs this containerd."""
    table, names = (*schema_of(document).runtime, "containerd", "runtimes"), {shim.handler for shim in shims}
    found = handler_settings(version, document, "", shims)
    return [one for one in found if one.path[: len(table)] == table and one.path[len(table)] in names]
