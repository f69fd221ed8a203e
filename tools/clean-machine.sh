#!/usr/bin/env bash
# Runs `make lab` or `make test` as a newcomer would: in a Debian 12 of nothing but the base system, with no cache, no
# Python, no Go. Usage: tools/clean-machine.sh lab|test... (root). What goes in from this machine is what its network
# asks of every machine: apt's sources and settings, the resolver, pip's and Go's settings, certificates.
# KEEP=1 keeps the machine, as a failure does; MACHINE=folder goes on with one that was kept, at this checkout's commit.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "clean-machine: has to be root, for mmdebstrap and chroot" >&2; exit 1; }
[ $# -gt 0 ] || { echo "clean-machine: which target? lab, test" >&2; exit 2; }

root=${MACHINE:-}
[ -n "$root" ] || root=$(mktemp -d "${TMPDIR:-/var/tmp}/strongroom-clean.XXXXXX")
source=$(cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk '/^URIs:/ { print $2; exit }')
[ -n "$source" ] || source=$(awk '$1 == "deb" { print $2; exit }' /etc/apt/sources.list)
if [ -n "${MACHINE:-}" ]; then
    git -C "$root/root/strongroom" fetch --quiet "$PWD" HEAD
    git -C "$root/root/strongroom" reset --quiet --hard FETCH_HEAD
else
echo "[clean] a base system of Debian 12 in $root"
# git and make bring the checkout and the command; a base system has neither.
mmdebstrap --quiet --variant=minbase --include=make,git,ca-certificates bookworm "$root" "deb $source bookworm main" \
    "deb $source bookworm-updates main"
git clone --quiet --no-hardlinks . "$root/root/strongroom"
fi

carry() { for path in "$@"; do [ ! -e "$path" ] || cp -aL --parents "$path" "$root" 2>/dev/null || true; done; }
carry /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs /usr/local/share/ca-certificates /usr/share/keyrings
carry /root/.config/go/env /root/.config/pip /root/.gitconfig
rm -f "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*
carry /etc/apt/auth.conf.d /etc/apt/apt.conf.d /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list
variables=()
for name in PIP_CERT PIP_INDEX_URL PIP_FIND_LINKS SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE GIT_SSL_CAINFO \
    GOPROXY GOSUMDB HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy; do
    [ -z "${!name:-}" ] || variables+=("$name=${!name}")
    case "${!name:-}" in /*) carry "${!name}";; esac
done

# Its own mounts and processes: all of them end with it.
started=$SECONDS status=0
unshare --mount --pid --fork --kill-child --mount-proc bash -euc '
    root=$1; shift
    mount --make-rprivate /
    mount --bind "$root" "$root"  # a machine has something mounted on /, and df of busybox finds nothing without
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"; mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/run"
    exec chroot "$root" env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
' clean "$root" "${variables[@]}" bash -euc '
    cd /root/strongroom
    for target; do
        start=$SECONDS; make "$target"; echo "[clean] make $target: $((SECONDS - start)) s"
        # `make lab` leaves its host up, which would take the processors from what comes next.
        [ "$target" != lab ] || .venv/bin/strongroom lab down
    done
' clean "$@" || status=$?
echo "[clean] all of it: $((SECONDS - started)) s, status $status"
if [ -n "${KEEP:-}" ] || [ $status != 0 ]; then echo "[clean] kept: $root"; else rm -rf --one-file-system "$root"; fi
exit $status
