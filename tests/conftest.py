"""Shared by all tests. Time never decides a test, so hypothesis has no deadline.

`make test` says the same of the same tree each time; `make torture` draws anew, by seeds that it prints.
"""

from __future__ import annotations

import pytest
from gevent import monkey
from hypothesis import settings

settings.register_profile("strongroom", deadline=None, print_blob=True)
settings.register_profile("repeatable", settings.get_profile("strongroom"), derandomize=True)
settings.load_profile("strongroom")


def pytest_collection_finish() -> None:
    """pyinfra's command line patches threads and sockets of the whole process: what needs it runs in one of its own."""
    if monkey.is_module_patched("threading"):
        raise pytest.UsageError(
            "a test module imports pyinfra_cli (through strongroom.cli or engine.inventory): run it as a process"
        )
