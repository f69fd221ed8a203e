"""XML of signed documents: parsed strictly, and in canonical form (Canonical XML 1.0 and 1.1, without comments).

A document type declaration, an entity of one's own, a processing instruction or an ``xml:`` attribute refuses: signed
documents need none, and without them the two versions of the canonical form are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from strongroom.attest.base import Refused, refuse

_DEEPEST: Final = 32
_LARGEST: Final = 4 * 1024 * 1024
_MOST: Final = 100_000  # elements
# Namespace declarations of a document: each element that has some gets a scope of its own, and a scope has all of them, so
# that memory grows with their product, before any signature is looked at. NVIDIA's manifests have 6.
_MOST_DECLARED: Final = 64
_TEXT: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#xD;"})
_VALUE: Final = str.maketrans({"&": "&amp;", "<": "&lt;", '"': "&quot;", "\t": "&#x9;", "\n": "&#xA;", "\r": "&#xD;"})


@dataclass(eq=False)
class Element:
    """One element: its prefixed name, what it declares, its attributes by prefixed name, and its content in order."""

    name: str
    declared: Mapping[str, str]
    attributes: Mapping[str, str]
    scope: Mapping[str, str]
    content: list[Element | str] = field(default_factory=list)

    @property
    def qualified(self) -> tuple[str, str]:
        """Namespace and local name."""
        return _qualified(self.name, self.scope, default=True)

    @property
    def elements(self) -> Iterator[Element]:
        """Child elements."""
        return (child for child in self.content if isinstance(child, Element))

    @property
    def text(self) -> str:
        """Its own text, where it has no child elements."""
        return "".join(child for child in self.content if isinstance(child, str))

    def attribute(self, namespace: str, name: str) -> str | None:
        """An attribute by namespace and local name; one without a prefix is in no namespace."""
        for key, value in self.attributes.items():
            if _qualified(key, self.scope, default=False) == (namespace, name):
                return value
        return None


def _qualified(name: str, scope: Mapping[str, str], *, default: bool) -> tuple[str, str]:
    prefix, colon, local = name.rpartition(":")
    if colon:
        return scope[prefix], local
    return (scope.get("", "") if default else ""), local


class _Builder:
    def __init__(self, what: str) -> None:
        self.what = what
        self.root: Element | None = None
        self._open: list[Element] = []
        self._count = 0
        self._declared = 0

    def start(self, name: str, flat: list[str]) -> None:
        pairs = dict(zip(flat[::2], flat[1::2], strict=True))
        declared = {key[6:]: value for key, value in pairs.items() if key == "xmlns" or key.startswith("xmlns:")}
        attributes = {key: value for key, value in pairs.items() if key != "xmlns" and not key.startswith("xmlns:")}
        self._count += 1
        self._declared += len(declared)
        if self._declared > _MOST_DECLARED:
            refuse(self.what, f"more than {_MOST_DECLARED} namespaces are declared")
        if len(self._open) >= _DEEPEST or self._count > _MOST:
            refuse(self.what, f"elements nest deeper than {_DEEPEST}, or are more than {_MOST}")
        scope = {**self._inherited(), **declared} if declared else self._inherited()
        element = Element(name, declared, attributes, scope)
        self._check(element)
        if self._open:
            self._open[-1].content.append(element)
        else:
            self.root = element
        self._open.append(element)

    def _inherited(self) -> Mapping[str, str]:
        return self._open[-1].scope if self._open else {}

    def _check(self, element: Element) -> None:
        for prefix, namespace in element.declared.items():
            if prefix in ("xml", "xmlns") or (prefix and not namespace):
                refuse(self.what, f"prefix {prefix!r} is declared as {namespace!r}")
        seen = set()
        for key in (element.name, *element.attributes):
            prefix, colon, local = key.rpartition(":")
            if prefix == "xml" or ":" in prefix or (colon and (not local or prefix not in element.scope)):
                refuse(self.what, f"the name {key[:60]!r} has a prefix that is not declared, or xml's")
            if key in element.attributes:
                name = _qualified(key, element.scope, default=False)
                if name in seen:
                    refuse(self.what, f"attribute {key[:60]!r} is there twice")
                seen.add(name)

    def end(self, name: str) -> None:
        self._open.pop()

    def text(self, text: str) -> None:
        self._open[-1].content.append(text)

    def forbidden(self, *_: object) -> None:
        refuse(self.what, "it has a declaration or an instruction that signed documents have no use for")


def parse(data: bytes, what: str) -> Element:
    """The root element of a document.

    Raises:
        Refused: it is not well-formed in UTF-8, or has what this module refuses.
    """
    if len(data) > _LARGEST:
        refuse(what, f"{len(data)} bytes, allowed are {_LARGEST}")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        refuse(what, "it is UTF-16, allowed is UTF-8")  # expat would follow the mark, whatever it was told
    builder = _Builder(what)
    parser = expat.ParserCreate("utf-8")
    parser.ordered_attributes = True
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = builder.forbidden
    parser.EntityDeclHandler = builder.forbidden
    parser.ProcessingInstructionHandler = builder.forbidden
    try:
        parser.Parse(data, True)
    except Refused:
        raise
    except (expat.ExpatError, ValueError, LookupError) as error:
        refuse(what, f"it is no XML: {error}")
    if builder.root is None:
        refuse(what, "it is no XML: there is no element")
    return builder.root


def canonical(element: Element, *, without: Element | None = None) -> bytes:
    """The canonical form of an element and all below it, as a subset of its document (inclusive).

    Args:
        element: the apex; namespaces that its ancestors declared are in scope of it, and are written.
        without: an element to leave out, for the enveloped-signature transform.
    """
    parts: list[str] = []
    _write(element, {}, dict(element.scope), without, parts)
    return "".join(parts).encode()


def _write(
    element: Element,
    written: Mapping[str, str],
    declared: Mapping[str, str],
    without: Element | None,
    parts: list[str],
) -> None:
    fresh = {
        prefix: namespace for prefix, namespace in sorted(declared.items()) if written.get(prefix, "") != namespace
    }
    parts.append(f"<{element.name}")
    for prefix, namespace in fresh.items():
        parts.append(f' xmlns{":" if prefix else ""}{prefix}="{namespace.translate(_VALUE)}"')
    for key in sorted(element.attributes, key=lambda key: _qualified(key, element.scope, default=False)):
        parts.append(f' {key}="{element.attributes[key].translate(_VALUE)}"')
    parts.append(">")
    inside = {**written, **fresh} if fresh else written
    for child in element.content:
        if isinstance(child, str):
            parts.append(child.translate(_TEXT))
        elif child is not without:
            _write(child, inside, child.declared, without, parts)
    parts.append(f"</{element.name}>")
