"""What we render for Kata is what Kata reads: by its own parser (Go) and the keys of its templates; the Rust ones: test_kata_rust."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import pytest

from strongroom.model.kata_settings import ShimSettings
from strongroom.model.platform import Platform
from strongroom.model.shims import Shim
from strongroom.phases.base import template
from strongroom.plan.kata import tables
from tests.kata_parser import Kata, Unavailable, kata, lay_down, template_tables
from tests.unit.test_shims import KNOWN

GO = sorted(name for name, shim in KNOWN.items() if shim.runtime == "go")
#: Shims that 4.1.0 has and the module's release has not: the template that stands for each, which differs by paths alone.
STANDS_FOR = {"clh-azure": "clh", "qemu-nvidia-cpu": "qemu"}
SETTINGS = {
    "none": ShimSettings(),
    "all": ShimSettings(
        memory_mib=4096, vcpus=2, kernel_params=("quiet", "loglevel=3"), annotations=("cc_init_data", "default_.*"),
        runtime_debug=True, create_timeout_seconds=777,
    ),
    "guest": ShimSettings(image_pull="guest", kbs="https://kbs.example:8080/kbs?x='y'&z=<1>"),
}  # fmt: skip
#: Values of the template that are not what the catalogue says of 4.1.0, and why.
DIFFERENCES = {
    ("qemu-nvidia-gpu", "default_memory"): "2048 until 4.0, 8192 since (DEFAULTMEMORY_NV)",
    ("qemu-nvidia-gpu-snp", "default_memory"): "2048 until 4.0, 8192 since (DEFAULTMEMORY_NV)",
    ("qemu-nvidia-gpu-tdx", "default_memory"): "2048 until 4.0, 8192 since (DEFAULTMEMORY_NV)",
}


@functools.cache
def module() -> Kata | Unavailable:
    try:
        return kata()
    except Unavailable as error:
        return error


@pytest.fixture
def upstream() -> Kata:
    found = module()
    if isinstance(found, Unavailable):
        pytest.skip(str(found))
    return found


class Installation:
    """A prefix with the configuration of one shim, laid down as on a host."""

    def __init__(self, upstream: Kata, root: Path, shim: Shim) -> None:
        self.upstream, self.shim = upstream, shim
        self.prefix = root / "opt" / "kata"
        name = STANDS_FOR.get(shim.base, shim.base)
        arch = "amd64" if "amd64" in shim.arches else shim.arches[0]
        self.text = upstream.render([name], self.prefix, arch, root / "make")[name]
        lay_down(self.text, self.prefix)
        self.file = self.prefix / shim.in_place
        self.file.parent.mkdir(parents=True)
        self.file.write_text(self.text)

    @property
    def table(self) -> dict[str, Any]:
        """The hypervisor's table as shipped."""
        shipped: dict[str, Any] = template_tables(self.text)["hypervisor"][self.shim.hypervisor]
        return shipped

    def drop_in(self, content: bytes) -> None:
        path = self.prefix / self.shim.drop_in
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def parsed(self, settings: ShimSettings) -> dict[str, Any]:
        said = tables(self.shim, settings, str(self.table.get("kernel_params", "")))
        self.drop_in(template("kata/50-strongroom.toml.j2", shim=self.shim, tables=said))
        return self.plain()

    def plain(self) -> dict[str, Any]:
        (found,) = self.upstream.parse([self.file])
        return found


#: What choice.py refuses for a shim whose guests are started elsewhere.
_NOT_OF_REMOTE: dict[str, Any] = {"memory_mib": None, "vcpus": None, "kernel_params": (), "image_pull": None}


def of(name: str, debug: bool = False) -> Shim:
    return KNOWN[name].variant() if debug else KNOWN[name]


@pytest.mark.net
@pytest.mark.parametrize("name", GO)
def test_katas_own_parser_takes_every_go_shims_configuration(tmp_path: Path, upstream: Kata, name: str) -> None:
    shim = of(name)
    installed = Installation(upstream, tmp_path, shim)
    shipped = installed.parsed(SETTINGS["none"])
    assert "error" not in shipped, shipped
    assert shipped["hypervisor"] == shim.hypervisor
    assert shipped["confidential_guest"] == shim.confidential
    assert shipped["sev_snp_guest"] == (shim.platform is Platform.SNP)
    remote = shim.hypervisor == "remote"
    if shim.memory:
        assert (shipped["default_memory"] != shim.memory) == ((name, "default_memory") in DIFFERENCES)
    settings = SETTINGS["all"].model_copy(update=_NOT_OF_REMOTE if remote else {})
    found = installed.parsed(settings)
    assert "error" not in found, found
    assert found["runtime_debug"]
    assert found["create_container_timeout"] == 777
    assert found["enable_annotations"] == ["cc_init_data", "default_.*"]
    if not remote:
        assert found["default_memory"] == 4096
        assert found["default_vcpus"] == min(2, os.cpu_count() or 1)  # the parser takes no more than there are
        assert found["kernel_params"] == [*shipped["kernel_params"], "quiet", "loglevel=3"]
    same = {"hypervisor", "path", "kernel", "image", "firmware", "shared_fs", "confidential_guest", "sev_snp_guest"}
    assert {key: found.get(key) for key in same} == {key: shipped.get(key) for key in same}
    assert not found["debug_console"]
    assert not found["hypervisor_debug"]


