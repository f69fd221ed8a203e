"""The catalogue of checks as pages: one a check id, and an index. Pure; ``tools/docs.py`` writes them into ``docs/``."""

from __future__ import annotations

from collections.abc import Iterator

from strongroom.model.checks import Check, CheckCatalogue, PlatformChecks

FOLDER = "docs/checks"
_MADE = "<!-- Made from the catalogue of checks by tools/docs.py; change src/strongroom/catalog/checks instead. -->"


def pages(catalogue: CheckCatalogue) -> dict[str, str]:
    """Paths from the project's root, each with the page's text."""
    children: dict[str, list[str]] = {}
    for check in catalogue.checks:
        for parent in check.parents:
            children.setdefault(parent, []).append(check.id)
    made = {
        check.doc: _page(check, file, children.get(check.id, [])) for file in catalogue.files for check in file.checks
    }
    return {f"{FOLDER}/README.md": _index(catalogue), **made}


def _text(lines: Iterator[str]) -> str:
    return "\n".join(lines) + "\n"


def _index(catalogue: CheckCatalogue) -> str:
    def lines() -> Iterator[str]:
        yield _MADE
        yield "# Checks of `strongroom preflight`"
        yield ""
        yield "How verdicts and states come about is in [preflight](../preflight.md)."
        for file in catalogue.files:
            if not file.checks:
                continue
            yield ""
            yield f"## {file.title}"
            yield ""
            yield "| check | what it asks |"
            yield "|---|---|"
            for check in file.checks:
                yield f"| [{check.id}]({check.id}.md) | {check.title} |"
        if catalogue.not_checked:
            yield ""
            yield "## Not checked"
            yield ""
            yield "| row of the field's lists | why not |"
            yield "|---|---|"
            for row, reason in catalogue.not_checked.items():
                yield f"| {row} | {reason} |"

    return _text(lines())


def _page(check: Check, file: PlatformChecks, children: list[str]) -> str:
    def lines() -> Iterator[str]:
        yield _MADE
        yield f"# {check.id}: {check.title}"
        yield ""
        whose = "every machine" if file.everywhere else f"a {check.role}"
        platform = f", platform `{check.platform}`" if check.platform != "none" else ""
        yield f"Asked of {whose}{platform}. {_weight(check)}"
        yield ""
        yield f"**Wanted:** {check.wanted}"
        yield ""
        yield f"**What to do:** {check.remedy}"
        for cause, remedy in check.remedies.items():
            yield f"- {cause}: {remedy}"
        if check.vendors:
            yield ""
            yield "| vendor | BIOS item | Redfish attribute |"
            yield "|---|---|---|"
            for vendor, item in check.vendors.items():
                yield f"| {vendor.value} | {item.menu} | {f'`{item.redfish}`' if item.redfish else 'not known'} |"
        yield from _tree(check, children)
        if check.data:
            yield ""
            yield "Thresholds, as the catalogue has them:"
            yield ""
            for key, value in check.data.items():
                yield f"- `{key}`: {_datum(value)}"
        yield ""
        yield f"Source: {'; '.join(check.source)}"
        if not check.confirmed:
            yield ""
            yield "**Not confirmed**: this comes from general knowledge, and no source has been held against it yet."

    return _text(lines())


def _weight(check: Check) -> str:
    if check.inventory:
        return "Judged by what the inventory asks for: a failure refuses `apply`, unless it is waived."
    worst = f"Its worst verdict is `{check.worst}`."
    return f"The platform is ready only if it passes. {worst}" if check.required else worst


def _tree(check: Check, children: list[str]) -> Iterator[str]:
    for words, names in (
        ("Skipped while one of these fails", check.parents),
        ("A failure is laid at the door of one of these, where it fails too", check.explained_by),
        ("While it fails, these are skipped", children),
    ):
        if names:
            yield ""
            yield f"{words}: {', '.join(f'[{name}]({name}.md)' for name in names)}."
    if check.composite:
        yield ""
        yield f"Passes where one of these platforms is ready: {', '.join(check.composite)}."


def _datum(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_datum(inner)}" for key, inner in value.items())
    return str(value)
