"""The mode confidential-containers for plain pyinfra: pyinfra INVENTORY deploys/confidential_containers.py

The same phases as `strongroom apply`. What only `apply` adds is in docs/plain-pyinfra.md.
"""

from strongroom.operations.mode import run_mode

run_mode()
