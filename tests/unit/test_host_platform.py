"""What a platform adds to the host phase, carried out on a host below a folder; and preflight before and after it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from strongroom.catalog.load import hosts
from strongroom.checks import host_kernel
from strongroom.checks.verdict import CheckVerdict, State
from strongroom.errors import ConfigError, PreflightRefused
from strongroom.fetch.bundle import Bundle
from strongroom.model.bundle import Artifact, BundledFile, BundleManifest
from strongroom.model.cluster import Mode, validate
from strongroom.model.host_setup import DeviceRule, Service, floor_for, kernel_numbers
from strongroom.model.platform import Platform
from strongroom.phases.base import Context
from strongroom.phases.host import MODULES, SYSCTLS, HostPhase
from strongroom.phases.host_platform import platform_resources
from strongroom.phases.modes import phases
from strongroom.phases.preflight import PlatformPhase, PreflightPhase
from strongroom.plan.artifacts import Component
from strongroom.plan.devices import Attestation, DeviceRights, Firmware, LockedMemory, SystemGroup
from strongroom.plan.kernel_options import KernelOptions
from strongroom.plan.reboot import Reboot
from strongroom.plan.rendered import files
from strongroom.plan.script import carry_out
from strongroom.probe.report import HostReport
from strongroom.report.progress import Progress
from tests.reference import Sections, edit, make
from tests.reference.faults import FAULTS
from tests.rig import Rig
from tests.unit.test_kernel_options import DEBIAN
from tests.unit.test_preflight_phase import FakeSession

CONTENT = b"firmware"
FIRMWARE = Artifact(
    component="amd-sev-firmware", version="1", arch="amd64", kind="archive", file="fw.tar", size=1, sha256="0" * 64,
    licence="x", source="x",
    files=(BundledFile(path="amd_sev_fam19h_model1xh.sbin", sha256=hashlib.sha256(CONTENT).hexdigest(), mode="0644"),),
)  # fmt: skip


def context(platform: str, artifacts: tuple[Artifact, ...] = (), **settings: Any) -> Context:
    inventory = validate(
        {"name": "a", "claim": "none", "host": settings},
        {
            "cp1": (["control_plane"], {"address": "10.0.0.1"}),
            "w1": (["workers"], {"address": "10.0.0.2", "platform": platform}),
        },
    )
    manifest = BundleManifest.model_construct(arch="amd64", origin="upstream", digest="0" * 64, artifacts=artifacts)
    return Context(inventory, Bundle(Path("/nowhere"), manifest), ())


def keys(platform: str, name: str = "w1", artifacts: tuple[Artifact, ...] = (), **settings: Any) -> list[str]:
    ctx = context(platform, artifacts, **settings)
    found = [resource.key for resource in HostPhase().resources(ctx, ctx.inventory.host(name))]
    assert len(found) == len(set(found))
    return found


TODAY = [
    "file /etc/modules-load.d/strongroom.conf", *(f"module {name}" for name in MODULES),
    "file /etc/sysctl.d/60-strongroom.conf", *(f"sysctl {name}" for name in SYSCTLS), "swap off",
]  # fmt: skip


@pytest.mark.parametrize("platform", ["none", "vtpm"])
def test_a_host_without_a_platform_gets_what_it_always_got(platform: str) -> None:
    assert keys(platform) == TODAY
    ctx = context(platform)
    contents = {r.key: r.content for r in HostPhase().resources(ctx, ctx.inventory.host("w1")) if hasattr(r, "content")}
    assert contents["file /etc/sysctl.d/60-strongroom.conf"].decode() == "".join(
        f"{k} = {v}\n" for k, v in SYSCTLS.items()
    )
    assert keys("snp", "cp1") == TODAY  # the control plane beside a confidential worker, too


@pytest.mark.parametrize("platform", ["sev", "snp", "tdx", "sgx", "se", "gpu"])
def test_every_platform_ends_with_its_kernel_options_and_the_reboot(platform: str) -> None:
    assert keys(platform)[: len(TODAY)] == TODAY
    assert keys(platform)[-2:] == ["kernel options", "reboot"]


def test_what_each_platform_brings() -> None:
    assert {"group sgx", "group sgx_prv", "device rights", "unit qgsd.service", "unit pccs.service"} < set(keys("tdx"))
    assert "device rights" in keys("snp")
    assert not [key for key in keys("snp") if "sgx" in key or key.startswith("unit")]
    assert {"module vfio_pci", "file /etc/modprobe.d/strongroom.conf"} < set(keys("gpu"))
    assert "locked memory of containerd.service" not in keys("snp", memlock="unchanged")


def test_what_the_inventory_asks_for() -> None:
    assert "sysctl vm.nr_hugepages" in keys("none", hugepages=64)
    assert "sysctl vm.nr_hugepages" not in keys("none", "cp1", hugepages=64)
    ctx = context("snp", kernel_options=["kvm_amd.ciphertext_hiding_asids=10", "kvm-amd.sev=0"], reboot="never")
    reboot = HostPhase().resources(ctx, ctx.inventory.host("w1"))[-1]
    assert isinstance(reboot, Reboot)
    assert not reboot.allowed
    # An option of the inventory's stands in place of the catalogue's: nothing contradicts itself.
    assert [o.text for o in reboot.kernel.options] == [
        "kvm_amd.sev_snp=1", "kvm_amd.sev_es=1", "kvm_amd.ciphertext_hiding_asids=10", "kvm-amd.sev=0",
    ]  # fmt: skip
    ctx = context("gpu", vfio_pci_ids=["10de:2331", "10de:22a3"])
    contents = {r.key: r.content for r in HostPhase().resources(ctx, ctx.inventory.host("w1")) if hasattr(r, "content")}
    assert (
        contents["file /etc/modprobe.d/strongroom.conf"].decode().endswith("options vfio-pci ids=10de:2331,10de:22a3\n")
    )


def test_firmware_comes_from_the_bundle_or_not_at_all() -> None:
    assert not [key for key in keys("snp") if "firmware" in key]
    found = keys("snp", artifacts=(FIRMWARE,))
    assert found.index("component amd-sev-firmware 1") < found.index("firmware amd/amd_sev_fam19h_model1xh.sbin")
    assert not [key for key in keys("tdx", artifacts=(FIRMWARE,)) if "firmware" in key]
    ctx = context("snp", (FIRMWARE,))
    resources = HostPhase().resources(ctx, ctx.inventory.host("w1"))
    reboot, component = resources[-1], next(r for r in resources if isinstance(r, Component))
    assert isinstance(reboot, Reboot)
    assert [file.path for file in reboot.files] == ["/lib/firmware/updates/amd/amd_sev_fam19h_model1xh.sbin"]
    assert component.prefix == "/opt/strongroom/amd-sev-firmware/1"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rebot": "never"}, ["host.rebot: unknown key", "did you mean 'reboot'"]),
        ({"reboot": "nevr"}, ["host.reboot: found 'nevr'", "did you mean 'never'"]),
        ({"hugepages": -1}, ["host.hugepages: found -1"]),
        ({"kernel_options": ["a b"]}, ["host.kernel_options", "'a b'"]),
        ({"kernel_options": ['x="$(reboot)"']}, ["host.kernel_options"]),
        ({"kernel_options": ["a-b=1", "a_b=2"]}, ["each option once", "'a_b'"]),
        ({"vfio_pci_ids": ["10DE:2331"]}, ["host.vfio_pci_ids.0: found '10DE:2331'"]),
        ({"reboot_timeout_minutes": 1}, ["host.reboot_timeout_minutes: found 1"]),
        ({"inotify_instances": 10}, ["host.inotify_instances: found 10"]),
    ],
)
def test_each_mistake_is_one_line_that_names_it(settings: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        context("none", **settings)
    for word in words:
        assert word in str(caught.value)


# resources


def groups(rig: Rig, *there: str) -> None:
    rig.file("/etc/group", "".join(f"{name}:x:1:\n" for name in there))
    rig.program("getent", 'grep "^$2:" $R/etc/group')
    rig.program("groupadd", 'echo "$2:x:900:" >> $R/etc/group')
    rig.program("groupdel", 'sed -i "/^$1:/d" $R/etc/group')


def test_a_group_that_we_made_goes_and_one_that_was_there_stays(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "h")
    groups(rig, "sgx")
    before = rig.snapshot()
    assert rig.apply(SystemGroup("sgx")) == []
    assert rig.apply(SystemGroup("sgx_prv")) == ["add the group sgx_prv (absent)"]
    rig.undo(SystemGroup("sgx"))
    rig.undo(SystemGroup("sgx_prv"))
    assert rig.snapshot() == before
    assert rig.steps(SystemGroup("sgx_prv", ("GenuineIntel",))) == []  # this host's CPU is AMD's


def test_device_rights_are_rules_and_in_effect(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "h")
    resource = DeviceRights((DeviceRule(kernel="sev", group="root", mode="0660", source="x"),))
    rig.program(
        "udevadm",
        f'echo "$*" >> $R/run/udevadm\ncase $1 in trigger) [ ! -e $R{resource.path} ] || chmod 0660 $R/dev/sev;; esac',
    )
    rig.file("/dev/sev", "").chmod(0o600)
    rig.path("/dev").mkdir(exist_ok=True)
    before = rig.snapshot()
    assert rig.apply(resource) == [
        "write /etc/udev/rules.d/99-strongroom.rules (absent)",
        "give devices their rights (/dev/sev is 0600 root, wanted 0660 root)",
    ]
    assert 'KERNEL=="sev", GROUP="root", MODE="0660"' in rig.read(resource.path)
    rig.path("/dev/sev").chmod(0o666)
    assert rig.apply(resource) == ["give devices their rights (/dev/sev is 0666 root, wanted 0660 root)"]
    rig.path("/dev/sev").unlink()
    assert rig.apply(resource) == []  # one that is not there has no rights to mend
    rig.file("/dev/sev", "").chmod(0o600)
    rig.undo(resource)
    assert rig.snapshot() == before


def test_firmware_is_laid_down_as_the_bundle_lists_it_and_goes_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "h")
    source = tmp_path / "fw.sbin"
    source.write_bytes(CONTENT)
    resource = Firmware("amd/x.sbin", str(source), hashlib.sha256(CONTENT).hexdigest())
    rig.file("/lib/firmware/amd/x.sbin", "the distribution's")
    before = rig.snapshot()
    assert rig.apply(resource) == ["lay down /lib/firmware/updates/amd/x.sbin (absent)"]
    rig.path(resource.path).write_text("drift")
    assert rig.apply(resource) == ["lay down /lib/firmware/updates/amd/x.sbin (content differs)"]
    rig.undo(resource)
    assert rig.snapshot() == before
    source.write_bytes(b"something else")
    done = rig.run(carry_out(rig.steps(resource)))
    assert done.returncode == 1
    assert "is not what the bundle lists" in done.stderr
    assert rig.snapshot() == before


def systemctl(rig: Rig, **state: str) -> None:
    """systemctl of one unit whose properties are a file's lines."""
    now = {
        "LoadState": "loaded",
        "ActiveState": "inactive",
        "UnitFileState": "disabled",
        "NeedDaemonReload": "no",
        **state,
    }
    rig.path("/etc/systemd").mkdir(parents=True)
    rig.file("/run/unit", "".join(f"{key}={value}\n" for key, value in now.items()))
    rig.program(
        "systemctl",
        'set_() { sed -i "s/^$1=.*/$1=$2/" $R/run/unit; }\necho "$*" >> $R/run/log\n'
        "case $* in *--value*) v=MainPID; sed -n 's/^MainPID=//p' $R/run/unit;;\n"
        "show*) cat $R/run/unit;; enable*) set_ UnitFileState enabled;; disable*) set_ UnitFileState disabled;;\n"
        "start*) set_ ActiveState active;; stop*) set_ ActiveState inactive;;\n"
        "try-restart*) [ ! -e $R/etc/systemd/system/containerd.service.d/10-strongroom.conf ] ||"
        " sed -i 's/^\\(Max locked memory *\\).*/\\1unlimited unlimited bytes/' $R/proc/7/limits;; esac",
    )


