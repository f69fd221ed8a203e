"""Real Arm CCA tokens: each verifies under its own key, under no other, and with no byte of a signed part changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from strongroom.attest import cbor, cca_claims, policy, registry
from strongroom.attest.base import Authentic, Facts, Refused, Verified
from strongroom.attest.collateral import NOTHING, Collateral
from tests.corpus.damage import cuts_taken, taken
from tests.corpus.index import EVIDENCE, WHY_NOT, entries, read

pytestmark = pytest.mark.skipif(not EVIDENCE.is_dir(), reason=WHY_NOT)
NOW = datetime(2026, 11, 24, tzinfo=UTC)
# Each token with the file that gives its platform's key; the index says of all rows "not verified here".
TOKENS = {
    "cca/trustee-cca-example-token.cbor": "cca/trustee-cpak-pub.json",
    "cca/veraison-cca-evidence.cbor": "cca/veraison-comid-cca-ta.json",
    "cca/veraison-cca-good.cbor": "cca/veraison-comid-cca-ta.json",
}


def key_of(token: str) -> Collateral:
    return Collateral(documents={"platform key": read(TOKENS[token])})


def authentic(token: str, evidence: bytes | None = None, collateral: Collateral | None = None) -> Facts:
    said = registry.authenticate("cca", evidence or read(token), collateral or key_of(token), None, NOW)
    assert isinstance(said, Authentic)
    return said.facts


def test_every_row_is_a_token_or_its_key() -> None:
    assert {vector.path for vector in entries("cca")} == {*TOKENS, *TOKENS.values()}


@pytest.mark.parametrize("token", TOKENS)
def test_a_token_verifies_under_its_key_alone(token: str) -> None:
    facts = authentic(token)
    assert facts.platform == "cca"
    assert len(facts.report_data) == 64
    assert {"rim", "rem0", "rem3"} < set(facts.measurements) == set(facts.must_compare)
    with pytest.raises(Refused, match="no key is given"):
        registry.authenticate("cca", read(token), NOTHING, None, NOW)
    other = next(file for file in TOKENS.values() if file != TOKENS[token])
    with pytest.raises(Refused):
        authentic(token, collateral=Collateral(documents={"key": read(other)}))


@pytest.mark.parametrize("token", TOKENS)
def test_a_policy_that_names_everything_verifies_it(token: str) -> None:
    facts = authentic(token)
    wanted: dict[str, object] = {
        "measurements": {name: [value.hex()] for name, value in facts.measurements.items()},
        "identities": [facts.identity.hex()],
        "report_data": facts.report_data.hex(),
        "cca": {"platform_keys": [facts.detail.key.hex()]},
    }
    assert isinstance(registry.verify("cca", read(token), key_of(token), policy.make(wanted), NOW), Verified)
    for name in ("measurements", "identities", "report_data", "cca"):
        less = policy.make({key: value for key, value in wanted.items() if key != name})
        with pytest.raises(Refused):
            registry.verify("cca", read(token), key_of(token), less, NOW)
    for other in ("00" * 64, facts.report_data[:-1].hex()):
        with pytest.raises(Refused) as caught:
            registry.verify("cca", read(token), key_of(token), policy.make({**wanted, "report_data": other}), NOW)
        assert caught.value.field == "report_data"


def verifier(token: str) -> Callable[[bytes], object]:
    given = key_of(token)
    return lambda evidence: registry.authenticate("cca", evidence, given, None, NOW)


@pytest.mark.parametrize("token", TOKENS)
def test_no_flip_is_taken(token: str) -> None:
    """Every byte matters: heads and tags are strict, headers, payloads and signatures are signed."""
    assert not taken(read(token), verifier(token))


@pytest.mark.parametrize("token", TOKENS)
def test_no_truncation_is_taken(token: str) -> None:
    data = read(token)
    assert not cuts_taken(data, verifier(token))
    with pytest.raises(Refused):
        authentic(token, data + b"\0")


def test_a_realm_token_under_another_platform_token_is_refused() -> None:
    """Both signatures hold; the platform vouches for another realm key, by another hash."""
    good, other = (read(f"cca/veraison-cca-{name}.cbor") for name in ("good", "evidence"))
    parts = {label: _part(source, label) for label, source in ((cca_claims.PLATFORM, good), (cca_claims.REALM, other))}
    mixed = cbor.head(cbor.TAG, cca_claims.LEGACY) + cbor.head(cbor.MAP, 2)
    for label, part in parts.items():
        mixed += cbor.head(cbor.UNSIGNED, label) + cbor.byte_string(part)
    with pytest.raises(Refused) as caught:
        authentic("cca/veraison-cca-good.cbor", mixed)
    assert caught.value.field == "platform.challenge"


def _part(token: bytes, label: int) -> bytes:
    item = cbor.decode(token, "token")
    assert isinstance(item, cbor.Tag)
    assert isinstance(item.value, dict)
    part = item.value[label]
    assert isinstance(part, bytes)
    return part


def test_the_newer_wrapper_is_the_same_token() -> None:
    token = "cca/veraison-cca-good.cbor"
    wrapped = cbor.head(cbor.TAG, cca_claims.CMW) + cbor.head(cbor.MAP, 2)
    for label in (cca_claims.PLATFORM, cca_claims.REALM):
        element = cbor.head(cbor.ARRAY, 2) + cbor.head(cbor.UNSIGNED, cca_claims.EAT_CWT)
        wrapped += cbor.head(cbor.UNSIGNED, label) + element + cbor.byte_string(_part(read(token), label))
    assert authentic(token, wrapped).measurements == authentic(token).measurements


def test_other_evidence_is_no_token() -> None:
    for vector in entries("other"):
        with pytest.raises(Refused):
            registry.authenticate("cca", vector.read(), key_of(next(iter(TOKENS))), None, NOW)
