"""The kernel's command line: what is read, judged and edited, and that the rest stays as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.model.host_setup import KernelOption, RefusedOption
from strongroom.plan.command_line import add, contradictions, held, missing, parse, remove

TDX = KernelOption(name="kvm_intel.tdx", value="1", alike=("Y", "on"), why="TDs", source="x")
NOHIBERNATE = KernelOption(name="nohibernate", why="the module", source="x")
IOMMU = RefusedOption(name="iommu", values=("pt", "off"), why="no translation", source="x")

NAMES = st.from_regex(r"\A[a-z_][a-z0-9_.-]{0,12}\Z")
VALUES = st.from_regex(r"\A[A-Za-z0-9_.,:@/+-]{1,12}\Z")
QUOTED = st.from_regex(r'\A"[A-Za-z0-9 =\t]{0,12}"\Z')
WORDS = st.one_of(
    NAMES, st.builds("{}={}".format, NAMES, VALUES), st.builds("{}={}".format, NAMES, QUOTED), st.just('"a=b c"')
)
BLANKS = st.sampled_from([" ", "  ", "\t", " \t"])
OURS = st.lists(st.sampled_from(["kvm_intel.tdx=1", "nohibernate", "x-y=a,b", "z"]), unique=True)


@st.composite
def lines(draw: st.DrawFn) -> str:
    """A line of words parted by any blanks, perhaps with something for init, perhaps with blanks around it."""
    parts = draw(st.lists(WORDS, max_size=8))
    text = draw(st.sampled_from(["", " "]))
    for part in parts:
        text += part + draw(BLANKS)
    if draw(st.booleans()):
        text = text.rstrip()
    if draw(st.booleans()):
        text += " -- single init=x"
    return text + draw(st.sampled_from(["", "\n", " \n"]))


@given(line=lines(), ours=OURS)
def test_what_is_added_is_there_once_and_goes_without_a_trace(line: str, ours: list[str]) -> None:
    before = [word.text for word in parse(line)]
    new = [word for word in ours if word not in before]
    edited = add(line, new)
    assert [word.text for word in parse(edited)] == before + new
    assert edited.partition(" -- ")[2] == line.partition(" -- ")[2]
    assert remove(edited, new) == line
    assert add(edited, []) == edited


@given(line=lines(), ours=OURS)
def test_removing_what_is_not_there_changes_nothing(line: str, ours: list[str]) -> None:
    absent = [word for word in ours if word not in [one.text for one in parse(line)]]
    assert remove(line, absent) == line


@given(text=st.text(max_size=60))
def test_any_text_is_read_and_its_words_are_where_they_are_said_to_be(text: str) -> None:
    for word in parse(text):
        assert text[word.start : word.end] == word.text


@pytest.mark.parametrize(
    ("line", "has", "contradicts"),
    [
        ("root=/dev/sda ro", False, []),
        ("kvm_intel.tdx=1 ro", True, []),
        ("kvm-intel.tdx=Y ro", True, []),  # a dash is an underscore
        ('"kvm_intel.tdx=1"', True, []),
        ("kvm_intel.tdx=0", False, ["kvm_intel.tdx=0"]),
        ("kvm_intel.tdx", False, ["kvm_intel.tdx"]),
        ("kvm_intel.tdx=0 kvm_intel.tdx=1", False, ["kvm_intel.tdx=0"]),
        ("ro -- kvm_intel.tdx=0", False, []),  # init's
        ("iommu=pt kvm_intel.tdx=1", True, ["iommu=pt"]),
        ("iommu=nopt", False, []),
        ("iommu=nomerge,pt kvm_intel.tdx=1", True, ["iommu=nomerge,pt"]),
        ('note="iommu=pt kvm_intel.tdx=1"', False, []),
    ],
)
def test_what_a_line_has_and_what_contradicts(line: str, has: bool, contradicts: list[str]) -> None:
    assert held(TDX, parse(line)) is has
    assert [found.text for found in contradictions([TDX, NOHIBERNATE], [IOMMU], line)] == contradicts
    assert (TDX in missing([TDX], line)) is (not has and not any("tdx" in text for text in contradicts))
