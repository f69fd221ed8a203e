"""An Ansible inventory in YAML: read as Ansible reads it, and what is not allowed in it is one line."""

from __future__ import annotations

import json
import re
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from strongroom.errors import ConfigError
from strongroom.inventory import ansible, yamltext
from strongroom.inventory.groups import parse, variables_of
from strongroom.inventory.ranges import LIMIT, expand, split_port
from strongroom.inventory.variables import to_pyinfra
from tests.ansible_cases import FILE, lay

CASES = json.loads(FILE.read_text(encoding="utf-8"))["cases"]


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_all_hosts_have_the_variables_that_ansible_gives_them(case: dict[str, Any], tmp_path: Path) -> None:
    file = lay(case["files"], tmp_path)
    tree = parse(yamltext.load(file))
    folders = ansible.files_of(file)
    assert {name: variables_of(tree, name, *folders) for name in tree.hosts} == case["hosts"]


def test_the_cases_are_many_and_say_something() -> None:
    hosts = [variables for case in CASES for variables in case["hosts"].values()]
    assert len(CASES) >= 20
    assert sum(map(bool, hosts)) > 60


# ── Ranges ──


@given(st.integers(0, 300), st.integers(0, 60), st.integers(1, 7), st.integers(0, 4))
def test_a_range_of_numbers_has_both_ends_and_keeps_its_zeros(first: int, more: int, step: int, width: int) -> None:
    last = first + more
    low, high = str(first).zfill(width), str(last).zfill(width)
    if len(low) != len(high) and low.startswith("0") and len(low) > 1:
        with pytest.raises(ValueError, match="same number of digits"):
            expand(f"node[{low}:{high}:{step}]")
        return
    names = expand(f"node[{low}:{high}:{step}]")
    numbers = [int(name.removeprefix("node")) for name in names]
    assert numbers == list(range(first, last + 1, step))
    if low.startswith("0") and len(low) > 1:
        assert {len(name) for name in names} == {len(f"node{low}")}
    else:
        assert all(name == f"node{number}" for name, number in zip(names, numbers, strict=True))


@given(st.sampled_from(string.ascii_lowercase), st.sampled_from(string.ascii_lowercase))
def test_a_range_of_letters(first: str, last: str) -> None:
    if first > last:
        with pytest.raises(ValueError, match="backwards"):
            expand(f"[{first}:{last}]")
    else:
        names = expand(f"[{first}:{last}]")
        assert names[0] == first
        assert names[-1] == last
        assert names == sorted(set(names))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_several_ranges_make_every_pair_once(lengths: list[int]) -> None:
    names = expand("-".join(f"[1:{length}]" for length in lengths))
    count = 1
    for length in lengths:
        count *= length
    assert len(names) == len(set(names)) == count


