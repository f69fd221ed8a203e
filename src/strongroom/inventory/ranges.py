"""Host patterns of an Ansible inventory: ``node[01:10]``, ``db-[a:f]``, ``web[1:9:2].example:2222``.

The form is the one of Ansible's guide ("How to build your inventory", adding ranges of hosts): both ends belong to the range,
zeros in front are kept, a third number is the step. Ansible takes a range that runs backwards for no hosts at all; here it
is an error, because hosts that go missing in silence are worse than a message.
"""

from __future__ import annotations

import re
from itertools import product
from string import ascii_letters

#: More hosts than this are taken for a slip of the pen.
LIMIT = 10_000

_PORT = re.compile(r"(?P<name>[^:]*(\[[^\]]*\][^:]*)*):(?P<port>[0-9]+)")
_PARTS = re.compile(r"\[([^\[\]]*)\]")


def split_port(pattern: str) -> tuple[str, int | None]:
    """A pattern and the port behind its last colon, if it has one."""
    found = _PORT.fullmatch(pattern)
    return (found["name"], int(found["port"])) if found else (pattern, None)


def expand(pattern: str) -> list[str]:
    """Every host name that a pattern stands for, in order.

    Raises:
        ValueError: what is wrong with the pattern, as the end of a sentence.
    """
    parts = _PARTS.split(pattern)
    if any(bracket in text for text in parts[::2] for bracket in "[]"):
        raise ValueError("a bracket has no partner")
    choices = [[text] if index % 2 == 0 else _range(text) for index, text in enumerate(parts)]
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > LIMIT:
        raise ValueError(f"it stands for {count} hosts, and {LIMIT} are allowed")
    return ["".join(chosen) for chosen in product(*choices)]


def _range(text: str) -> list[str]:
    """The members of one range, without its brackets."""
    first, *rest = text.split(":")
    if not 1 <= len(rest) <= 2:
        raise ValueError(f"a range is [first:last] or [first:last:step], and [{text}] is not")
    last = rest[0]
    first = first or "0"
    if not last:
        raise ValueError(f"[{text}] has no end")
    step = _number(rest[1], text) if len(rest) == 2 else 1
    if step < 1:
        raise ValueError(f"the step of [{text}] must be 1 or more")
    if len(first) == len(last) == 1 and first in ascii_letters and last in ascii_letters:
        begin, end = ascii_letters.index(first), ascii_letters.index(last)
        members = list(ascii_letters[begin : end + 1 : step])
    else:
        begin, end = _number(first, text), _number(last, text)
        width = len(first) if first.startswith("0") and len(first) > 1 else 0
        if width and width != len(last):
            raise ValueError(
                f"both ends of [{text}] need the same number of digits, because the first has a zero in front"
            )
        if (end - begin) // step >= LIMIT:
            raise ValueError(f"[{text}] stands for more than {LIMIT} hosts")
        members = [str(number).zfill(width) for number in range(begin, end + 1, step)]
    if begin > end:
        raise ValueError(f"[{text}] runs backwards")
    return members


def _number(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"a range goes from number to number or from letter to letter, and [{where}] does not")
    return int(text)
