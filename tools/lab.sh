#!/usr/bin/env bash
# `make lab`: a test host on this machine, provisioned into a cluster; it stays up.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
echo "[lab] a virtual machine with Debian 13, and Kubernetes built from Go modules (the first time takes long; the cache keeps it)"
$bin/strongroom bundle build --from go-modules
$bin/strongroom lab up
$bin/strongroom apply inventories/lab.py
$bin/strongroom status inventories/lab.py
echo "[lab] it stays up: strongroom lab ssh, strongroom lab down. kubeconfig: $($bin/python -c 'from strongroom.lab.state import load; print(load().folder / "kubeconfig")')"
