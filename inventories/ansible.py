"""An Ansible inventory for plain pyinfra: STRONGROOM_ANSIBLE=hosts.yml pyinfra inventories/ansible.py deploys/…

strongroom's own verbs take the YAML file itself.
"""

from strongroom.inventory.ansible import from_environment as _read

_inventory = _read("STRONGROOM_ANSIBLE")
control_plane = _inventory.group("control_plane")
workers = _inventory.group("workers")
all = (_inventory.group("all"), {"cluster": _inventory.cluster})
