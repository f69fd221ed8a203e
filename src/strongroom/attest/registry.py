"""Kinds of evidence by name. A kind is one module of this package; importing it registers it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from strongroom.attest import forms
from strongroom.attest.base import Authentic, Refused, Verified, appraise, refuse
from strongroom.attest.collateral import NOTHING, Collateral
from strongroom.errors import ConfigError
from strongroom.model.explain import nearest
from strongroom.model.platform import Platform

if TYPE_CHECKING:
    from strongroom.attest.policy import Policy, Section

Verify: TypeAlias = "Callable[[bytes, Collateral, Policy | None, datetime], Authentic]"
Show: TypeAlias = "Callable[[bytes, Collateral], Mapping[str, object]]"
Unwrap: TypeAlias = "Callable[[bytes, Collateral], tuple[bytes, Collateral]]"
Unbundle: TypeAlias = "Callable[[bytes], Collateral | None]"

_KINDS: dict[str, Kind] = {}
_DEFECTS = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError, MemoryError)


class Defect(Refused):
    """An exception that is none of a reader's own: a defect, which refuses as all else does that is not understood."""


@contextmanager
def net(doing: str, field: str) -> Iterator[None]:
    """Whatever code over a stranger's bytes raises by mistake refuses these bytes, and nothing beside them.

    Args:
        doing: who fails, in a word.
        field: of the refusal.

    Raises:
        Defect: an exception came that is no error of this program's.
    """
    try:
        yield
    except _DEFECTS as error:
        raise Defect(f"the {doing} failed: {type(error).__name__}: {error} (a defect)", field) from error


@dataclass(frozen=True)
class Kind:
    """One kind of evidence.

    Attributes:
        name: as ``--kind`` and a policy's section name it.
        platform: what isolates the one who makes such evidence.
        section: the model of the kind's section in a policy; all its defaults are strict.
        verify: evidence, collateral, policy (None: authenticity only) and time to Authentic, or Refused.
        show: evidence and collateral to every field, decoded and unverified; Refused where it can't be parsed.
        measures: names of measurements that such evidence may have; a policy's other names are other kinds'.
        looks_like: whether bytes have this kind's outward form, for ``attest show`` without ``--kind``.
        unwrap: evidence out of hex, base64, JSON or a container, with the certificates that came beside it; None where
            hex, base64 and a JSON member are all that there is.
        reads_json: whether the verifier takes JSON itself, so that a text without such a member is its to judge.
        unbundle: collateral out of a vendor's own bundle, or None where the text is none.
    """

    name: str
    platform: Platform
    section: type[Section]
    verify: Verify
    show: Show
    measures: Callable[[str], bool]
    looks_like: Callable[[bytes], bool]
    unwrap: Unwrap | None = None
    unbundle: Unbundle | None = None
    reads_json: bool = False


def _anything(name: str) -> bool:
    return True


def _nothing(evidence: bytes) -> bool:
    return False


def kind(
    name: str,
    platform: Platform,
    *,
    section: type[Section],
    show: Show,
    measures: Callable[[str], bool] = _anything,
    looks_like: Callable[[bytes], bool] = _nothing,
    unwrap: Unwrap | None = None,
    unbundle: Unbundle | None = None,
    reads_json: bool = False,
) -> Callable[[Verify], Verify]:
    """Register the decorated function as the verifier of a kind of evidence; ValueError where there is one already."""

    def register(function: Verify) -> Verify:
        if name in _KINDS:
            raise ValueError(f"two functions verify {name}")
        _KINDS[name] = Kind(name, platform, section, function, show, measures, looks_like, unwrap, unbundle, reads_json)
        return function

    return register


def kinds() -> Mapping[str, Kind]:
    """Every kind by its name, with all modules of this package imported."""
    _import_all()
    return MappingProxyType(dict(sorted(_KINDS.items())))


@cache
def _import_all() -> None:
    package = import_module("strongroom.attest")
    for module in sorted(found.name for found in iter_modules(package.__path__)):
        import_module(f"strongroom.attest.{module}")


def find(name: str) -> Kind:
    """The kind of that name.

    Raises:
        ConfigError: there is none.
    """
    known = kinds()
    if name not in known:
        raise ConfigError(f"kind: found {name!r}, allowed are {', '.join(known)}{nearest(name, list(known))}")
    return known[name]


_MEMBERS = ("quote", "td_quote", "tdx_quote", "report", "evidence", "attestation", "token")


def unwrap(name: str, data: bytes, collateral: Collateral) -> tuple[bytes, Collateral]:
    """Evidence of that kind out of the form in which it was found, and the collateral with what came beside it.

    Args:
        name: the kind.
        data: bytes, hex or base64 text, JSON, or one of the kind's containers.
        collateral: what there is already.

    Raises:
        Refused: the form is damaged, or too large.
    """
    found = find(name)
    with net("reader", name):
        return _unwrapped(found, data, collateral)


def _unwrapped(found: Kind, data: bytes, collateral: Collateral) -> tuple[bytes, Collateral]:
    if found.unwrap is not None:
        return found.unwrap(data, collateral)
    if found.looks_like(data):
        return data, collateral
    if forms.is_json(data):
        inner = forms.member(data, _MEMBERS)
        if inner is None and not found.reads_json:
            refuse("evidence", f"a JSON text without {' or '.join(_MEMBERS)}")
        return inner or data, collateral
    return forms.binary(data), collateral


def guess(data: bytes) -> tuple[str, ...]:
    """The kinds whose outward form bytes have, in whatever form they were found.

    Bytes that are evidence as they are are not searched for evidence of another kind inside.
    """
    direct = tuple(name for name in kinds() if _looks(name, data, wrapped=False))
    return direct or tuple(name for name in kinds() if _looks(name, data, wrapped=True))


def _looks(name: str, data: bytes, *, wrapped: bool) -> bool:
    """Whether bytes look like evidence of that kind; what can't be read does not."""
    try:
        with net("reader", name):
            return find(name).looks_like(unwrap(name, data, NOTHING)[0] if wrapped else data)
    except Refused:
        return False


def show(name: str, data: bytes, collateral: Collateral) -> Mapping[str, object]:
    """Every field of evidence in whatever form it was found, decoded; nothing is verified.

    Raises:
        Refused: it can't be read as evidence of that kind.
    """
    evidence, all_collateral = unwrap(name, data, collateral)
    with net("parser", name):
        return find(name).show(evidence, all_collateral)


def authenticate(name: str, evidence: bytes, collateral: Collateral, policy: Policy | None, now: datetime) -> Authentic:
    """Chain, signature, dates, collateral, TCB status and production of evidence of that kind.

    Args:
        name: the kind.
        evidence: its bytes.
        collateral: what it needs beside.
        policy: whose allowances hold; None for the strict ones.
        now: the controller's time, with a time zone.

    Raises:
        Refused: something does not hold. A defect of the verifier, an exception that is none of its own, refuses too.
    """
    if now.tzinfo is None:
        raise ValueError("the time has no zone")
    verify = find(name).verify
    with net("verifier", name):
        return verify(evidence, collateral, policy, now)


def verify(name: str, evidence: bytes, collateral: Collateral, policy: Policy, now: datetime) -> Verified:
    """:func:`authenticate`, then everything that the policy asks.

    Raises:
        Refused: something does not hold, or is not what the policy asks.
    """
    said = authenticate(name, evidence, collateral, policy, now)
    with net("appraisal", name):
        return appraise(said, policy)
