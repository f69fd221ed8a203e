"""Random Ansible inventories, and what Ansible itself makes of them: writes tests/reference/ansible_cases.json.

``python -m tests.ansible_cases --ansible-inventory PATH`` runs that program (ansible-core is no dependency of ours) over each
inventory; tests/unit/test_ansible.py then compares what our reader says with what is in the file.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("reference") / "ansible_cases.json"
_GROUPS = [f"g{letter}" for letter in "abcdef"]
_PATTERNS = ["h1", "h2", "n[01:03]", "x[a:b]", "h4:2222", "db-[1:5:2].example"]
_PLACES = {"group_vars": [*_GROUPS, "all", "ungrouped"], "host_vars": ["h1", "n01", "db-1.example"]}
_NAMES = ["{}", "{}.yml", "{}.yaml", "{}.json", "{}/a.yml", "{}/b", "{}/sub/c.json", "{}/.hidden.yml", "{}/note.txt"]


def _variables(chance: random.Random) -> dict[str, Any]:
    values = [chance.randint(0, 99), {"k": chance.randint(0, 9)}, [1, 2], "text", None, True]
    return {f"{chance.choice('pqrs')}v": chance.choice(values) for _ in range(chance.randint(0, 3))}


def _group(chance: random.Random, name: str, depth: int) -> dict[str, Any] | None:
    group: dict[str, Any] = {}
    for section in chance.sample(["vars", "children", "hosts"], chance.randint(0, 3)):
        if section == "vars":
            group[section] = _variables(chance)
            if chance.random() < 0.4:
                group[section]["ansible_group_priority"] = chance.randint(0, 12)
        elif section == "hosts":
            chosen = chance.sample(_PATTERNS, chance.randint(1, 2))
            group[section] = {one: _variables(chance) or None for one in chosen} if chance.random() < 0.9 else chosen[0]
        elif depth < 3:
            below = [one for one in _GROUPS if one > name or name == "all"]  # no group is a child of itself
            chosen = chance.sample(below, min(len(below), 2))
            group[section] = {one: _group(chance, one, depth + 1) for one in chosen}
    return group or None


def make(seed: int) -> dict[str, str]:
    """Path -> text of one inventory."""
    chance = random.Random(seed)
    top = chance.sample([*_GROUPS, "all", "ungrouped"], chance.randint(2, 4))
    files = {"hosts.yml": yaml.safe_dump({name: _group(chance, name, 0) for name in top}, sort_keys=False)}
    for folder, names in _PLACES.items():
        for name in chance.sample(names, 2):
            for form in chance.sample(_NAMES, 2):
                path = f"{folder}/{form.format(name)}"
                if not any(f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/") for other in files):
                    files[path] = json.dumps(_variables(chance))
    return files


def lay(files: dict[str, str], folder: Path) -> Path:
    """Write an inventory; its main file."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder / "hosts.yml"


def _ask(program: str, files: dict[str, str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        command = [program, "-i", str(lay(files, Path(name))), "--list"]
        done = subprocess.run(command, cwd=name, capture_output=True, text=True, timeout=300, check=True)
    hosts: dict[str, Any] = json.loads(done.stdout)["_meta"]["hostvars"]
    return hosts


def main() -> None:
    """Make the cases anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ansible-inventory", required=True, metavar="PATH")
    parser.add_argument("--count", type=int, default=24)
    arguments = parser.parse_args()
    program = arguments.ansible_inventory
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    cases = []
    for seed in range(arguments.count):
        files = make(seed)
        if hosts := _ask(program, files):
            cases.append({"files": files, "hosts": hosts})
    FILE.write_text(json.dumps({"made by": version, "cases": cases}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{len(cases)} cases in {FILE}")


if __name__ == "__main__":
    main()
