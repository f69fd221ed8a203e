"""What we write for Kata's Rust runtime, and what the catalogue says of it, field by field against upstream's templates.

The templates are read from the checkout that ``STRONGROOM_KATA_SOURCE`` names, and filled in by the makefile beside them.
"""

from __future__ import annotations

from typing import Any

import pytest

from strongroom.model.platform import Platform
from strongroom.model.shims import Shim
from tests.kata_parser import Makefile, rust_makefile, rust_templates, template_tables
from tests.unit.test_kata_parser import of, strange
from tests.unit.test_shims import KNOWN

RUST = sorted(name for name, shim in KNOWN.items() if shim.runtime == "rust")
NO_CHECKOUT = "STRONGROOM_KATA_SOURCE names no checkout of kata-containers, and src/runtime-rs is no Go module"
_SHARES = "shared files until 4.0, none in 4.1.0 (kata-containers pull requests 13363 and 13409)"
#: (shim, field) -> what the template says, and why the catalogue doesn't.
DIFFERENCES: dict[tuple[str, str], tuple[Any, str]] = {
    ("qemu-se-runtime-rs", "gpu"): (True, "cold-plugs devices of s390x, which stay VFIO's in the guest; no GPU"),
}
#: The same of templates before 4.1.0, of which the catalogue speaks: at the release itself they are not found.
BEFORE: dict[tuple[str, str], tuple[Any, str]] = {
    ("qemu-nvidia-cpu-runtime-rs", "shares_files"): (True, _SHARES),
    ("qemu-nvidia-gpu-runtime-rs", "shares_files"): (True, _SHARES),
}


@pytest.mark.parametrize("name", RUST)
def test_every_key_that_we_write_is_one_of_the_rust_runtimes_templates(name: str) -> None:
    found = rust_templates()
    if not found:
        pytest.skip(NO_CHECKOUT)
    assert strange(of(name), template_tables(found[name].read_text())) == []


def stated(shim: Shim) -> dict[str, Any]:
    """What the catalogue and the model say of a shim's configuration as a release ships it."""
    return {
        "hypervisor": shim.hypervisor,
        "hypervisor_name": shim.hypervisor,
        "platform": shim.platform,
        "coco_guest": shim.coco_guest,
        "shares_files": shim.snapshotter is None,
        "gpu": shim.gpu,
        "memory": shim.memory,
        "static": shim.static,
        "debug": shim.debug,
        "experimental": [],  # our drop-in replaces the list (plan.kata), which must not lose anything
        "packaged": True,
        "runtime_path": shim.runtime_path,
    }


def platform_of(table: dict[str, Any]) -> Platform:
    """The TEE of a hypervisor's table: QEMU's templates have no key that names it."""
    if not table.get("confidential_guest"):
        return Platform.NONE
    if table.get("sev_snp_guest"):
        return Platform.SNP
    return Platform.TDX if "tdx_quote_generation_service_socket_port" in table else Platform.SE


def template_says(shim: Shim, template_text: str, makefile: Makefile) -> dict[str, Any]:
    """The same of a template of the Rust runtime, filled in by its makefile."""
    tables_ = template_tables(template_text)
    ((hypervisor, raw),) = tables_["hypervisor"].items()
    table, agent, runtime = (
        {key: makefile.filled(value) for key, value in one.items()}
        for one in (raw, tables_["agent"]["kata"], tables_["runtime"])
    )
    debugs = (table["enable_debug"], agent["enable_debug"], agent["debug_console_enabled"], runtime["enable_debug"])
    made = {makefile.expanded(f"$(CONFDIR)/$({name})") for name in makefile.values if name.startswith("CONFIG_FILE_")}
    folders = {makefile.expanded(value).rstrip("/") for value in makefile.values.get("BINDIR", ())}
    paths = {f"{folder}/{makefile.expanded('$(TARGET)')}" for folder in folders}
    return {
        "hypervisor": hypervisor,
        "hypervisor_name": runtime["hypervisor_name"],
        "platform": platform_of(table),
        # Guest components read their configuration from the initdata annotation.
        "coco_guest": "cc_init_data" in table["enable_annotations"],
        # Without a shared file system an image reaches the guest by a snapshotter of its own, or is pulled inside.
        "shares_files": table["shared_fs"] != "none",
        "gpu": table.get("cold_plug_vfio") == "root-port",
        "memory": table["default_memory"],
        "static": runtime["static_sandbox_resource_mgmt"],
        "debug": any(debugs),
        "experimental": runtime["experimental"],
        "packaged": f"/opt/kata/{shim.packaged}" in made,
        "runtime_path": next((path for path in paths if path == shim.runtime_path), sorted(paths)),
    }


