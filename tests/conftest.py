"""Shared by all tests. Time never decides a test, so hypothesis has no deadline."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("strongroom", deadline=None, print_blob=True)
settings.load_profile("strongroom")
