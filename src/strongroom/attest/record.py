"""A record of verdicts: lines of JSON, each with the SHA-256 of the line before, and verified again whenever somebody asks.

Two sorts of lines. ``given``: what a call had besides evidence (kind, time, collateral, policy). ``verdict``: one piece of
evidence and what came of it under the ``given`` nearest above, which it names by its digest. A digest is that of the whole
line without its line feed. Whoever can write the file can write all of it anew: that shows by a digest kept elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from strongroom.attest import jsontext, policy, registry
from strongroom.attest.base import Authentic, Refused, Verified, plain, refuse, require
from strongroom.attest.collateral import Collateral
from strongroom.attest.policy import Policy
from strongroom.errors import ConfigError

SCHEMA = "strongroom.dev/attestation-record/v1"
FIRST = "0" * 64  # what the first line has in place of a digest
_COMMON = {"schema", "type", "previous", "number"}
_KEYS = {
    "given": _COMMON | {"recorded", "at", "kind", "collateral", "policy"},
    "verdict": _COMMON | {"given", "file", "evidence", "verdict", "reason", "field", "facts"},
}
_VERDICTS = ("verified", "authentic", "refused")
_MOST_LINES = 1 << 40
# Fields of refusals that what was recorded cannot repeat: they came of what had been seen before.
UNREPEATED = "seen."


@dataclass(frozen=True)
class PolicyText:
    """A policy as it was written: the text, its form (``toml`` or ``yaml``), and the policy's digest."""

    text: str
    form: str
    digest: str


@dataclass(frozen=True)
class Given:
    """What a call had besides evidence; ``collateral`` is None where it could not be read."""

    kind: str
    at: datetime
    collateral: Collateral | None
    policy: PolicyText | None


@dataclass(frozen=True)
class Judged:
    """One piece of evidence, as it was found, and what came of it."""

    file: str
    evidence: bytes
    said: Authentic | Verified | None
    refused: Refused | None

    @property
    def verdict(self) -> str:
        """``verified``, ``authentic`` or ``refused``."""
        return "refused" if self.said is None else "verified" if isinstance(self.said, Verified) else "authentic"


@dataclass(frozen=True)
class Finding:
    """What an audit says of one line.

    Attributes:
        number: from 1 on.
        digest: of the line, SHA-256 in hex.
        what: the line in a few words.
        is_verdict: whether it holds one.
        wrong: what does not hold, empty where all does.
    """

    number: int
    digest: str
    what: str
    is_verdict: bool
    wrong: tuple[str, ...]


def digest(line: bytes) -> str:
    """SHA-256 of a line without its line feed, in hex."""
    return hashlib.sha256(line.rstrip(b"\n")).hexdigest()


def judge(
    kind: str, data: bytes, collateral: Collateral, expected: Policy | None, now: datetime
) -> Authentic | Verified:
    """Evidence in whatever form it was found, under a policy or for its authenticity alone.

    Raises:
        Refused: something does not hold.
    """
    evidence, everything = registry.unwrap(kind, data, collateral)
    if expected is None:
        return registry.authenticate(kind, evidence, everything, None, now)
    return registry.verify(kind, evidence, everything, expected, now)


def lines(given: Given, results: Iterable[Judged], previous: str, number: int, recorded: datetime) -> Iterator[bytes]:
    """The lines of one call, to be appended.

    Args:
        given: what it had.
        results: what came of each piece of evidence.
        previous: digest of the last line that is there, or FIRST.
        number: of the first new line.
        recorded: when this is written.
    """
    first = _line(
        {
            "type": "given",
            "recorded": plain(recorded),
            "at": plain(given.at),
            "kind": given.kind,
            "collateral": _bundle(given.collateral) if given.collateral else None,
            "policy": vars(given.policy) if given.policy else None,
        },
        previous,
        number,
    )
    yield first
    last = reference = digest(first)
    for place, result in enumerate(results, number + 1):
        line = _line(
            {
                "type": "verdict",
                "given": reference,
                "file": _name(result.file),
                "evidence": base64.b64encode(result.evidence).decode(),
                "verdict": result.verdict,
                "reason": result.refused.reason if result.refused else None,
                "field": result.refused.field if result.refused else None,
                "facts": _facts(result.said),
            },
            last,
            place,
        )
        yield line
        last = digest(line)