def differences(shim: Shim, template_text: str, makefile: Makefile) -> dict[str, Any]:
    """Fields of which a template says something else than the catalogue -> what it says."""
    ours = stated(shim)
    return {field: said for field, said in template_says(shim, template_text, makefile).items() if said != ours[field]}


@pytest.mark.parametrize("name", RUST)
def test_the_catalogue_says_of_a_rust_shim_what_its_template_says(name: str) -> None:
    found = rust_templates()
    if not found:
        pytest.skip(NO_CHECKOUT)
    seen = differences(of(name), found[name].read_text(), Makefile(rust_makefile()))
    listed, before = (
        {field: said for (shim, field), (said, _) in one.items() if shim == name} for one in (DIFFERENCES, BEFORE)
    )
    assert seen == {**{field: said for field, said in before.items() if field in seen}, **listed}


RUST_SAMPLE = """\
[hypervisor.qemu]
confidential_guest = true
sev_snp_guest = true
enable_annotations = @ANNOTATIONS@
default_memory = @MEMORY@
shared_fs = "none"
enable_debug = false
[agent.@PROJECT_TYPE@]
enable_debug = false
debug_console_enabled = false
[runtime]
enable_debug = false
hypervisor_name = "@HYPERVISOR@"
static_sandbox_resource_mgmt = @STATIC@
experimental = @EXPERIMENTAL@
"""
RUST_MAKEFILE = """\
BINDIR := $(EXEC_PREFIX)/runtime-rs/bin/
TARGET = containerd-shim-kata-v2
SHAREDIR := $(PREFIX)/share
SHAREDIR := $(SHAREDIR)
CONFDIR := $(SHAREDIR)/defaults/kata-containers/runtime-rs
    CONFIG_FILE_SNP = configuration-qemu-snp-runtime-rs.toml
HYPERVISOR = qemu
MEMORY ?= 2048
STATIC := true
ANNOTATIONS := [\\"kernel_params\\", \\"cc_init_data\\"]
EXPERIMENTAL := []
"""


@pytest.mark.parametrize(
    ("change", "to", "found"),
    [
        ("", "", {}),
        ("[hypervisor.qemu]", "[hypervisor.clh]", {"hypervisor": "clh"}),
        ("HYPERVISOR = qemu", "HYPERVISOR = clh", {"hypervisor_name": "clh"}),
        ("confidential_guest = true", "confidential_guest = false", {"platform": Platform.NONE}),
        ("sev_snp_guest = true", "tdx_quote_generation_service_socket_port = 0", {"platform": Platform.TDX}),
        ("sev_snp_guest = true", "sev_snp_guest = false", {"platform": Platform.SE}),
        (', \\"cc_init_data\\"', "", {"coco_guest": False}),
        ('shared_fs = "none"', 'shared_fs = "virtio-fs"', {"shares_files": True}),
        ('shared_fs = "none"', 'shared_fs = "none"\ncold_plug_vfio = "root-port"', {"gpu": True}),
        ("MEMORY ?= 2048", "MEMORY ?= 4096", {"memory": 4096}),
        ("STATIC := true", "STATIC := false", {"static": False}),
        ("debug_console_enabled = false", "debug_console_enabled = true", {"debug": True}),
        ("EXPERIMENTAL := []", 'EXPERIMENTAL := [\\"x\\"]', {"experimental": ["x"]}),
        ("CONFIG_FILE_SNP = configuration-qemu-snp-runtime-rs.toml", "CONFIG_FILE_SNP = configuration-qemu-snp.toml", {"packaged": False}),
        ("/runtime-rs/bin/", "/bin/", {"runtime_path": ["/opt/kata/bin/containerd-shim-kata-v2"]}),
        ("STATIC := true", "STATIC := true\nSTATIC := false", {"static": "$(STATIC)"}),
    ],
)  # fmt: skip
def test_the_comparison_names_every_field_that_a_template_says_otherwise(
    change: str, to: str, found: dict[str, Any]
) -> None:
    assert change in RUST_SAMPLE + RUST_MAKEFILE
    text, makefile = (one.replace(change, to) if change else one for one in (RUST_SAMPLE, RUST_MAKEFILE))
    assert differences(of("qemu-snp-runtime-rs"), text, Makefile(makefile)) == found


@pytest.mark.parametrize("table", [DIFFERENCES, BEFORE])
def test_every_difference_that_is_listed_has_a_shim_a_field_and_a_reason(
    table: dict[tuple[str, str], tuple[Any, str]],
) -> None:
    for (name, field), (said, reason) in table.items():
        assert stated(of(name))[field] != said, "no difference at all"
        assert name in RUST
        assert reason


def test_what_pulls_inside_the_guest_needs_no_shared_files() -> None:
    assert [name for name in RUST if KNOWN[name].guest_pull and KNOWN[name].snapshotter is None] == []