QGS = Service(unit="qgsd.service", missing="install tdx-qgs", source="x")


def test_a_service_that_is_there_runs_and_is_given_back_as_it_was(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "h")
    systemctl(rig)
    before = rig.snapshot()
    assert rig.apply(Attestation(QGS)) == ["enable qgsd.service (is disabled)", "start qgsd.service (is inactive)"]
    rig.undo(Attestation(QGS))
    assert "UnitFileState=disabled" in rig.read("/run/unit")
    assert "ActiveState=inactive" in rig.read("/run/unit")
    assert rig.snapshot() == before


def test_a_service_that_ran_before_us_goes_on(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "h")
    systemctl(rig, UnitFileState="enabled", ActiveState="active")
    assert rig.apply(Attestation(QGS)) == []
    assert rig.undo(Attestation(QGS)) == []


def test_one_that_registers_and_rests_is_not_started_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "h")
    systemctl(rig)
    once = QGS.model_copy(update={"kind": "oneshot"})
    assert rig.apply(Attestation(once)) == ["enable qgsd.service (is disabled)"]


@pytest.mark.parametrize(
    ("state", "unless", "vendor", "told"),
    [
        ({"LoadState": "not-found"}, "false", "GenuineIntel", ["qgsd.service is missing: install tdx-qgs"]),
        ({"LoadState": "not-found"}, "true", "GenuineIntel", []),
        ({"LoadState": "not-found"}, "false", "AuthenticAMD", []),
        ({"LoadState": "masked", "UnitFileState": "masked"}, "false", "GenuineIntel", ["qgsd.service is masked"]),
    ],
)
def test_one_that_is_not_there_is_told_and_never_installed(
    tmp_path: Path, state: dict[str, str], unless: str, vendor: str, told: list[str]
) -> None:
    rig = Rig(tmp_path / "h")
    rig.cpu(vendor)
    systemctl(rig, **state)
    resource = Attestation(QGS.model_copy(update={"unless": unless, "vendors": ("GenuineIntel",)}))
    seen = rig.look(resource)[resource.key]
    assert resource.steps(seen) == []
    assert len(resource.notes(seen)) == len(told)
    assert all(found.startswith(wanted) for found, wanted in zip(resource.notes(seen), told, strict=True))