def _line(values: dict[str, Any], previous: str, number: int) -> bytes:
    whole = {"schema": SCHEMA, "previous": previous, "number": number, **values}
    return json.dumps(whole, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _bundle(found: Collateral) -> dict[str, Any]:
    def packed(blob: bytes) -> str:
        return base64.b64encode(blob).decode()

    return {
        "certificates": [packed(one) for one in found.certificates],
        "crls": [packed(one) for one in found.crls],
        "documents": {_name(name): packed(one) for name, one in found.documents.items()},
    }


def _name(text: str) -> str:
    """A file's name as UTF-8 can spell it: bytes of it that are no text are escaped, or the line could not be read again."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _facts(said: Authentic | Verified | None) -> dict[str, Any] | None:
    if said is None:
        return None
    facts = said.facts
    found = {"identity": facts.identity, "report_data": facts.report_data, "measurements": facts.measurements}
    return {name: plain(value) for name, value in found.items()}


def last(line: bytes) -> tuple[str, int]:
    """Digest and number of the last line that is there.

    Raises:
        Refused: it was cut, or is no line of a record.
    """
    require(line.endswith(b"\n"), "record.end", "the last line was cut off")
    values = jsontext.document(line, "record")
    return digest(line), jsontext.number(values, "number", "record", _MOST_LINES)


def audit(record: Iterable[bytes]) -> Iterator[Finding]:
    """Each line checked: its form, its place in the chain, and its verdict, made anew as of the time that it names.

    Args:
        record: lines with their line feeds, from the first on.
    """
    previous, given, reference = FIRST, None, ""
    for number, line in enumerate(record, 1):
        mine, wrong, what, is_verdict = digest(line), [], "a line", False
        if not line.endswith(b"\n"):
            wrong.append("it was cut off")
        try:
            values = _parse(line)
            if values["previous"] != previous:
                wrong.append(
                    f"the line before has the digest {previous}, recorded is {str(values['previous'])[:64]}:"
                    " it was changed, or lines were removed or put between"
                )
            if values["number"] != number:
                wrong.append(f"its number is {str(values['number'])[:20]}, it is line {number}")
            if values["type"] == "given":
                given, reference, what = None, mine, "what a call had"
                given = _given(values)
                what = f"{given.kind} as of {given.at:%Y-%m-%d %H:%M} UTC"
            else:
                is_verdict = True
                what = f"{str(values['verdict'])[:16]} {str(values['file'])[:80]}"
                require(values["given"] == reference and given is not None, "given", "is not the one that stands above")
                assert given is not None
                again(given, values)
        except Refused as refused:
            wrong.append(str(refused))
        except ConfigError as error:
            wrong.append(f"policy: {' '.join(str(error).split())[:300]}")
        yield Finding(number, mine, what, is_verdict, tuple(wrong))
        previous = mine


def _parse(line: bytes) -> Mapping[str, Any]:
    values = jsontext.document(line, "line")
    sort = values.get("type")
    require(values.get("schema") == SCHEMA, "line.schema", f"{str(values.get('schema'))[:60]}, needed is {SCHEMA}")
    if not isinstance(sort, str) or sort not in _KEYS:
        refuse("line.type", f"{str(sort)[:20]}, allowed are {', '.join(_KEYS)}")
    keys = set(values)
    odd = sorted(keys ^ _KEYS[sort])
    require(not odd, "line", f"{', '.join(odd)[:200]}: missing, or unknown")
    return values


def _given(values: Mapping[str, Any]) -> Given:
    kind, at = jsontext.text(values, "kind", "given"), _time(values, "at")
    _time(values, "recorded")
    require(kind in registry.kinds(), "given.kind", f"{kind[:20]}, allowed are {', '.join(registry.kinds())}")
    collateral = values["collateral"]
    text = None
    if values["policy"] is not None:
        found = jsontext.table(values["policy"], "given.policy")
        text = PolicyText(*(jsontext.text(found, name, "given.policy") for name in ("text", "form", "digest")))
        require(_policy(text).digest == text.digest, "given.policy", "its text has not the digest that is recorded")
    return Given(kind, at, None if collateral is None else _unbundle(collateral), text)


def _policy(text: PolicyText) -> Policy:
    if text.form not in ("toml", "yaml"):
        refuse("given.policy.form", f"{text.form[:20]}, allowed are toml and yaml")
    return policy.load(text.text, "toml" if text.form == "toml" else "yaml")


def _time(values: Mapping[str, Any], name: str) -> datetime:
    try:
        found = datetime.fromisoformat(jsontext.text(values, name, "given"))
    except ValueError:
        refuse(f"given.{name}", "not a time")
    require(found.tzinfo is not None, f"given.{name}", "a time without its zone")
    return found


def _unbundle(value: object) -> Collateral:
    whole = jsontext.table(value, "given.collateral")

    def listed(name: str) -> tuple[bytes, ...]:
        field = f"given.collateral.{name}"
        return tuple(jsontext.unbase64(one, field) for one in jsontext.items(jsontext.get(whole, name, field), field))

    field = "given.collateral.documents"
    documents = jsontext.table(jsontext.get(whole, "documents", field), field)
    named = {name: jsontext.unbase64(one, f"{field}.{name}") for name, one in documents.items()}
    return Collateral(listed("certificates"), listed("crls"), named)


def again(given: Given, values: Mapping[str, Any]) -> None:
    """Verify once more, and refuse whatever comes out otherwise than it was recorded.

    Raises:
        Refused: the verdict or what the evidence says is not what was recorded.
        ConfigError: the policy can't be read any more.
    """
    told = jsontext.text(values, "verdict", "verdict")
    require(told in _VERDICTS, "verdict", f"{told[:20]}, allowed are {', '.join(_VERDICTS)}")
    evidence = jsontext.unbase64(values["evidence"], "verdict.evidence")
    expected = _policy(given.policy) if given.policy else None
    if given.collateral is None:
        require(told == "refused", "verdict", f"{told}, and its collateral could not be read")
        return
    try:
        said = judge(given.kind, evidence, given.collateral, expected, given.at)
    except Refused as refused:
        if told != "refused":
            raise Refused(f"was {told}, and is refused now: {refused}", "verdict") from refused
        return
    if told == "refused" and str(values["field"]).startswith(UNREPEATED):
        return  # the collateral went back: as evidence it may hold, and a refusal opens nothing
    now = "verified" if isinstance(said, Verified) else "authentic"
    require(told == now, "verdict", f"was {told} ({str(values['field'])[:60]}), and is {now} now")
    require(values["facts"] == _facts(said), "verdict.facts", "what the evidence says is not what was recorded")
