"""Settings merged into a TOML file of somebody else's, and taken out again: nothing of theirs is ever lost."""

from __future__ import annotations

import copy
import re
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tomlkit.items import SingleKey

from strongroom.plan.toml_settings import Setting, merge, unmerge, wanting
from strongroom.plan.toml_text import Unmergeable

CRI = ("plugins", "io.containerd.grpc.v1.cri")
OURS = (
    Setting("lacks", ("disabled_plugins",), "cri"),
    Setting("has", ("imports",), "/etc/conf.d/*.toml"),
    Setting("is", (*CRI, "sandbox_image"), "example/pause:1"),
    Setting("is", (*CRI, "cni", "bin_dir"), "/opt/cni/bin"),
    Setting("is", (*CRI, "containerd", "runtimes", "runc", "options", "SystemdCgroup"), True),
    Setting("is", (*CRI, "containerd", "runtimes", "kata-x", "runtime_path"), "/opt/kata/bin/shim"),
    Setting("is", (*CRI, "containerd", "runtimes", "kata-x", "pod_annotations"), ("io.katacontainers.*",)),
    Setting("is", (*CRI, "containerd", "runtimes", "kata-x", "options", "ConfigPath"), "/opt/kata/x.toml"),
)
DEBIAN = """\
version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"  # Debian's
      conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.internal.v1.opt"]
    path = "/var/lib/containerd"
"""

# Documents: the tables that we write into, their neighbours, and strangers; each written in one of TOML's ways.

