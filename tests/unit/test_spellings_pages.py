"""What pages, mails and terminals do to a text before somebody hands it on. The lines are made for the test in the wording of the
source that stands beside them."""

from __future__ import annotations

import pytest

from strongroom.probe.report import HostReport
from tests.unit.test_spellings import judged, said

GPU = (
    "c1:00.0 3D controller [0302]: NVIDIA Corporation GH100 [H100 PCIe] [10de:2331] (rev a1)",
    "\tKernel driver in use: nouveau",
)


@pytest.mark.parametrize(
    "lines",
    [
        tuple(line.replace(" ", "\u00a0") for line in GPU),
        ("\ufeff" + GPU[0], GPU[1]),
        tuple(f"{line}\r" for line in GPU),
        tuple(f"\t{line}" for line in GPU),
        tuple(f"> {line}" for line in GPU),
        ("```console", *GPU, "```"),
        (f"\x1b[01;31m\x1b[K{GPU[0][:8]}\x1b[m\x1b[K{GPU[0][8:]}", GPU[1]),
        tuple(f"{number}:{line}" for number, line in enumerate(GPU, 1)),
    ],
    ids=["nbsp", "bom", "crlf", "indented", "quoted", "fenced", "coloured", "numbered"],
)
def test_a_paste_is_read_as_what_it_was(lines: tuple[str, ...]) -> None:
    found = judged("lspci", *lines)
    assert [said(found, name).verdict for name in ("GPU-ID", "GPU-VFIO")] == ["pass", "fail"]


def test_a_block_of_code_loses_its_margin_and_what_stands_in_it_does_not() -> None:
    missing = "Unit nvidia-persistenced.service could not be found."
    assert said(judged("units", f"    {missing}", ""), "GPU-PERS").verdict == "fail"
    # QEMU's list of objects has a margin of its own.
    assert "sev-snp-guest" in HostReport.of({"qemu": ("  sev-snp-guest", "  sev-guest")}).qemu.objects


@pytest.mark.parametrize("cut", [1, 20, 41])
def test_facilities_that_a_terminal_folded_are_all_there(cut: int) -> None:
    facilities = "facilities      : 0 1 2 3 4 146 147 148 150 151 152 155 156 158 168"
    at = len(facilities) - cut
    for lines in ((facilities[:at], facilities[at:]), (facilities[:at], f"  {facilities[at:]}")):
        assert said(judged("cpuinfo", *lines), "SE-FAC").verdict == "pass"


def test_flags_that_a_terminal_folded_do_not_hide_what_they_lack() -> None:
    lines = ("Flags:  fpu svm vaes", "vpclmulqdq la57 sev", " sev_es debug_swap")
    found = said(judged("cpuinfo", "Vendor ID:  AuthenticAMD", *lines), "SEV-FLAGS")
    assert (found.verdict, found.seen) == ("fail", "without sev_snp")


def test_a_gpu_whose_line_a_mail_folded_is_not_one_less() -> None:
    other = "01:00.0 VGA compatible controller [0300]: NVIDIA Corporation GA102GL [RTX A5000] [10de:2231] (rev a1)"
    for cut in (70, 83, 88):
        found = judged("lspci", other[:cut], other[cut:], *GPU)
        assert [said(found, name).verdict for name in ("GPU-ID", "GPU-VFIO")] == ["fail", "skip"], cut


UNIT = (
    "● nvidia-persistenced.service - NVIDIA Persistence Daemon",
    "     Active: active (running) since Wed 2023-08-02 05:11:57 UTC",
)
START = "             └─2748 /usr/bin/nvidia-persistenced --user nvpd"


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        # less -S, which systemctl pages by, ends a line that is too long by a mark; a terminal just folds it
        ((f"{START} --uvm-persis>",), "unknown"),
        ((f"{START} --verb…",), "unknown"),
        ((f"{START} --uvm-persis", "tence-mode --verbose"), "pass"),
        ((START[:-2], "pd --uvm-persistence-mode"), "pass"),
        ((f"{START} --uvm-persis",), "unknown"),
        ((START, "   --uvm-persistence-mode --verbose"), "pass"),
        ((f"{START} --verbose",), "fail"),
    ],
)
def test_a_command_that_was_cut_proves_nothing(lines: tuple[str, ...], verdict: str) -> None:
    assert said(judged("units", *UNIT, *lines), "GPU-PERS").verdict == verdict


@pytest.mark.parametrize(
    ("lines", "check", "verdict"),
    [
        # what is not x86's has features, not flags, and no word of a hypervisor among them
        (("Features\t: fp asimd evtstrm", "CPU implementer\t: 0x41"), "C-BARE", "unknown"),
        (("Features\t: fp asimd evtstrm", "CPU implementer\t: 0x41"), "C-ARCH", "pass"),
        (("vendor_id       : IBM/S390", "features\t: esan3 zarch stfle"), "C-BARE", "unknown"),
        (("Vendor ID:             ARM", "Model name:            Neoverse-V2"), "C-ARCH", "pass"),
        (("flags\t\t: fpu vme de pse",), "C-BARE", "pass"),
    ],
)
def test_a_cpu_of_another_architecture_is_not_taken_for_bare_metal(
    lines: tuple[str, ...], check: str, verdict: str
) -> None:
    assert said(judged("cpuinfo", *lines), check).verdict == verdict


def test_a_value_with_a_pages_marks_around_it_is_not_another_value() -> None:
    for path, check in (
        ("/sys/firmware/uv/prot_virt_host", "SE-HOST"),
        ("/sys/firmware/uv/prot_virt_guest", "SE-GUEST"),
        ("/sys/class/tpm/tpm0/tpm_version_major", "G-TPMDEV"),
    ):
        assert said(judged("sysfs", f"{path}=`1`"), check).verdict == "unknown"


def test_switches_alone_do_not_tell_what_mode_their_gpus_are_in() -> None:
    line = "INFO     NvSwitch 0000:07:00.0 LS10 0x22a3 BAR0 0x98000000 PPCIe mode is off"
    assert said(judged("nvidia-gpu-tools", line), "GPU-PPCIE").verdict == "unknown"


def test_a_command_line_below_another_prompt_is_one() -> None:
    found = said(judged("cmdline", "$ uname -r; cat /proc/cmdline", "ro kvm.sev_es=1"), "C-CMDLINE")
    assert found.verdict == "fail"