@given(st.text("ab01[]:-.", max_size=14))
@example("[::1]")
@example("a[1:2]]")
def test_any_text_is_a_pattern_or_refused_in_words(text: str) -> None:
    said, names = "", list[str]()
    try:
        names = expand(split_port(text)[0])
    except ValueError as error:
        said = str(error)
    assert bool(names) != bool(said)
    assert "invalid literal" not in said
    assert not any(bracket in name for name in names for bracket in "[]")


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("a[01:3]", "same number of digits"),
        ("a[3:]", "has no end"),
        ("a[3:1]", "runs backwards"),
        ("a[1:a]", "from number to number or from letter to letter"),
        ("a[1:3:0]", "must be 1 or more"),
        ("a[1:3:-1]", "from number to number"),
        ("a[1]", "[first:last]"),
        ("a[1:2:3:4]", "[first:last]"),
        ("a[", "no partner"),
        ("a[1:2]]", "no partner"),
        ("a[1:10000000000000]", f"more than {LIMIT} hosts"),
        ("a[1:999]-[1:999]", "998001 hosts"),
    ],
)
def test_a_range_that_is_none(pattern: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        expand(pattern)


def test_a_port_stands_behind_the_last_colon() -> None:
    assert split_port("n[1:2].example:2222") == ("n[1:2].example", 2222)
    assert split_port("n[1:2]") == ("n[1:2]", None)
    assert split_port("fe80::1") == ("fe80::1", None)


# ── Files ──

GOOD = """\
all:
  vars: {cluster: {name: x, claim: none}, ansible_user: root}
  children:
    control_plane: {hosts: {cp1: {address: 10.0.0.1}}}
    workers: {hosts: {"w[1:3]": {address: 10.0.0.2}}}
"""


def read(tmp_path: Path, text: str, **more: str) -> ansible.AnsibleInventory:
    return ansible.read(lay({"hosts.yml": text, **more}, tmp_path))


def refused(tmp_path: Path, text: str, **more: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text, **more)
    return caught.value


def test_what_pyinfra_gets(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD)
    assert found.cluster == {"name": "x", "claim": "none"}
    assert [name for name, _ in found.group("workers")] == ["w1", "w2", "w3"]
    assert found.group("control_plane") == [
        ("cp1", {"address": "10.0.0.1", "ssh_user": "root", "ssh_strict_host_key_checking": "yes"})
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "found nothing at the top"),
        ("- a\n- b\n", "found a list at the top"),
        ("all:\n\thosts:\n", "hosts.yml:2: a tab; YAML is indented with blanks"),
        ("all:\n  hosts:\n    a: 1: 2\n", "hosts.yml:3: a colon where no key can be"),
        ("all:\n  hosts: {a: }\n  hosts: {b: }\n", "hosts.yml:3: 'hosts' is there twice"),
        ("all: {hosts: {a: {x: !nonsense y}}}", "!nonsense"),
        ("all: {hosts: {[a]: }}", "hosts.yml:1: found a list or keys for a key"),
        ("all: {hosts: {a: }", "hosts.yml:1: not YAML: "),
        ("all: *nobody", "hosts.yml:1: not YAML: found undefined alias"),
        ("{a: " * 5000, "hosts.yml: nested deeper than any inventory is"),
        (
            "all:\n  hosts:\n    - a\n    - b\n",
            "group all: hosts: found a list, allowed are keys; end each line with a colon",
        ),
        (
            "workers:\n  w1:\n",
            "group workers: w1: unknown key; allowed are children, hosts, vars; a host stands below hosts",
        ),
        ("workers: {host: {a: }}", "did you mean 'hosts'?"),
        ("workers: [a]", "group workers: found a list"),
        (
            "workers: {hosts: {1: }}",
            "group workers: hosts: 1: found a number (1), allowed is a text; put it into quotes",
        ),
        ("workers: {hosts: {a: b}}", "group workers: hosts: a: found a text (b), allowed are variables"),
        ("workers: {hosts: {'a[2:1]': }}", "group workers: hosts: a[2:1]: [2:1] runs backwards"),
        ("workers: {vars: {1: 2}}", "group workers: vars: 1: found a number (1) for a variable's name"),
        (
            "workers: {vars: {ansible_group_priority: high}}",
            "ansible_group_priority: found 'high', allowed is a whole number",
        ),
        ("a: {children: {b: {children: {c: {children: {a: }}}}}}", "a child of itself, through a > b > c > a"),
        ("a: {children: {all: }}", "found 'all', which has every group for a child"),
        ("plugin: some.cloud\n", "plugin: some.cloud: the settings of an inventory plugin"),
        ("all: {children: {workers: }}", "hosts.yml: no hosts"),
        ("$ANSIBLE_VAULT;1.1;AES256\n3333\n", "hosts.yml: encrypted with Ansible Vault"),
        ("all:\n  hosts:\n    a: {ansible_host: !vault 12}\n", "ansible_host: encrypted with Ansible Vault"),
        ("all: {hosts: {a: {cluster: {x: 1}}, b: {cluster: {x: 2}}}}", "host b: cluster: differs from that of host a"),
    ],
)
def test_each_mistake_is_one_line_that_names_it(tmp_path: Path, text: str, words: str) -> None:
    error = refused(tmp_path, text)
    assert words in str(error)
    assert str(tmp_path / "hosts.yml") in str(error)
    assert len(str(error).splitlines()) == 1
    assert error.exit == 2