def test_another_hosts_pccs_is_as_good(tmp_path: Path) -> None:
    (pccs,) = (service for service in hosts().of(Platform.TDX).services if service.unit == "pccs.service")
    rig = Rig(tmp_path / "h")
    rig.cpu("GenuineIntel")
    systemctl(rig, LoadState="not-found")
    resource = Attestation(pccs)

    def told() -> list[str]:
        return resource.notes(rig.look(resource)[resource.key])

    assert len(told()) == 1
    rig.file("/etc/sgx_default_qcnl.conf", '{"pccs_url": "https://localhost:8081/sgx/certification/v4/"}\n')
    assert len(told()) == 1
    # As libsgx-dcap-default-qpl lays it down.
    rig.file("/etc/sgx_default_qcnl.conf", (
        '{\n  //PCCS server address\n  "pccs_url": "https://localhost:8081/sgx/certification/v4/"\n'
        "  // Certificates will always use the PCCS described in pccs_url.  When collateral_service is not defined, both \n"
        "  // PCK Certs and verification collateral will be retrieved using pccs_url  \n}\n"
    ))  # fmt: skip
    assert len(told()) == 1
    rig.file("/etc/sgx_default_qcnl.conf", '{"pccs_url": "https://pccs.example.org:8081/sgx/certification/v4/"}\n')
    assert told() == []