SCALARS = st.one_of(
    st.integers(-9, 99), st.booleans(), st.sampled_from(["/usr/lib/cni", "a # b", "it's", ""]), st.just([1, 2])
)
DISABLED = ("[]", '["cri"]', '["x", "cri"]', '[\n  "cri", # why\n]')
IMPORTS = ("[]", '["/etc/a.toml"]')
LEAVES = {
    (): ("version", "root"),
    CRI: ("sandbox_image", "stream_port"),
    (*CRI, "cni"): ("bin_dir", "conf_dir"),
    (*CRI, "containerd"): ("snapshotter",),
    (*CRI, "containerd", "runtimes", "runc"): ("runtime_type", "a b"),
    (*CRI, "containerd", "runtimes", "runc", "options"): ("SystemdCgroup", "Root"),
    (*CRI, "containerd", "runtimes", "kata-x"): ("runtime_path", "runtime_type"),
    ("plugins", "io.containerd.internal.v1.opt"): ("path",),
    ("debug",): ("level",),
}


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A text, and the comments in it."""
    comments: list[str] = []

    def comment() -> str:
        comments.append(f"# comment {len(comments)};")
        return comments[-1]

    def line(key: str) -> str:
        behind = "  " + comment() if draw(st.booleans()) else ""
        return f"{key} = {_toml(draw(SCALARS))}{behind}\n"

    def block(table: tuple[str, ...], style: str) -> str:
        keys = draw(st.lists(st.sampled_from(LEAVES[table]), unique=True))
        indent = " " * draw(st.integers(0, 4))
        head = f"{indent}{comment()}\n" if draw(st.booleans()) else ""
        if style == "dotted":
            return head + "".join(line(_dotted((*table, key))) for key in keys)
        if style == "inline" and table:
            pairs = ", ".join(f"{_dotted((key,))} = {_toml(draw(SCALARS))}" for key in keys)
            return f"{head}{_dotted(table)} = {{{pairs}}}\n"
        header = f"{indent}[{_dotted(table)}]\n" if table else ""
        return header + head + "".join(indent + line(_dotted((key,))) for key in keys)

    text = block((), "plain")
    if draw(st.booleans()):
        text += f"disabled_plugins = {draw(st.sampled_from(DISABLED))}\n"
    if draw(st.booleans()):
        text += f"imports = {draw(st.sampled_from(IMPORTS))}\n"
    tables = draw(st.permutations([table for table in LEAVES if table]))
    chosen = tables[: draw(st.integers(0, len(tables)))]
    # Dotted and inline tables of the root come before the first header, as TOML wants it.
    styles = {table: draw(st.sampled_from(["plain", "plain", "plain", "dotted", "inline"])) for table in chosen}
    for table in sorted(chosen, key=lambda table: styles[table] == "plain"):
        text += draw(st.sampled_from(["", "\n"])) + block(table, styles[table])
    if draw(st.booleans()):
        text = text.rstrip("\n")
    return text, comments


def _dotted(path: tuple[str, ...]) -> str:
    return ".".join(part if part.isidentifier() else SingleKey(part).as_string() for part in path)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)


def valid(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def merged(text: str) -> str | None:
    """The merge, or None where it was refused; that plain tables never are has a test of its own."""
    try:
        return merge(text, OURS, "config.toml")
    except Unmergeable:
        return None


def foreign(document: dict[str, Any]) -> dict[str, Any]:
    """A document without what our settings name, and without tables that are empty then."""
    result = copy.deepcopy(document)
    for setting in OURS:
        table: Any = result
        for part in setting.path[:-1]:
            table = table.get(part, {}) if isinstance(table, dict) else {}
        if isinstance(table, dict):
            table.pop(setting.path[-1], None)

    def prune(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        pruned = {key: prune(inner) for key, inner in value.items()}
        return {key: inner for key, inner in pruned.items() if inner != {}}

    return dict(prune(result))


@settings(max_examples=40)
@given(documents())
def test_a_merge_sets_ours_keeps_theirs_and_is_done_once(drawn: tuple[str, list[str]]) -> None:
    text, comments = drawn
    if not valid(text):
        return
    after = merged(text)
    if after is None:
        return
    document = tomllib.loads(after)
    assert wanting(document, OURS) == []
    assert merge(after, OURS, "config.toml") == after
    assert foreign(document) == foreign(tomllib.loads(text))
    for comment in comments:
        assert after.count(comment) == 1


@settings(max_examples=40)
@given(documents(), st.data())
def test_taking_it_out_brings_back_what_was_there_and_keeps_what_came_since(
    drawn: tuple[str, list[str]], data: st.DataObject
) -> None:
    text, comments = drawn
    if not valid(text) or (after := merged(text)) is None:
        return
    edited = after
    if data.draw(st.booleans()):
        edited = f"# mine\n{edited.rstrip()}\n\n[mine]\nkey = 1 # of mine\n"
        comments = [*comments, "# mine", "# of mine"]
    before, now = tomllib.loads(text), tomllib.loads(unmerge(edited, text, OURS, "config.toml"))
    mine = now.pop("mine", None)
    assert mine == tomllib.loads(edited).get("mine")
    # An empty table may stay behind where the file is written in a way that cannot be taken apart; no value may.
    assert foreign(now) == foreign(before)
    for setting in OURS:
        assert value(now, setting.path) == value(before, setting.path), setting
    for comment in comments:
        assert unmerge(edited, text, OURS, "config.toml").count(comment) == 1


def value(document: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        document = document.get(part) if isinstance(document, dict) else None
    return document


@settings(max_examples=40)
@given(documents())
def test_plain_tables_are_never_refused(drawn: tuple[str, list[str]]) -> None:
    text, _ = drawn
    if (
        valid(text)
        and "{" not in text
        and not any("." in line.split("=")[0] for line in text.splitlines() if "=" in line)
    ):
        assert merged(text) is not None


def test_debians_configuration_keeps_its_lines() -> None:
    after = merge(DEBIAN, OURS, "config.toml")
    lines = after.splitlines()
    assert '      bin_dir = "/opt/cni/bin"  # Debian\'s' in lines
    kept = [line for line in DEBIAN.splitlines() if line and "bin_dir" not in line]
    assert [line for line in lines if line in kept] == kept
    assert unmerge(after, DEBIAN, OURS, "config.toml").split() == DEBIAN.split()


def test_a_key_of_ours_that_they_changed_since_is_theirs() -> None:
    after = merge(DEBIAN, OURS, "config.toml").replace("/opt/cni/bin", "/srv/cni")
    assert wanting(tomllib.loads(after), OURS) == [OURS[3]]
    assert 'bin_dir = "/srv/cni"' in unmerge(after, DEBIAN, OURS, "config.toml")


def test_a_plugin_that_was_switched_off_is_on_and_off_again() -> None:
    before = 'disabled_plugins = ["x", "cri", "y"] # as packaged\n'
    after = merge(before, OURS, "config.toml")
    assert 'disabled_plugins = ["x", "y"] # as packaged\n' in after
    assert unmerge(after, before, OURS, "config.toml").strip() == before.strip()


@pytest.mark.parametrize(
    ("array", "lines"),
    [
        ('[\n  "cri", # as Docker has it\n  "x", # ours\n]', ["  # as Docker has it", '  "x", # ours']),
        ('[\n  # as Docker has it\n  "cri",\n  "x" # ours\n]', ["  # as Docker has it", '  "x" # ours']),
        ("[ # as Docker has it\n  'cri', 'a # b' ] # and more", ["[ # as Docker has it", "] # and more"]),
    ],
)
def test_comments_inside_a_list_stay(array: str, lines: list[str]) -> None:
    before = f"disabled_plugins = {array}\nimports = {array}\n"
    after = merge(before, OURS, "config.toml")
    for line in lines:
        assert line in after.partition("imports")[0]
    back = unmerge(after, before, OURS, "config.toml")
    assert tomllib.loads(back) == tomllib.loads(before)
    assert re.findall("# [a-zA-Z ]*", back) == re.findall("# [a-zA-Z ]*", before)


def test_a_list_with_a_comment_comes_back_where_tables_stand_out_of_order() -> None:
    before = (
        'disabled_plugins = [\n  "cri", # why\n]\n[plugins."io.containerd.internal.v1.opt"]\n'
        ' [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]\n'
        '[plugins."io.containerd.grpc.v1.cri".containerd]\n'
    )
    back = unmerge(merge(before, OURS, "config.toml"), before, OURS, "config.toml")
    assert foreign(tomllib.loads(back)) == foreign(tomllib.loads(before))
    assert back.startswith('disabled_plugins = [\n  # why\n  "cri"\n]\n')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version = 2\nplugins = \n", "/etc/c.toml:2: not valid TOML"),
        ("version = 2\n[plugins\nx = 1", "/etc/c.toml:2: not valid TOML"),
        ('x = "', "/etc/c.toml:1: not valid TOML"),
        ("\ufeffversion = 2\n", "/etc/c.toml:1: not valid TOML: it begins with a byte order mark"),
        ("plugins = 3\n", "/etc/c.toml: plugins: found int, allowed is a table"),
        ("[[plugins]]\nx = 1\n", "/etc/c.toml: plugins: found list, allowed is a table"),
        ("imports = 1\n", "/etc/c.toml: imports: found int, allowed is a list"),
    ],
)
def test_what_cannot_be_merged_is_one_line_that_says_where(text: str, words: str) -> None:
    with pytest.raises(Unmergeable) as caught:
        merge(text, OURS, "/etc/c.toml")
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)
