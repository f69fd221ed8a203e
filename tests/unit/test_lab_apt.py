"""apt's configuration: where the lab's packages come from."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import ConfigError, StrongroomError
from strongroom.lab import apt, tools

DEB822 = """\
# a comment
Types: deb deb-src
URIs: http://packages.test/debian
Suites: bookworm
 bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBFit2ioBEADhWpZ8
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: https://other.test/tool https://spare.test/tool
Suites: nodistro
Components: main

Types: deb
Enabled: no
URIs: http://off.test/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://source.test/debian
Suites: bookworm
Components: main
"""

ONE_LINE = """\
# deb http://commented.test/debian bookworm main
deb-src http://source.test/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg] https://other.test/apt tool-bookworm main
deb\thttp://packages.test/debian  bookworm   main contrib  # trailing
deb http://packages.test/debian-security bookworm-security main
"""


def test_deb822_stanzas_with_continuation_lines_and_several_addresses() -> None:
    assert apt.parse_deb822(DEB822) == [
        apt.Source("http://packages.test/debian", ("bookworm", "bookworm-updates"), ("main",)),
        apt.Source("https://other.test/tool", ("nodistro",), ("main",)),
        apt.Source("https://spare.test/tool", ("nodistro",), ("main",)),
    ]


def test_one_line_entries() -> None:
    assert apt.parse_one_line(ONE_LINE) == [
        apt.Source("https://other.test/apt", ("tool-bookworm",), ("main",)),
        apt.Source("http://packages.test/debian", ("bookworm",), ("main", "contrib")),
        apt.Source("http://packages.test/debian-security", ("bookworm-security",), ("main",)),
    ]


@pytest.mark.parametrize("sources", [apt.parse_deb822(DEB822), apt.parse_one_line(ONE_LINE)])
def test_the_address_chosen_serves_the_release_itself(sources: list[apt.Source]) -> None:
    assert apt.choose(sources, "bookworm") == "http://packages.test/debian"
    assert apt.choose(sources, "trixie") is None
    assert apt.choose(sources, "") is None


@given(st.text(alphabet=st.sampled_from("debTypesURI: \t\n#[]=/-http.ä\0"), max_size=300))
def test_no_text_breaks_the_parsers(text: str) -> None:
    for parse in (apt.parse_deb822, apt.parse_one_line):
        for source in parse(text):
            assert source.uri
            assert not any(mark.isspace() for mark in source.uri)


_word = st.from_regex(r"[a-z][a-z0-9.-]{0,12}", fullmatch=True)


@given(host=_word, suite=_word, components=st.lists(_word, min_size=1, max_size=3), extra=st.sampled_from(["", "\n\n"]))
def test_both_forms_say_the_same(host: str, suite: str, components: list[str], extra: str) -> None:
    words = " ".join(components)
    one = apt.parse_one_line(f"{extra}deb [trusted=no] http://{host}/debian {suite} {words}\n")
    other = apt.parse_deb822(f"{extra}Components: {words}\nURIs: http://{host}/debian\nTypes: deb\nSuites: {suite}")
    assert one == other == [apt.Source(f"http://{host}/debian", (suite,), tuple(components))]


def test_reads_a_folder_and_passes_over_what_apt_passes_over(tmp_path: Path) -> None:
    lists = tmp_path / "sources.list.d"
    lists.mkdir()
    (lists / "a.sources").write_text(DEB822)
    (lists / "b.sources.disabled").write_text("Types: deb\nURIs: http://no.test\nSuites: bookworm\nComponents: main\n")
    (tmp_path / "sources.list").write_text("deb http://first.test/debian bookworm main\n")
    assert apt.choose(apt.read(tmp_path), "bookworm") == "http://first.test/debian"
    assert "http://no.test" not in {source.uri for source in apt.read(tmp_path)}


def test_the_setting_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(apt.SETTING, "file:/srv/debian")
    assert apt.mirror() == "file:/srv/debian"


def test_a_setting_that_is_no_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(apt.SETTING, "bookworm main")
    with pytest.raises(ConfigError, match=r"STRONGROOM_APT_MIRROR: 'bookworm main'; wanted"):
        apt.mirror()


@pytest.mark.parametrize("release", [("ubuntu", "noble"), ("debian", "sid"), ("", "")])
def test_without_a_source_the_setting_is_named(monkeypatch: pytest.MonkeyPatch, release: tuple[str, str]) -> None:
    monkeypatch.delenv(apt.SETTING, raising=False)
    monkeypatch.setattr(tools, "machine_release", lambda: release)
    monkeypatch.setattr(apt, "read", lambda: apt.parse_one_line("deb http://x.test/ubuntu noble main"))
    with pytest.raises(StrongroomError) as caught:
        apt.mirror()
    assert apt.SETTING in str(caught.value.hint)


def test_no_source_without_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(apt, "KEYRING", tmp_path / "none.gpg")
    with pytest.raises(StrongroomError, match=r"none\.gpg: not there"):
        apt.line("file:/srv/debian", "trixie")