def test_the_limit_is_a_drop_in_and_in_effect(tmp_path: Path) -> None:
    rig, resource = Rig(tmp_path / "h"), LockedMemory("containerd.service")
    systemctl(rig, MainPID="7")
    rig.file("/proc/7/limits", "Limit  Soft Hard Units\nMax locked memory         8388608    8388608    bytes\n")
    before = rig.snapshot()
    found = rig.apply(resource)
    assert found[1] == "restart containerd.service (its processes may lock 8388608 bytes)"
    assert "LimitMEMLOCK=infinity" in rig.read("/etc/systemd/system/containerd.service.d/10-strongroom.conf")
    rig.undo(resource)
    assert rig.snapshot() == before


def test_a_containerd_that_does_not_run_yet_needs_no_restart(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "h")
    systemctl(rig, MainPID="0")
    assert len(rig.apply(LockedMemory("containerd.service"))) == 1


# all of it


def test_what_is_rendered_for_a_host() -> None:
    ctx = context("tdx")
    resources = HostPhase().resources(ctx, ctx.inventory.host("w1"))
    names = [file.path for resource in resources for file in files(resource)]
    assert "/etc/udev/rules.d/99-strongroom.rules" in names
    assert "/etc/systemd/system/containerd.service.d/10-strongroom.conf" in names
    (kernel,) = (resource for resource in resources if isinstance(resource, KernelOptions))
    assert kernel.preview() == "kvm_intel.tdx=1  GenuineIntel\nnohibernate  GenuineIntel\n"


