"""Runs phases: the only user of pyinfra's State API."""