@pytest.mark.net
@pytest.mark.parametrize("name", [name for name in GO if KNOWN[name].coco_guest and name != "remote"])
def test_image_pull_and_key_broker_reach_the_guest(tmp_path: Path, upstream: Kata, name: str) -> None:
    installed = Installation(upstream, tmp_path, of(name))
    shipped, found = installed.parsed(SETTINGS["none"]), installed.parsed(SETTINGS["guest"])
    assert (shipped["force_guest_pull"], found["force_guest_pull"]) == (False, True)
    added = f"agent.aa_kbc_params=cc_kbc::{SETTINGS['guest'].kbs}"
    assert found["kernel_params"] == [*shipped["kernel_params"], added]


@pytest.mark.net
@pytest.mark.parametrize("name", [name for name in GO if name != "remote"])
def test_the_debug_variant_is_read_from_its_own_place(tmp_path: Path, upstream: Kata, name: str) -> None:
    installed = Installation(upstream, tmp_path, of(name, debug=True))
    found = installed.parsed(SETTINGS["none"])
    assert "error" not in found, found
    assert found["debug_console"]
    assert found["hypervisor_debug"]
    assert found["runtime_debug"]
    assert found["agent_debug"]
    assert found["kernel_params"][-2:] == ["agent.log=debug", "initcall_debug"]


@pytest.mark.net
def test_the_parser_does_refuse(tmp_path: Path, upstream: Kata) -> None:
    installed = Installation(upstream, tmp_path, of("qemu"))
    for content in (b'[hypervisor.qemu]\ndefault_memory = "much"\n', b"[hypervisor.qemu\n"):
        installed.drop_in(content)
        assert "error" in installed.plain()
    installed.drop_in(b"")
    (tmp_path / "opt/kata/share/kata-containers/kata-containers.img").unlink()
    assert "kata-containers.img" in installed.plain()["error"]


def strange(shim: Shim, tables_: dict[str, Any]) -> list[str]:
    """The keys of our drop-ins that a template has not, or has with another type; what a makefile fills in has any."""
    settings = ShimSettings(
        memory_mib=4096, vcpus=3, kernel_params=("quiet",), annotations=("x",), runtime_debug=True,
        create_timeout_seconds=7, image_pull="guest" if shim.coco_guest else None,
    )  # fmt: skip
    settings = settings.model_copy(update={} if shim.starts_guests else _NOT_OF_REMOTE)
    found = []
    for name, table in tables(shim.variant(), settings).items():
        there: Any = tables_
        for part in name.split("."):
            there = there.get(part, {})
        for key, value in table.items():
            shipped = there.get(key)
            filled = isinstance(shipped, str) and shipped.startswith("<")
            if shipped is None or not (filled or type(shipped) is type(value)):
                found.append(f"{name}.{key}")
    return found


@pytest.mark.net
@pytest.mark.parametrize("name", GO)
def test_every_key_that_we_write_is_one_of_the_go_runtimes_templates(upstream: Kata, name: str) -> None:
    text = upstream.templates()[STANDS_FOR.get(name, name)].read_text()
    assert strange(of(name), template_tables(text)) == []


SAMPLE = """\
[hypervisor.qemu]
enable_annotations = @A@
kernel_params = "@P@"
default_vcpus = 1
default_memory = @M@
{debug}
[agent.@PROJECT_TYPE@]
enable_debug = false
debug_console_enabled = false
create_container_timeout = {timeout}
[runtime]
#enable_debug = true
experimental=@E@
"""


@pytest.mark.parametrize(
    ("debug", "timeout", "found"),
    [
        ("enable_debug = false", "@T@", []),
        ("#enable_debug = true", "30", []),
        ("# Default false", "30", ["hypervisor.qemu.enable_debug"]),
        ("enable_debug = false", '"30s"', ["agent.kata.create_container_timeout"]),
    ],
)
def test_the_comparison_names_a_key_that_a_template_has_not(debug: str, timeout: str, found: list[str]) -> None:
    text = SAMPLE.format(debug=debug, timeout=timeout)
    assert strange(of("qemu-snp-runtime-rs"), template_tables(text)) == found