def test_aliases_of_aliases_are_counted_before_anybody_walks_through_them(tmp_path: Path) -> None:
    lines = ["    a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"    a{n}: &a{n} [{', '.join(9 * [f'*a{n - 1}'])}]" for n in range(1, 9)]
    file = tmp_path / "hosts.yml"
    file.write_text("all:\n  hosts: {h1: }\n  vars:\n" + "\n".join(lines) + "\n    cluster: *a8\n")
    with pytest.raises(
        ConfigError, match=r"hosts\.yml: stands for \d{9,} values with its aliases written out, allowed"
    ):
        ansible.read(file)


def test_a_vaulted_value_is_named_with_its_line_and_only_where_it_counts(tmp_path: Path) -> None:
    secret = "!vault |\n        $ANSIBLE_VAULT;1.1;AES256\n        6134\n"
    error = refused(tmp_path, f"all:\n  vars:\n    cluster:\n      name: {secret}\n  hosts: {{a: }}\n")
    assert f"({tmp_path}/hosts.yml:4)" in str(error)
    found = read(tmp_path, f"all:\n  vars:\n    database_password: {secret}\n  hosts: {{a: }}\n")
    assert found.ignored == ("database_password",)


def test_an_encrypted_file_of_variables_is_refused(tmp_path: Path) -> None:
    error = refused(tmp_path, GOOD, **{"group_vars/workers.yml": "$ANSIBLE_VAULT;1.2;AES256;dev\n3132\n"})
    assert "group_vars/workers.yml: encrypted with Ansible Vault" in str(error)


@pytest.mark.parametrize("text", ["[1, 2]", "word", "{1: 2}"])
def test_a_file_of_variables_that_has_none(tmp_path: Path, text: str) -> None:
    assert "host_vars/cp1: found" in str(refused(tmp_path, GOOD, **{"host_vars/cp1": text}))


def test_a_mistake_that_many_hosts_have_is_one_line(tmp_path: Path) -> None:
    error = refused(tmp_path, "workers: {hosts: {'w[01:40]': }, vars: {platfrom: snp}}")
    assert str(error).endswith(
        "hosts w01, w02, w03 and 37 more: platfrom: unknown variable; did you mean 'platform'?"
        " If it is yours, give it another name"
    )


def test_a_name_cannot_leave_its_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.yml").write_text("address: 10.9.9.9")
    found = read(tmp_path, "workers: {hosts: {../secret: {address: 10.0.0.1}}}")
    assert found.group("workers")[0][1]["address"] == "10.0.0.1"


# ── Variables ──


@pytest.mark.parametrize(
    ("variables", "data"),
    [
        ({"ansible_host": "192.0.2.1"}, {"ssh_hostname": "192.0.2.1"}),
        ({"ansible_port": "2222"}, {"ssh_port": 2222}),
        ({"ansible_user": "admin", "ansible_become": "yes"}, {"ssh_user": "admin", "_sudo": True}),
        ({"ansible_become": False}, {}),
        ({"ansible_ssh_private_key_file": "~/.ssh/k"}, {"ssh_key": "~/.ssh/k"}),
        ({"ansible_ssh_private_key_file": None}, {}),
        ({"ansible_ssh_user": "a", "ansible_user": "a"}, {"ssh_user": "a"}),
        ({"ansible_connection": "ssh", "ansible_become_method": "sudo", "ansible_become_user": "root"}, {}),
        ({"ansible_python_interpreter": "/usr/bin/python3", "ansible_ssh_pipelining": True}, {}),
        (
            {
                "ansible_ssh_common_args": "-o UserKnownHostsFile=/k -o ControlMaster=auto -C -oStrictHostKeyChecking=yes"
            },
            {"ssh_known_hosts_file": "/k"},
        ),
        ({"ansible_ssh_extra_args": "-F '/my config' -A"}, None),
        (
            {"ansible_ssh_extra_args": "-F /config -A -p 23"},
            {"ssh_config_file": "/config", "ssh_forward_agent": True, "ssh_port": 23},
        ),
        ({"ansible_ssh_args": "-o 'ServerAliveInterval 30' -o Port=24"}, {"ssh_port": 24}),
    ],
)
def test_variables_in_pyinfras_words(variables: dict[str, Any], data: dict[str, Any] | None) -> None:
    mapped = to_pyinfra(variables)
    if data is None:
        assert mapped.problems
        return
    assert not mapped.problems
    assert mapped.data == {"ssh_strict_host_key_checking": "yes", **data}


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"ansible_hsot": "a"}, "ansible_hsot: unknown variable; did you mean 'ansible_host'?"),
        ({"adress": "10.0.0.1"}, "adress: unknown variable; did you mean 'address'?"),
        ({"ansible_port": "ssh"}, "ansible_port: found 'ssh', allowed is a port from 1 to 65535"),
        ({"ansible_port": 70000}, "ansible_port: found 70000"),
        ({"ansible_port": True}, "ansible_port: found True"),
        ({"ansible_host": ["a"]}, "ansible_host: found ['a'], allowed is a text"),
        ({"ansible_host": "{{ inventory_hostname }}.example"}, "a template; strongroom evaluates none"),
        ({"cluster": {"name": ["{% if x %}"]}}, "cluster: found '{% if x %}', a template"),
        ({"ansible_become": "perhaps"}, "ansible_become: found 'perhaps', allowed are true and false"),
        ({"ansible_become_method": "doas"}, "ansible_become_method: found 'doas', allowed is 'sudo'"),
        ({"ansible_become_user": "admin"}, "ansible_become_user: found 'admin', allowed is 'root'"),
        ({"ansible_become_password": "x"}, "ansible_become_password: not allowed: sudo has to work without a password"),
        ({"ansible_password": "x"}, "ansible_password: not allowed: a password has no place"),
        ({"ansible_ssh_private_key": "x"}, "ansible_ssh_private_key: not allowed"),
        ({"ansible_connection": "local"}, "ansible_connection: found 'local'"),
        ({"ansible_host_key_checking": False}, "ansible_host_key_checking: found False, allowed is true"),
        (
            {"ansible_ssh_common_args": "-o StrictHostKeyChecking=no"},
            "StrictHostKeyChecking: found 'no', allowed is 'yes'",
        ),
        ({"ansible_ssh_common_args": "-o StrictHostKeyChecking=accept-new"}, "found 'accept-new'"),
        ({"ansible_ssh_common_args": "-o ProxyCommand='ssh b -W %h:%p'"}, "ProxyCommand: not allowed: a jump host"),
        ({"ansible_ssh_common_args": "-J bastion"}, "proxyjump: not allowed: a jump host"),
        ({"ansible_ssh_common_args": "-o GSSAPIAuthentication=yes"}, "found 'GSSAPIAuthentication'"),
        ({"ansible_ssh_common_args": "-Z"}, "found '-Z'"),
        ({"ansible_ssh_common_args": "-o 'x"}, "No closing quotation"),
        (
            {"ansible_port": 22, "ansible_ssh_common_args": "-p 23"},
            "found 23, and ansible_port says 22 for the same thing; keep one",
        ),
        ({"ansible_host": "a", "ansible_ssh_host": "b"}, "ansible_ssh_host: found 'b', and ansible_host says 'a'"),
    ],
)
def test_variables_that_are_refused(variables: dict[str, Any], words: str) -> None:
    (problem,) = to_pyinfra(variables).problems
    assert words in problem
    assert "\n" not in problem


def test_a_secret_is_in_no_message() -> None:
    names = ("ansible_password", "ansible_become_password", "ansible_ssh_private_key")
    mapped = to_pyinfra(dict.fromkeys(names, "hunter2"))
    assert len(mapped.problems) == 3
    assert "hunter2" not in str(mapped.problems)


def test_variables_of_others_are_left_alone_and_told() -> None:
    mapped = to_pyinfra({"ntp_server": "a", "ansible_shell_type": "sh", "nginx_port": "{{ x }}"})
    assert mapped.ignored == {"ntp_server", "nginx_port", "ansible_shell_type"}
    assert not mapped.problems
