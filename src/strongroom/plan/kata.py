"""Kata's configurations on a host: copies of what a release ships, and the tables of our drop-ins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from strongroom.model.kata_settings import ShimSettings
from strongroom.model.shims import Shim
from strongroom.plan.files import File
from strongroom.plan.resource import Observed, Resource, Step, quote

Tables = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Copy(Resource):
    """A file of a component at a second place, to the byte: Kata looks for drop-ins beside the configuration itself, links
    followed, and releases ship all configurations in one folder."""

    path: str
    source: str
    sha256: str

    @property
    def key(self) -> str:
        return f"file {self.path}"

    def read(self) -> str:
        return File(self.path, b"").read()

    def steps(self, seen: Observed) -> list[Step]:
        now = seen.fields()
        if now.get("sha256") == self.sha256 and now.get("mode") == "0644" and now.get("owner") == "root:root":
            if "leftover" not in now:
                return []
            why = "a half-written one is beside it"
        elif "sha256" not in now:
            why = f"a {now['type']} is in its place" if "type" in now else "absent"
        elif now["sha256"] != self.sha256:
            why = "content differs"
        else:
            why = f"mode {now.get('mode')}, owner {now.get('owner')}"
        path, source = quote(self.path), quote(self.source)
        script = (
            f"printf '%s  %s\\n' {self.sha256} {source} | sha256sum -c --status"
            f" || fail {quote(f'{self.source}: is not what the bundle lists; run apply again')}\n"
            f"{f'rm -rf {path}' if 'type' in now else ':'}\nput {path} 0644 root:root < {source}"
        )
        return [Step(self.key, f"copy {self.source} to {self.path} ({why})", script)]

    def undo(self, seen: Observed) -> list[Step]:
        return File(self.path, b"").undo(seen)


def needs_base(shim: Shim, settings: ShimSettings) -> bool:
    """Whether the drop-in repeats the release's own kernel parameters: Kata replaces the string, and appends nothing."""
    return shim.starts_guests and (shim.debug or bool(settings.added_params))


def tables(shim: Shim, settings: ShimSettings, kernel_params: str = "") -> Tables:
    """What a drop-in says, as Kata's tables and keys.

    Args:
        kernel_params: those of the release's configuration; ours come behind them.

    The two runtimes have the same thing at different places (kata-containers 4.1.0, src/runtime/config,
    src/runtime-rs/config): the time to create a container is [runtime]'s with Go and the agent's with Rust, and pulling
    inside the guest is a key of its own with Go and an experimental feature with Rust.
    """
    rust = shim.runtime == "rust"
    hypervisor: dict[str, Any] = {"default_memory": settings.memory_mib, "default_vcpus": settings.vcpus}
    agent: dict[str, Any] = {}
    runtime: dict[str, Any] = {"enable_debug": settings.runtime_debug}
    if settings.annotations is not None:
        hypervisor["enable_annotations"] = list(settings.annotations)
    if needs_base(shim, settings):
        # kata-deploy 4.1.0 adds these two for its debug variants (binary/src/artifacts/install.rs).
        debug = ("agent.log=debug", "initcall_debug") if shim.debug else ()
        hypervisor["kernel_params"] = " ".join([*kernel_params.split(), *settings.added_params, *debug])
    if shim.debug:
        hypervisor["enable_debug"] = runtime["enable_debug"] = agent["enable_debug"] = True
        agent["debug_console_enabled"] = True
    if settings.image_pull is not None:
        inside = settings.image_pull == "guest"
        if rust:
            runtime["experimental"] = ["force_guest_pull"] if inside else []
        else:
            runtime["experimental_force_guest_pull"] = inside
    (agent if rust else runtime)["create_container_timeout"] = settings.create_timeout_seconds
    found = {f"hypervisor.{shim.hypervisor}": hypervisor, "agent.kata": agent, "runtime": runtime}
    said = {name: {key: value for key, value in table.items() if value is not None} for name, table in found.items()}
    return {name: table for name, table in said.items() if table}
