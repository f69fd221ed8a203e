#!/usr/bin/env bash
# Installs the system packages that strongroom's lab and its builds need, and only those that are missing.
# Package sources are the machine's own; QEMU 10 comes from its backports suite where the release has an older one.
set -euo pipefail

say() { printf '[setup] %s\n' "$*"; }
give_up() { printf 'setup: %s\n' "$*" >&2; exit 1; }

[ -r /etc/os-release ] || give_up "no /etc/os-release: this needs Debian 12 or newer, or Ubuntu 24.04 or newer"
. /etc/os-release
command -v apt-get >/dev/null || give_up "apt-get not found (${PRETTY_NAME:-unknown system}): install qemu >= 10, mmdebstrap, vde2, Go >= 1.21, gcc, libseccomp and nftables yourself"

missing=()
need() { # need COMMAND-OR-FILE PACKAGE
    if [ -e "$1" ] || command -v "$1" >/dev/null 2>&1; then return; fi
    missing+=("$2")
}
need qemu-img qemu-utils
need mmdebstrap mmdebstrap
need mkfs.ext4 e2fsprogs
need vde_switch vde2
need ssh openssh-client
need gcc gcc
need /usr/include/unistd.h libc6-dev
need /usr/include/seccomp.h libseccomp-dev
need pkg-config pkg-config
need nft nftables
need zstd zstd
need dropbear dropbear-bin
need ip iproute2
need swtpm swtpm
need /usr/share/OVMF/OVMF_CODE_4M.fd ovmf
need busybox busybox-static
need git git
need /etc/ssl/certs/ca-certificates.crt ca-certificates
need /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)

# Vagrant and its plugin (19 MB to fetch, 89 MB on disk) only validate the Vagrantfile in the tests, and not every release
# has them: without them those tests are skipped.
wanted=()
command -v vagrant >/dev/null 2>&1 || wanted=(vagrant vagrant-libvirt)
# Not grep -q: it ends at its first match, and what still writes to it then fails the pipe.
available() { apt-cache policy "$1" 2>/dev/null | grep 'Candidate: [^(]' >/dev/null; }

late=()
version() { { "$@" 2>/dev/null || true; } | grep -oE '[0-9]+\.[0-9]+' | head -n 1; }
at_least() { [ -n "$1" ] && [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }
at_least "$(version qemu-system-x86_64 --version)" 10.0 || late+=(qemu-system-x86)
at_least "$(version go version)" 1.21 || late+=(golang-go)

if [ ${#missing[@]} -eq 0 ] && [ ${#late[@]} -eq 0 ]; then
    [ ${#wanted[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && available vagrant || exit 0
fi
[ "$(id -u)" = 0 ] || give_up "missing packages: ${missing[*]} ${late[*]}; run as root: make setup-system"

export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
for package in "${wanted[@]}"; do
    if available "$package"; then missing+=("$package"); fi
done
say "system packages: ${missing[*]} ${late[*]}"
suite=()
if [ ${#late[@]} -gt 0 ] && [ "${VERSION_CODENAME:-}" = bookworm ]; then
    if ! apt-cache policy | grep 'bookworm-backports' >/dev/null; then
        source=$(cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk '/^URIs:/ { print $2; exit }')
        [ -n "$source" ] || source=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /:\/\//) { print $i; exit } }')
        [ -n "$source" ] || give_up "no package source found in /etc/apt; add bookworm-backports yourself"
        say "adding bookworm-backports of this machine's own package source (/etc/apt/sources.list.d/strongroom-backports.sources)"
        printf 'Types: deb\nURIs: %s\nSuites: bookworm-backports\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' "$source" \
            > /etc/apt/sources.list.d/strongroom-backports.sources
        apt-get -qq update
    fi
    suite=(-t bookworm-backports)
fi
[ ${#missing[@]} -eq 0 ] || apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
[ ${#late[@]} -eq 0 ] || apt-get -qq install -y --no-install-recommends "${suite[@]}" "${late[@]}" >/dev/null
say "system packages are there"