@pytest.mark.parametrize("platform", ["snp", "tdx", "gpu"])
def test_all_that_a_platform_brings_is_undone_and_the_host_is_as_it_was(tmp_path: Path, platform: str) -> None:
    rig = Rig(tmp_path / "h")
    rig.cpu("GenuineIntel" if platform != "snp" else "AuthenticAMD")
    rig.grub(DEBIAN)
    groups(rig, "root", "kvm")
    systemctl(rig, MainPID="0", UnitFileState="enabled", ActiveState="active")
    rig.program("udevadm", "")
    for folder in ("modules-load.d", "modprobe.d", "udev/rules.d", "systemd/system"):  # every host has these
        rig.path(f"/etc/{folder}").mkdir(parents=True)
    rig.program("modprobe", "mkdir -p $R/sys/module/$1")
    before, folders = rig.snapshot(), {path for path in rig.root.rglob("*") if path.is_dir()}
    ctx = context(platform, vfio_pci_ids=["10de:2331"])
    own = [
        resource for resource in platform_resources(ctx, ctx.inventory.host("w1")) if not isinstance(resource, Reboot)
    ]
    rig.do([step for resource in own for step in resource.steps(rig.look(*own)[resource.key])])
    seen = rig.look(*own)
    assert [step.sentence for resource in own for step in resource.steps(seen[resource.key])] == []
    assert rig.snapshot() != before
    rig.do([step for resource in reversed(own) for step in resource.undo(seen[resource.key])])
    seen = rig.look(*own)
    assert [step.sentence for resource in own for step in resource.undo(seen[resource.key])] == []
    assert rig.snapshot() == before
    after = {path for path in rig.root.rglob("*") if path.is_dir()}
    assert {path for path in after - folders if not path.is_relative_to(rig.root / "sys")} <= {
        rig.root / "var", rig.root / "var/lib", rig.root / "var/lib/strongroom", rig.root / "var/lib/strongroom/journal",
    }  # fmt: skip


# the kernel's floor


def report(machine: str, kernel: str, distribution: str, release: str) -> HostReport:
    sections = {
        **make(machine),
        "uname": (f"Linux {kernel} x86_64", "#end"),
        "os-release": (f"ID={distribution}", f"VERSION_ID={release}", "#end"),
    }
    return HostReport.of(sections)


@pytest.mark.parametrize(
    ("platform", "distribution", "release", "kernel", "verdict", "words"),
    [
        ("snp", "debian", "13", "6.12.48+deb13-amd64", "pass", ""),
        ("snp", "debian", "13", "6.1.0-9-amd64", "fail", "linux-image-amd64"),
        ("snp", "ubuntu", "24.04", "6.8.0-85-generic", "fail", "apt install linux-generic-hwe-24.04"),
        ("snp", "ubuntu", "24.04", "6.14.0-33-generic", "pass", ""),
        ("snp", "ubuntu", "25.10", "6.17.0-8-generic", "pass", ""),
        ("snp", "rocky", "9.4", "5.14.0-427.13.1.el9_4.x86_64", "pass", ""),
        ("snp", "rhel", "9.2", "5.14.0-284.11.1.el9_2.x86_64", "fail", "update to 9.4"),
        ("snp", "rocky", "10.0", "6.12.0-55.9.1.el10_0.x86_64", "pass", ""),
        ("snp", "arch", "", "6.10.1-arch1-1", "fail", "6.11 or newer"),
        ("tdx", "debian", "13", "6.12.48+deb13-amd64", "fail", "trixie-backports"),
        ("tdx", "debian", "13", "6.17.8+deb13-amd64", "pass", ""),
        ("tdx", "ubuntu", "24.04", "6.8.0-1010-intel", "pass", ""),
        ("tdx", "ubuntu", "24.04", "6.8.0-85-generic", "fail", "Ubuntu 25.10 or newer"),
        ("tdx", "ubuntu", "26.04", "7.0.0-3-generic", "pass", ""),
        ("tdx", "rhel", "9.6", "5.14.0-570.el9.x86_64", "unknown", "not known here"),
        ("tdx", "rocky", "10.1", "6.12.0-124.el10.x86_64", "unknown", "not known here"),
    ],
)
def test_the_kernels_floor(
    platform: str, distribution: str, release: str, kernel: str, verdict: str, words: str
) -> None:
    floors = hosts().of(Platform(platform)).floors
    found = host_kernel.judge(
        report(platform, kernel, distribution, release), Platform(platform), State.CAPABLE, floors
    )
    assert found.verdict == verdict
    assert words in found.remedy
    proved = host_kernel.judge(report(platform, kernel, distribution, release), Platform(platform), State.READY, floors)
    assert proved.verdict in (CheckVerdict.PASS, CheckVerdict.UNKNOWN)


