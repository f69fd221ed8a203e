"""Writes what docs/ has from data: the pages of the checks, and the JSON schemas. ``--check`` only says what differs."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from strongroom.catalog.load import checks
from strongroom.report.document import PreflightDocument
from strongroom.report.pages import FOLDER, pages

ROOT = Path(__file__).parents[1]


def made() -> dict[str, str]:
    """Every generated file by its path from the project's root."""
    schema = PreflightDocument.model_json_schema(by_alias=True, mode="serialization")
    return {**pages(checks()), "docs/schemas/preflight-v1.json": json.dumps(schema, indent=2) + "\n"}


def main() -> None:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    files = made()
    gone = [path for path in (ROOT / FOLDER).glob("*.md") if str(path.relative_to(ROOT)) not in files]
    old = [name for name, text in files.items() if not (ROOT / name).is_file() or (ROOT / name).read_text() != text]
    if arguments.check:
        names = [*old, *(str(path.relative_to(ROOT)) for path in gone)]
        sys.exit(f"not up to date, run tools/docs.py: {', '.join(names)}" if names else 0)
    for name in old:
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_text(files[name], encoding="utf-8")
    for path in gone:
        path.unlink()
    print(f"{len(old)} written, {len(gone)} removed")


if __name__ == "__main__":
    main()
