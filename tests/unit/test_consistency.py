"""Hosts that should be alike: what differs is named, with who has what."""

from __future__ import annotations

from strongroom.checks.consistency import compare
from strongroom.probe.report import HostReport
from tests.reference import edit, make
from tests.reference.faults import FAULTS


def test_hosts_that_are_alike_differ_in_nothing() -> None:
    assert compare({name: HostReport.of(make("snp")) for name in ("a", "b", "c")}) == []


def test_what_differs_is_named_the_commonest_first() -> None:
    odd = edit(make("snp"), "cpuinfo", "0xa101148", "0xa101020")
    odd = edit(odd, "dmi", "bios_version=1.10.6", "bios_version=1.8.3")
    odd = edit(odd, "uname", "6.12.0-amd64", "6.11.0-amd64")
    odd = FAULTS["SNP-TCB"].change(edit(odd, "cmdline", "kvm_amd.sev=1", "iommu=pt"))
    found = compare({"a": HostReport.of(make("snp")), "b": HostReport.of(odd), "c": HostReport.of(make("snp"))})
    assert {one.what: next(iter(one.values.values())) for one in found} == dict.fromkeys(
        ("BIOS", "microcode", "kernel", "kernel command line's TEE options", "SEV-SNP TCB"), ("a", "c")
    )
    assert str(found[1]) == "microcode differs: 0xa101148 on a, c; 0xa101020 on b"


def test_tdx_modules_are_compared_too() -> None:
    old = edit(make("tdx"), "dmesg", "TDX module 1.5.06.00", "TDX module 1.5.05.00")
    found = compare({"a": HostReport.of(make("tdx")), "b": HostReport.of(old)})
    assert [(one.what, list(one.values)) for one in found] == [("TDX module", ["1.5.5", "1.5.6"])]


def test_a_host_that_tells_nothing_is_no_difference() -> None:
    assert compare({"a": HostReport.of(make("snp")), "b": HostReport()}) == []
