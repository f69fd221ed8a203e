"""Checks: a host's report in, verdicts out. Pure; one file a platform."""
