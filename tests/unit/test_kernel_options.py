"""Kernel options through every boot loader: written once, named when they drift, taken out without a trace."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.catalog.load import hosts
from strongroom.errors import StrongroomError
from strongroom.model.platform import Platform
from strongroom.plan import command_line
from strongroom.plan.boot_loaders import DROP_IN
from strongroom.plan.kernel_options import KernelOptions, option
from strongroom.plan.resource import Resource, Step
from strongroom.plan.script import carry_out, token
from tests.rig import Rig

SHELLS = [words for words in (["dash", "-s"], ["bash", "--posix", "-s"]) if shutil.which(words[0])]
DEBIAN = """\
# If you change this file, run 'update-grub' afterwards. It's GRUB's.
GRUB_DEFAULT=0
GRUB_DISTRIBUTOR=`( echo Debian ) 2>/dev/null || echo Debian`
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
GRUB_CMDLINE_LINUX=""
"""
SNP = "kvm_amd.sev_snp=1 kvm_amd.sev=1 kvm_amd.sev_es=1"


def wanted(platform: Platform = Platform.SNP) -> KernelOptions:
    setup = hosts().of(platform)
    return KernelOptions(setup.options, setup.refused)


def refused(rig: Rig, resource: Resource) -> StrongroomError:
    before = rig.snapshot()
    with pytest.raises(StrongroomError) as caught:
        rig.steps(resource)
    assert rig.snapshot() == before
    return caught.value


# GRUB with drop-ins: Debian and Ubuntu


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_debians_grub_gets_a_drop_in_and_a_new_menu_and_both_go_again(tmp_path: Path, shell: list[str]) -> None:
    rig = Rig(tmp_path / "h", shell)
    rig.grub(DEBIAN, {"50-cloudimg-settings.cfg": 'GRUB_CMDLINE_LINUX_DEFAULT="console=tty1 console=ttyS0"\n'})
    before = rig.snapshot()
    (sentence,) = rig.apply(wanted())
    assert "90-strongroom.cfg (absent), make GRUB's menu anew" in sentence
    assert all(SNP in line for line in rig.menu())
    assert rig.read("/etc/default/grub") == DEBIAN
    rig.undo(wanted())
    assert rig.snapshot() == before


def test_an_option_that_the_owner_has_set_stays_theirs(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "h")
    rig.grub(DEBIAN.replace('LINUX=""', 'LINUX="kvm-amd.sev=Y"'))
    before = rig.snapshot()
    rig.apply(wanted())
    assert "sev=1" not in rig.read(DROP_IN)
    assert "kvm_amd.sev_snp=1 kvm_amd.sev_es=1" in rig.read(DROP_IN)
    rig.undo(wanted())
    assert rig.snapshot() == before


def test_where_the_owner_has_set_everything_there_is_nothing_to_do(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "h")
    rig.grub(DEBIAN.replace('LINUX=""', f'LINUX="{SNP}"'))
    assert rig.steps(wanted()) == []


@pytest.mark.parametrize(
    ("default", "drop_ins", "words"),
    [
        (DEBIAN.replace('LINUX=""', 'LINUX="iommu=pt"'), {}, ["/etc/default/grub:", "iommu=pt", "take it out"]),
        (
            DEBIAN,
            {"70-mine.cfg": 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX kvm_amd.sev_snp=0"\n'},
            ["/etc/default/grub.d/70-mine.cfg:", "kvm_amd.sev_snp=0", "make it kvm_amd.sev_snp=1"],
        ),
        (
            DEBIAN + '# iommu=off is in a comment\nGRUB_CMDLINE_LINUX_DEFAULT="quiet \\\n  amd_iommu=pgtbl_v2"\n',
            {},
            ["/etc/default/grub:", "amd_iommu=pgtbl_v2"],
        ),
    ],
)
def test_what_contradicts_is_named_with_its_file_and_nothing_is_changed(
    tmp_path: Path, default: str, drop_ins: dict[str, str], words: list[str]
) -> None:
    rig = Rig(tmp_path / "h")
    rig.grub(default, drop_ins)
    error = refused(rig, wanted())
    for word in words:
        assert word in f"{error}; {error.hint}"


def test_what_the_inventory_asks_for_is_refused_as_well(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "h")
    rig.grub(DEBIAN)
    asked = KernelOptions((*wanted().options, option("iommu=pt", "asked for")), wanted().refused)
    assert "host.kernel_options: found iommu=pt: the kernel gives SEV-SNP up" in str(refused(rig, asked))


@pytest.mark.parametrize("drop_ins", [True, False])
def test_what_is_inits_is_not_the_kernels(tmp_path: Path, drop_ins: bool) -> None:
    rig = Rig(tmp_path / "h")
    rig.grub('GRUB_CMDLINE_LINUX="a=1 -- single"\n', reads_drop_ins=drop_ins)
    rig.apply(wanted())
    assert all(command_line.missing(wanted().options, line) == [] for line in rig.menu())
    # The menu has GRUB_CMDLINE_LINUX first, so this one is the kernel's.
    rig.grub('GRUB_CMDLINE_LINUX="iommu=pt"\nGRUB_CMDLINE_LINUX_DEFAULT="quiet -- single"\n', reads_drop_ins=drop_ins)
    assert "kernel option iommu=pt" in str(refused(rig, wanted()))


@pytest.mark.parametrize("broken", ['GRUB_CMDLINE_LINUX="quiet\n', "exit 3\n", "if true\n", "nonsense |\n"])
def test_a_broken_file_is_named_and_nothing_is_changed(tmp_path: Path, broken: str) -> None:
    rig = Rig(tmp_path / "h")
    rig.grub(DEBIAN)
    rig.file("/etc/default/grub", DEBIAN + broken)
    assert "cannot read them to their end" in str(refused(rig, wanted()))


def test_odd_files_are_read_as_grub_reads_them(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "h")
    odd = (
        '#GRUB_CMDLINE_LINUX="iommu=pt"\nEXTRA=\'a="b c"\'; GRUB_CMDLINE_LINUX=$EXTRA\\\n" x=y"\n'
        "GRUB_CMDLINE_LINUX_DEFAULT=\"$(printf 'quiet splash')\""  # and no end of line
    )
    rig.grub(odd)
    before = rig.snapshot()
    rig.apply(wanted())
    assert rig.menu()[0] == f'linux\t/vmlinuz-6.12.1 root=/dev/sda1 ro {SNP} a="b c" x=y quiet splash'
    rig.undo(wanted())
    assert rig.snapshot() == before


def test_a_later_drop_in_that_throws_ours_away_is_named(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "h")
    rig.grub(DEBIAN, {"99-last.cfg": 'GRUB_CMDLINE_LINUX="mine=1"\n'})
    rig.do(rig.steps(wanted()))
    with pytest.raises(StrongroomError, match=r"99-last.cfg: sets GRUB_CMDLINE_LINUX anew") as caught:
        rig.steps(wanted())
    assert "$GRUB_CMDLINE_LINUX" in str(caught.value.hint)


def test_each_drift_is_named(tmp_path: Path) -> None:
    rig, resource = Rig(tmp_path / "h"), wanted()
    rig.grub(DEBIAN)
    rig.apply(resource)
    good = rig.read(DROP_IN)

    rig.file(DROP_IN, good.replace("kvm_amd.sev=1 ", ""))
    assert "90-strongroom.cfg (content differs)" in rig.apply(resource)[0]
    rig.path(DROP_IN).chmod(0o600)
    assert rig.apply(resource) == [
        "kernel options: mend /etc/default/grub.d/90-strongroom.cfg (mode 0600, wanted 0644)"
    ]
    rig.path(DROP_IN).unlink()
    assert "(absent)" in rig.apply(resource)[0]
    menu = rig.read("/boot/grub/grub.cfg")
    rig.file("/boot/grub/grub.cfg", menu.replace(" kvm_amd.sev_es=1", "", 1))
    assert rig.apply(resource) == ["kernel options: make GRUB's menu anew (an entry has no kvm_amd.sev_es=1)"]
    assert rig.read("/boot/grub/grub.cfg") == menu


@pytest.mark.parametrize("undoing", [False, True])
def test_a_menu_that_was_cut_off_is_made_again(tmp_path: Path, undoing: bool) -> None:
    rig, resource = Rig(tmp_path / "h"), wanted()
    rig.grub(DEBIAN)
    before = rig.snapshot()
    if undoing:
        rig.apply(resource)
    good = (rig.bin / "grub-mkconfig").read_text()
    rig.program("grub-mkconfig", "# default/grub.d\nexit 9")
    steps = resource.undo(rig.look(resource)[resource.key]) if undoing else rig.steps(resource)
    assert rig.run(carry_out(steps)).returncode == 9
    assert (rig.root / "var/lib/strongroom/journal" / token(resource.key)).exists()
    (rig.bin / "grub-mkconfig").write_text(good)
    if undoing:
        rig.undo(resource)
        shutil.rmtree(rig.root / "var")
        assert rig.snapshot() == before
    else:
        rig.apply(resource)
        assert all(SNP in line for line in rig.menu())


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(words=st.lists(st.from_regex(r"\A[a-z][a-z0-9_]{0,8}(=[a-z0-9,./:-]{1,8})?\Z"), max_size=5, unique=True))
def test_whatever_the_owner_has_is_there_before_and_after(
    tmp_path_factory: pytest.TempPathFactory, words: list[str]
) -> None:
    rig = Rig(tmp_path_factory.mktemp("grub") / "h")
    rig.grub(f"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX='{' '.join(words)}'\n")
    before = rig.snapshot()
    rig.apply(wanted(Platform.SNP))
    assert rig.menu()[0].split()[4:] == [*SNP.split(), *words, "quiet"]
    rig.undo(wanted(Platform.SNP))
    assert rig.snapshot() == before


# GRUB without drop-ins


def test_upstreams_grub_gets_a_block_and_the_rest_stays_to_the_byte(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "h")
    rig.grub(DEBIAN, reads_drop_ins=False)
    before = rig.snapshot()
    rig.apply(wanted())
    assert rig.read("/etc/default/grub").startswith(DEBIAN)
    assert all(SNP in line for line in rig.menu())
    rig.undo(wanted())
    assert rig.snapshot() == before


def test_a_linked_file_is_edited_where_it_lies_and_stays_as_closed_as_it_was(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "h")
    rig.grub(DEBIAN, reads_drop_ins=False)
    link, file = rig.path("/etc/default/grub"), rig.file("/etc/mine/grub", DEBIAN)
    file.chmod(0o640)
    link.unlink()
    link.symlink_to("../mine/grub")
    before = rig.snapshot()
    rig.apply(wanted())
    assert link.is_symlink()
    assert SNP in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o640
    rig.undo(wanted())
    assert link.is_symlink()
    assert rig.snapshot() == before


@pytest.mark.parametrize("end", ["GRUB_TIMEOUT=1", "GRUB_TIMEOUT=1\\\n"])
def test_nothing_is_added_behind_a_line_that_goes_on(tmp_path: Path, end: str) -> None:
    rig = Rig(tmp_path / "h")
    rig.grub(DEBIAN + end, reads_drop_ins=False)
    assert "its last line is not ended" in str(refused(rig, wanted()))


# grubby: RHEL and Rocky Linux

RHEL = "root=/dev/mapper/rl-root ro crashkernel=1G-4G:192M rhgb $tuned_params"


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_grubby_edits_every_kernel_and_what_new_ones_start_from(tmp_path: Path, shell: list[str]) -> None:
    rig, resource = Rig(tmp_path / "h", shell), wanted()
    rig.grubby(**{"5.14.0-427": RHEL, "0-rescue": "root=/dev/mapper/rl-root  ro"})
    rig.file(
        "/etc/default/grub", '# mine\nGRUB_CMDLINE_LINUX="crashkernel=1G-4G:192M  rhgb"\nGRUB_ENABLE_BLSCFG=true\n'
    )
    rig.file("/etc/kernel/cmdline", f"{RHEL}\n")
    before = rig.snapshot()
    assert rig.apply(resource) == [
        "kernel options: add kvm_amd.sev_snp=1, add kvm_amd.sev=1, add kvm_amd.sev_es=1 (grubby, all kernels)"
    ]
    for name in (
        "/etc/kernel/cmdline",
        "/boot/loader/entries/id-0-rescue.conf",
        "/boot/loader/entries/id-5.14.0-427.conf",
    ):
        assert SNP in rig.read(name)
    rig.undo(resource)
    assert rig.snapshot() == before  # the double blanks that grubby eats are back too


def test_grubby_leaves_the_owners_own_and_mends_the_rest(tmp_path: Path) -> None:
    rig, resource = Rig(tmp_path / "h"), wanted()
    rig.grubby(a=f"{RHEL} kvm_amd.sev=1", b=RHEL)
    before = rig.snapshot()
    rig.apply(resource)
    text = rig.read("/boot/loader/entries/id-b.conf")
    rig.file("/boot/loader/entries/id-b.conf", text.replace(" kvm_amd.sev_es=1", "") + "# edited\n")
    assert rig.apply(resource) == ["kernel options: add kvm_amd.sev_es=1 (grubby, all kernels)"]
    rig.undo(resource)
    after = dict(rig.snapshot())
    name = "boot/loader/entries/id-b.conf"
    assert after.pop(name)[1] == before[name][1] + "# edited\n"  # what others did since stays
    assert {key: value for key, value in before.items() if key != name} == after


def test_a_kernel_that_came_since_loses_ours_too(tmp_path: Path) -> None:
    rig, resource = Rig(tmp_path / "h"), wanted()
    rig.grubby(a=RHEL)
    rig.apply(resource)
    rig.grubby(b=f"{RHEL} {SNP}")  # made from /etc/kernel/cmdline
    assert rig.steps(resource) == []
    rig.undo(resource)
    assert f"options {RHEL}\n" in rig.read("/boot/loader/entries/id-b.conf")


def cut(rig: Rig, step: Step, before: str) -> None:
    """Power goes before a line of a step."""
    script = f"{step.script.partition(before)[0]}exit 9"
    assert rig.run(carry_out([replace(step, script=script)])).returncode == 9


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("before", ["rm -f /var/lib/strongroom/original/kernel-options/after", '[ "$(uname -m)'])
def test_grubbys_files_are_as_before_also_where_it_was_cut_off(tmp_path: Path, before: str, again: bool) -> None:
    rig, resource = Rig(tmp_path / "h"), wanted()
    rig.grubby(a=RHEL, b=f"{RHEL} kvm_amd.sev=1")
    rig.file("/etc/default/grub", 'GRUB_CMDLINE_LINUX="x  y"\n')
    was = rig.snapshot()
    (step,) = rig.steps(resource)
    cut(rig, step, before)
    if again:
        rig.apply(resource)
    rig.undo(resource)
    assert rig.snapshot() == was


def test_grubbys_contradiction_is_named(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "h")
    rig.grubby(a=f"{RHEL} amd_iommu=off")
    assert "the boot entries (grubby --info=ALL): kernel option amd_iommu=off" in str(refused(rig, wanted()))


def test_when_less_is_wanted_grubby_takes_the_rest_out(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "h")
    rig.grubby(a=RHEL)
    before = rig.snapshot()
    rig.apply(wanted())
    assert "take out kvm_amd.sev_snp=1" in rig.apply(wanted(Platform.SEV))[0]
    assert "sev_snp" not in rig.read("/boot/loader/entries/id-a.conf")
    rig.undo(wanted(Platform.SEV))
    assert rig.snapshot() == before


# systemd-boot


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize("cmdline", ["root=UUID=1 ro quiet\n", 'root=UUID=1 ro\n  x="a b"', None])
def test_systemd_boots_entries_are_made_from_the_file(tmp_path: Path, shell: list[str], cmdline: str | None) -> None:
    rig, resource = Rig(tmp_path / "h", shell), wanted(Platform.TDX)
    rig.cpu("GenuineIntel")
    rig.systemd_boot(cmdline, ("6.17.1", "6.17.2"))
    before = rig.snapshot()
    (sentence,) = rig.apply(resource)
    assert ("(absent)" in sentence) is (cmdline is None)
    assert len(rig.entries()) == 2
    assert all(entry.endswith("kvm_intel.tdx=1 nohibernate") for entry in rig.entries())
    assert all(("root=UUID=1" if cmdline else "root=/dev/sda1 ro quiet") in entry for entry in rig.entries())
    rig.file("/proc/cmdline", f"root=/dev/sda1 ro quiet {'kvm_intel.tdx=1 nohibernate'}\n")  # booted with it
    rig.undo(resource)
    assert rig.snapshot() == before


def test_a_file_that_was_not_there_goes_also_where_undoing_was_cut_off(tmp_path: Path) -> None:
    rig, resource = Rig(tmp_path / "h"), wanted(Platform.TDX)
    rig.cpu("GenuineIntel")
    rig.systemd_boot(None)
    rig.apply(resource)
    (step,) = resource.undo(rig.look(resource)[resource.key])
    cut(rig, step, "rm -f /etc/kernel/cmdline")
    assert rig.path("/etc/kernel/cmdline").exists()
    rig.undo(resource)
    assert not rig.path("/etc/kernel/cmdline").exists()


def test_systemd_boot_drift(tmp_path: Path) -> None:
    rig, resource = Rig(tmp_path / "h"), wanted(Platform.TDX)
    rig.cpu("GenuineIntel")
    rig.systemd_boot("ro\n")
    rig.apply(resource)
    entry = next(rig.path("/efi/loader/entries").glob("*.conf"))
    entry.write_text(entry.read_text().replace(" nohibernate", ""))
    assert rig.apply(resource) == [
        "kernel options: have the boot loader take up /etc/kernel/cmdline (an entry has no nohibernate)"
    ]
    rig.file("/etc/kernel/cmdline", "ro mine\n")
    rig.apply(resource)
    assert rig.read("/etc/kernel/cmdline") == "ro mine kvm_intel.tdx=1 nohibernate\n"
    rig.undo(resource)
    assert rig.read("/etc/kernel/cmdline") == "ro mine\n"  # somebody's edit since stays
    assert rig.entries() == ["ro mine"]


# zipl


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_zipl_gets_the_option_in_every_section_and_its_boot_map_is_written(tmp_path: Path, shell: list[str]) -> None:
    rig, resource = Rig(tmp_path / "h", shell), wanted(Platform.SE)
    rig.zipl(
        '# parameters="not these"\n[defaultboot]\ndefault=ubuntu\n[ubuntu]\n    target = /boot\n    image = /boot/vmlinuz\n'
        '    parameters = "root=/dev/dasda1 crashkernel=196M"  \n[old]\n    parameters=single\n'
    )
    before = rig.snapshot()
    rig.apply(resource)
    text = rig.read("/etc/zipl.conf")
    assert '    parameters = "root=/dev/dasda1 crashkernel=196M prot_virt=1"  \n' in text
    assert '    parameters="single prot_virt=1"\n' in text
    assert text.startswith('# parameters="not these"\n')
    assert "prot_virt=1" in rig.read("/boot/bootmap")
    rig.undo(resource)
    assert rig.snapshot() == before


# what is on the host besides


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "options kvm-amd \\\n  npt=1 sev_snp=0\n",
            ["strongroom-test.conf: options kvm-amd", "sev_snp=0", "make it sev_snp=1"],
        ),
        ("  blacklist kvm_amd\n", ["blacklist kvm_amd", "take the line out"]),
    ],
)
def test_module_options_that_contradict_are_named(tmp_path: Path, text: str, words: list[str]) -> None:
    rig = Rig(tmp_path / "h")
    rig.grub(DEBIAN)
    rig.file("/etc/modprobe.d/strongroom-test.conf", text)
    error = refused(rig, wanted())
    for word in words:
        assert word in f"{error}; {error.hint}"


def test_other_modules_and_comments_are_nobodys_business(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "h")
    rig.grub(DEBIAN)
    rig.file(
        "/etc/modprobe.d/x.conf", "# options kvm_amd sev=0\noptions kvm_amd_other sev=0\noptions kvm_amd npt=1 sev=Y\n"
    )
    rig.apply(wanted())


def test_another_cpus_options_are_not_asked_for(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "h")
    rig.grub(DEBIAN)
    rig.cpu("GenuineIntel")
    assert rig.steps(wanted(Platform.SNP)) == []
    rig.apply(wanted(Platform.GPU))
    assert "intel_iommu=on kvm_intel.tdx=1 nohibernate" in rig.read(DROP_IN)
    assert "kvm_amd" not in rig.read(DROP_IN)


def test_without_a_boot_loader_that_is_known_the_operator_is_told(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "h")
    (step,) = rig.steps(wanted())
    done = rig.run(carry_out([step]))
    assert done.returncode == 1
    assert "no boot loader that strongroom knows; put kvm_amd.sev_snp=1" in done.stderr


def test_a_quote_that_is_not_closed_is_named(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "h")
    rig.systemd_boot('ro x="a b\n')
    assert "a double quote is not closed" in str(refused(rig, wanted()))
