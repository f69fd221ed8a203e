"""A probe is saved and read back the same; what is no probe is one line and exit 2."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from strongroom.errors import ConfigError, Exit
from strongroom.probe.report import HostReport
from strongroom.report import saved
from tests.reference import make, names


@pytest.mark.parametrize("name", names())
def test_what_was_saved_is_judged_as_if_it_had_just_been_probed(name: str, tmp_path: Path) -> None:
    sections = make(name)
    place = saved.save(tmp_path, "a", sections)
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    loaded = saved.load(tmp_path)
    assert loaded == {"a": dict(sections)}
    assert HostReport.of(loaded["a"]) == HostReport.of(sections)


def test_a_second_save_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    saved.save(tmp_path, "a", {"uname": ("Linux 1 x86_64",), "msr": ("c0010010 0",)})
    saved.save(tmp_path, "a", {"uname": ("Linux 2 x86_64",)})
    assert saved.load(tmp_path) == {"a": {"uname": ("Linux 2 x86_64",)}}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


def test_bytes_that_are_no_text_come_back_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "dmesg").write_bytes(b"[    0.000000] \xff\xfe\x00\n")
    lines = saved.load(tmp_path)["a"]["dmesg"]
    saved.save(tmp_path / "again", "a", {"dmesg": lines})
    assert (tmp_path / "again" / "a" / "dmesg").read_bytes() == b"[    0.000000] \xff\xfe\x00\n"


def test_a_folder_made_by_hand_needs_no_mark_and_a_hosts_own_folder_will_do(tmp_path: Path) -> None:
    (tmp_path / "rack1-host7").mkdir()
    (tmp_path / "rack1-host7" / "cmdline").write_text("ro quiet\n")
    (tmp_path / "rack1-host7" / "notes").write_text("not a section\n")
    wanted = {"rack1-host7": {"cmdline": ("ro quiet",)}}
    assert saved.load(tmp_path) == wanted
    assert saved.load(tmp_path / "rack1-host7") == wanted


def test_files_that_are_no_sections_are_named(tmp_path: Path) -> None:
    for name in ("h1/dmesg", "h1/cpuid.txt", "h2/dmesg.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x\n")
    assert set(saved.load(tmp_path)) == {"h1"}
    assert saved.passed_over(tmp_path) == [
        f"{tmp_path}/h1: passed over, being no section's name: cpuid.txt; did you mean 'cpuid'?",
        f"{tmp_path}/h2: passed over, being no section's name: dmesg.txt; did you mean 'dmesg'?",
    ]
    saved.save(tmp_path / "new", "a", make("snp"))
    assert saved.passed_over(tmp_path / "new") == []


def _refused(folder: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        saved.load(folder)
    assert caught.value.exit is Exit.USAGE
    assert "\n" not in str(caught.value)
    assert caught.value.hint or "not a probe" in str(caught.value)
    return str(caught.value)


def test_a_missing_folder(tmp_path: Path) -> None:
    assert _refused(tmp_path / "none") == f"{tmp_path / 'none'}: no such folder"


def test_a_file_where_a_folder_belongs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert _refused(tmp_path / "file") == f"{tmp_path / 'file'}: not a folder"


def test_a_folder_without_a_probe(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("")
    assert _refused(tmp_path).startswith(f"{tmp_path}: not a probe")


def test_a_mark_that_is_none(tmp_path: Path) -> None:
    saved.save(tmp_path, "a", make("snp"))
    (tmp_path / "a" / saved.MARK).write_text("hello\n")
    assert "not a probe: found 'hello'" in _refused(tmp_path)


def test_a_newer_schema(tmp_path: Path) -> None:
    saved.save(tmp_path, "a", make("snp"))
    (tmp_path / "a" / saved.MARK).write_text("== strongroom-probe 2\n")
    assert "schema 2 is newer than this version's, which is 1" in _refused(tmp_path)


def test_saving_over_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is no saved probe"):
        saved.save(tmp_path, "a", make("snp"))
    assert (tmp_path / "a" / "thesis.txt").read_text() == "mine"