def test_releases_are_whole_numbers() -> None:
    floors = hosts().of(Platform.SNP).floors
    assert floor_for(floors, "rhel", "10.1") != floor_for(floors, "rhel", "9.4")
    assert floor_for(floors, "rhel", "1") == floor_for(floors, "nobody", "")
    assert kernel_numbers("6.12.48+deb13-amd64") == (6, 12)
    assert kernel_numbers("5.14.0-427.13.1.el9_4.x86_64") == (5, 14, 0, 427, 13, 1)
    assert kernel_numbers("") == ()


# preflight before, the judgement after


def plain_tdx() -> Sections:
    """A TDX machine whose kernel was not told: KVM leaves TDX off, and nothing initialises the module."""
    machine = edit(
        edit(make("tdx"), "cmdline", " nohibernate kvm_intel.tdx=1", ""),
        "sysfs",
        "kvm_intel/parameters/tdx=Y",
        "kvm_intel/parameters/tdx=N",
    )
    return {**machine, "dmesg": tuple(line for line in machine["dmesg"] if "module initialized" not in line)}


def preflight(platform: str, machine: Sections, phase: PreflightPhase | PlatformPhase | None = None) -> None:
    session = FakeSession({"cp1": make("snp"), "w1": machine})
    phase = phase or PreflightPhase(Console(quiet=True))
    phase.run(context(platform), session, Progress(), True)  # type: ignore[arg-type]


def test_a_host_that_only_has_to_be_set_up_passes_preflight_and_not_the_judgement_after(tmp_path: Path) -> None:
    preflight("tdx", plain_tdx())
    with pytest.raises(PreflightRefused, match="w1: HOST-PLATFORM: tdx capable: TDX-KVM fail"):
        preflight("tdx", plain_tdx(), PlatformPhase())
    preflight("tdx", make("tdx"), PlatformPhase())


def test_what_fails_though_the_kernel_was_told_is_not_ours_to_mend() -> None:
    told = {**plain_tdx(), "cmdline": make("tdx")["cmdline"]}
    with pytest.raises(PreflightRefused, match="w1: HOST-PLATFORM: tdx capable: TDX-KVM fail"):
        preflight("tdx", told)
    failed = FAULTS["TDX-MODLOG"].change(make("tdx"))
    with pytest.raises(PreflightRefused, match="TDX-MODLOG fail"):
        preflight("tdx", edit(failed, "cmdline", " nohibernate kvm_intel.tdx=1", ""))


def test_an_old_kernel_refuses_before_anything_changes() -> None:
    old = {
        **plain_tdx(),
        "uname": ("Linux 6.8.0-85-generic x86_64", "#end"),
        "os-release": ("ID=ubuntu", "VERSION_ID=24.04", "#end"),
    }
    with pytest.raises(
        PreflightRefused, match=r"w1: HOST-KERNEL: 6\.8\.0-85-generic on ubuntu 24.04; wanted: 6.16 or newer"
    ) as caught:
        preflight("tdx", old)
    assert "Ubuntu 25.10 or newer" in str(caught.value.hint)


def test_without_the_host_phase_in_the_run_nothing_is_let_through() -> None:
    strict = PreflightPhase(Console(quiet=True))
    strict.set_up = False
    with pytest.raises(PreflightRefused, match="TDX-KVM"):
        preflight("tdx", plain_tdx(), strict)


def test_what_the_host_phase_cannot_mend_still_refuses() -> None:
    broken = FAULTS["TDX-SEAMRR"].change(plain_tdx())
    with pytest.raises(PreflightRefused, match="TDX-SEAMRR fail"):
        preflight("tdx", broken)


@pytest.mark.parametrize(
    ("only", "skip", "lenient"),
    [
        ((), (), True),
        (("host",), (), True),
        (("runtime",), (), False),
        ((), ("host",), False),
        ((), ("platform",), False),
    ],
)
def test_only_a_run_that_sets_up_and_judges_again_is_lenient(
    only: tuple[str, ...], skip: tuple[str, ...], lenient: bool
) -> None:
    first = phases(Mode.CONTAINERS, only, skip)[0]
    assert isinstance(first, PreflightPhase)
    assert first.set_up is lenient


def test_the_judgement_after_asks_no_host_without_a_platform_and_none_in_a_plan() -> None:
    for platform, hands in (("none", True), ("vtpm", True), ("tdx", False)):
        session = FakeSession({})
        assert PlatformPhase().run(context(platform), session, Progress(), hands) == []  # type: ignore[arg-type]
        assert session.asked == []
