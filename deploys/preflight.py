"""Preflight for plain pyinfra: pyinfra INVENTORY deploys/preflight.py

Reads every host and fails when one is not what the inventory asks for; `strongroom preflight` also has reports.
"""

from strongroom.operations.mode import run_mode

run_mode("preflight")
