"""Inventories that are not pyinfra's own files: Ansible's YAML, and machines that Vagrant started."""
