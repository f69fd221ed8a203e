"""The strict CBOR decoder and COSE: one encoding of each value, none deeper or larger than its input, nothing unsigned."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import example, given
from hypothesis import strategies as st

from strongroom.attest import cbor, cose
from strongroom.attest.base import Refused


def encode(value: Any) -> bytes:
    """The one encoding that the decoder takes."""
    if isinstance(value, bool) or value is None:
        return cbor.head(cbor.SIMPLE, {False: 20, True: 21, None: 22}[value])
    if isinstance(value, int):
        return cbor.head(cbor.UNSIGNED, value) if value >= 0 else cbor.head(cbor.NEGATIVE, -1 - value)
    if isinstance(value, bytes):
        return cbor.byte_string(value)
    if isinstance(value, str):
        return cbor.head(cbor.TEXT, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return cbor.head(cbor.ARRAY, len(value)) + b"".join(map(encode, value))
    if isinstance(value, cbor.Tag):
        return cbor.head(cbor.TAG, value.number) + encode(value.value)
    return cbor.head(cbor.MAP, len(value)) + b"".join(encode(key) + encode(inner) for key, inner in value.items())


NUMBERS = st.integers(-(2**64), 2**64 - 1)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
LEAVES = st.none() | st.booleans() | NUMBERS | st.binary(max_size=30) | TEXTS
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(NUMBERS | TEXTS | st.binary(max_size=8), inner, max_size=4)
        | st.builds(cbor.Tag, st.integers(0, 2**64 - 1), inner)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_what_was_encoded_is_decoded(value: Any) -> None:
    assert cbor.decode(encode(value), "x") == value


@given(st.binary(max_size=60))
@example(b"\x9b" + b"\xff" * 8)
@example(b"\xbb" + b"\xff" * 8)
@example(b"\x5b" + b"\x7f" * 8)
@example(b"\x81" * 5000)
@example(b"\xc1" * 5000)
def test_bytes_decode_to_what_encodes_to_them_or_are_refused(data: bytes) -> None:
    with contextlib.suppress(Refused):
        assert encode(cbor.decode(data, "x")) == data


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x18\x17", b"\x19\x00\xff", b"\x1a\x00\x00\xff\xff", b"\x1c", b"\x5f\xff", b"\x9f\xff", b"\xbf\xff",
        b"\x61\xff", b"\x42\x00", b"\xa2\x01\x00\x01\x00", b"\xa1\xf4\x00", b"\xa1\x80\x00", b"\xf7", b"\xf9\x00\x00",
        b"\xf8\x14", b"\x00\x00",
    ],
)  # fmt: skip
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        cbor.decode(data, "x")


KEY = ec.generate_private_key(ec.SECP384R1())


def message(
    protected: object = None, unprotected: object = None, payload: object = b"claims", *, tag: int = cose.SIGN1
) -> bytes:
    """A COSE_Sign1 by KEY over these parts."""
    headers = encode({1: -35} if protected is None else protected)
    signed = payload if isinstance(payload, bytes) else b""
    covered = encode(["Signature1", headers, b"", signed])
    size = (KEY.curve.key_size + 7) // 8
    r, s = decode_dss_signature(KEY.sign(covered, ec.ECDSA(hashes.SHA384())))
    signature = r.to_bytes(size, "big") + s.to_bytes(size, "big")
    return encode(cbor.Tag(tag, [headers, {} if unprotected is None else unprotected, payload, signature]))


def verified(data: bytes) -> bytes:
    found = cose.sign1(cbor.decode(data, "token"), "token")
    found.verify(KEY.public_key())
    return found.payload


def test_a_signed_message() -> None:
    assert verified(message()) == b"claims"
    assert verified(message({1: -51, 3: "application/eat+cwt"}, {4: b"kid"})) == b"claims"
    untagged = cbor.decode(message(), "token")
    assert isinstance(untagged, cbor.Tag)
    assert verified(encode(untagged.value)) == b"claims"


@pytest.mark.parametrize(
    "data",
    [
        message(tag=17),
        message({}),
        message({1: -7}),  # P-256's, and the key is on P-384
        message({1: -37}),  # RSA-PSS
        message({1: "ES384"}),
        message({1: -35, 2: [4]}),
        message([]),
        message(unprotected={1: -35}),
        message(unprotected=[]),
        message(payload=None),
        encode([b"", {}, b""]),
        encode("text"),
    ],
)
def test_messages_that_are_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        verified(data)


def test_a_key_has_to_be_on_its_curve() -> None:
    numbers = KEY.public_key().public_numbers()
    x, y = numbers.x.to_bytes(48, "big"), numbers.y.to_bytes(48, "big")
    good = {1: 2, -1: 2, -2: x, -3: y}
    assert cose.key(encode(good), "key").public_numbers() == numbers
    for change in ({-3: x}, {-3: True}, {-1: 1}, {-1: 8}, {-1: True}, {1: 1}, {-2: x + b"\0"}, {-2: x[:-1]}):
        with pytest.raises(Refused):
            cose.key(encode({**good, **change}), "key")
