"""What pydantic refuses, and what is misspelt, as lines for people: where, key, value found, what is allowed, the nearest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import get_args

from pydantic import BaseModel, ValidationError


def nearest(found: str, allowed: Sequence[str]) -> str:
    """The end of a sentence that offers the nearest of what is allowed, or nothing."""
    words: list[str] = []
    if not any("-" in one for one in allowed):
        # "SEV-SNP" is as near to sev as to snp by its letters; the last word is the one that is meant.
        words = [word for word in reversed(re.split(r"[^a-z0-9]+", found.lower())) if word in allowed]
    spelt = {one.lower(): one for one in allowed}
    # A word of many is a guess; a name that is nearly the whole is none.
    close = [spelt[one] for one in get_close_matches(found.lower(), spelt, n=1, cutoff=0.85)] or words[:1]
    close = close or [spelt[one] for one in get_close_matches(found.lower(), spelt, n=1, cutoff=0.5)]
    return f"; did you mean {close[0]!r}?" if close else ""


def gathered(problems: Sequence[tuple[str, str]]) -> list[str]:
    """One line for each problem, however many hosts have it, of ``(host, problem)`` pairs."""
    hosts: dict[str, list[str]] = {}
    for host, problem in problems:
        hosts.setdefault(problem, []).append(host)
    return [f"{_names(names)}: {problem}" for problem, names in hosts.items()]


def _names(hosts: Sequence[str]) -> str:
    if len(hosts) == 1:
        return f"host {hosts[0]}"
    more = f" and {len(hosts) - 3} more" if len(hosts) > 3 else ""
    return f"hosts {', '.join(hosts[:3])}{more}"


def _model_at(model: type[BaseModel], path: Sequence[int | str]) -> type[BaseModel]:
    for part in path:
        if not isinstance(part, str) or part not in model.model_fields:
            # A name in a dict of models, which no model has as a field; what comes behind it is that model's.
            continue
        inner = model.model_fields[part].annotation
        inner = next((one for one in get_args(inner) if isinstance(one, type) and issubclass(one, BaseModel)), inner)
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return model
        model = inner
    return model


def _description(model: type[BaseModel], path: Sequence[int | str]) -> str | None:
    field = _model_at(model, path[:-1]).model_fields.get(str(path[-1])) if path else None
    return field.description if field else None


def _unsaid(text: str) -> str:
    """Without what stands before an @ in a URL, also in one without its //: a password that is not allowed there is no business
    of a terminal's either.
    """
    return re.sub(r"[^\s'\"/]*:(?!//)\S*@", "…@", re.sub(r"//\S*@", "//…@", text))


# pydantic's words for a value of another type, in the words of TOML, YAML and Python alike.
TYPES = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "text, in quotes",
    "tuple_type": "a list, as [a, b]",
    "dict_type": "a table of keys",
    "model_type": "a table of keys",
    "model_attributes_type": "a table of keys",
}


def explain(where: str, model: type[BaseModel], error: ValidationError) -> list[str]:
    """One line for each thing that pydantic refused: where (if not empty), key, value found, what is allowed, nearest match."""
    lines = []
    where = f"{where}: " if where else ""
    problems = error.errors()
    for problem in problems:
        path = problem["loc"]
        if problem["type"] == "too_short" and any(one["loc"][: len(path)] == path != one["loc"] for one in problems):
            continue  # of what was refused in it already
        key = ".".join(map(str, path))
        if problem["type"] == "extra_forbidden":
            allowed = sorted(_model_at(model, path[:-1]).model_fields)
            lines.append(
                f"{where}{key}: unknown key; allowed are {', '.join(allowed)}{nearest(str(path[-1]), allowed)}"
            )
        elif problem["type"] == "missing":
            field = _model_at(model, path[:-1]).model_fields[str(path[-1])]
            lines.append(f"{where}{key}: missing; it says {field.description}")
        else:
            context = problem.get("ctx", {})
            found = problem["input"]
            options = re.findall(r"'([^']+)'", str(context.get("expected", "")))
            near = nearest(str(found), options) if options else ""
            message = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            message = TYPES.get(problem["type"], message)
            if (least := context.get("min_length")) is not None:
                message = (
                    f"text of {least} or more characters" if isinstance(found, str) else f"a list of {least} or more"
                )
            elif (most := context.get("max_length")) is not None:
                message = f"text of up to {most} characters" if isinstance(found, str) else f"a list of up to {most}"
            if problem["type"] == "string_pattern_mismatch" and (told := _description(model, path)):
                message = told
            lines.append(f"{where}{key}: found {_unsaid(repr(found))}, allowed is {message}{near}")
    return lines
