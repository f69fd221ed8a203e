# Prints this host's evidence over a challenge as one line of JSON. The kind and the challenge are all that it takes, as two
# arguments or, as the forced command of an SSH key, in SSH_ORIGINAL_COMMAND; everything else is refused. One kind takes a
# third: `activate` gives back what is in a credential (TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET) for the EK and the AK.
# It leaves nothing behind: its entry in configfs and its folder in /tmp are removed, and the kernel's resource manager drops
# a TPM's key when the tools close the device.
# Report data is the challenge and 32 zero bytes (snp, tdx), the TPM's qualifying data is the challenge.
# Runs in any POSIX sh, also from stdin, so nothing below may read stdin.
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
root=
set -f
umask 077
unset IFS
most=393216 # bytes of any one part

die() {
    printf '{"schema":"strongroom.dev/evidence/v1","error":"%s"}\n' "$1"
    exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

if [ $# = 0 ]; then set -- ${SSH_ORIGINAL_COMMAND-}; fi
[ $# = 2 ] || [ "$#-${1-}" = 3-activate ] || die 'needed are a kind and a challenge'
kind=$1 challenge=$2 credential=${3-}
case $kind in snp | tdx | tpm | nvidia) ;; activate)
    case $credential in '' | *[!0-9a-f]*) die 'the credential is not hex digits' ;; esac
    [ $((${#credential} % 2)) = 0 ] && [ "${#credential}" -le 2048 ] || die 'the credential is not hex digits'
    ;; *) die 'the kind is none of snp, tdx, tpm, nvidia' ;; esac
case $challenge in *[!0-9a-f]*) die 'the challenge is not 64 hex digits' ;; esac
[ "${#challenge}" = 64 ] || die 'the challenge is not 64 hex digits'
for tool in base64 cat head mkdir mktemp od rm rmdir sed tr wc; do has "$tool" || die "$tool is missing"; done

work=
trap '[ -z "$work" ] || rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
work=$(mktemp -d "${root:-}/tmp/strongroom-evidence.XXXXXX") || die 'no folder can be made in /tmp'

# bytes HEX: the bytes of hex digits. No process for each, which an emulated host would feel.
bytes() {
    for byte in $(printf '%s' "$1" | sed 's/../& /g'); do
        byte=$((0x$byte))
        # shellcheck disable=SC2059
        printf "\\$((byte / 64))$((byte / 8 % 8))$((byte % 8))"
    done
}

# part NAME FILE: ,"NAME":"base64 of the file"
part() {
    size=$(wc -c <"$2" | tr -dc 0-9)
    [ "${size:-0}" -gt 0 ] || die "$1 is empty"
    [ "$size" -le "$most" ] || die "$1 has more than $most bytes"
    printf ',"%s":"' "$1"
    base64 <"$2" | tr -d '\n'
    printf '"'
}

# take FILE OUT: a file of the kernel's, whole, for reading it again gives something else.
take() {
    head -c $((most + 1)) "$1" >"$2" 2>/dev/null </dev/null && [ -s "$2" ]
}

# line FILE: its first line where that is a plain word.
line() {
    word=
    [ -r "$1" ] && IFS= read -r word <"$1"
    case $word in '' | *[!0-9A-Za-z._-]*) word= ;; esac
    printf '%s' "$word"
}

tsm() {
    tsm=$root/sys/kernel/config/tsm/report
    [ -d "$tsm" ] || die 'there is no /sys/kernel/config/tsm/report: no guest, no driver, or no configfs'
    entry=$tsm/strongroom-$$
    mkdir "$entry" 2>/dev/null || die 'no entry can be made in /sys/kernel/config/tsm/report: needs root'
    trap 'rmdir "$entry" 2>/dev/null' EXIT # of this subshell
    trap 'exit 1' HUP INT TERM
    provider=$(line "$entry/provider")
    [ "$provider" = "$1" ] || die "the provider is ${provider:-unknown}, needed is $1"
    before=$(line "$entry/generation")
    zeros=0000000000000000000000000000000000000000000000000000000000000000
    bytes "$challenge$zeros" >"$work/data"
    cat "$work/data" >"$entry/inblob" 2>/dev/null || die 'the driver does not take the report data'
    after=$(line "$entry/generation")
    take "$entry/outblob" "$work/report" || die 'the driver gives no report'
    if [ -e "$entry/auxblob" ]; then take "$entry/auxblob" "$work/auxblob" || :; fi
    # Whoever else writes to the entry makes the number go on.
    case $before$after in *[!0-9]* | '') die 'the driver has no generation' ;; esac
    [ "$(line "$entry/generation")" = "$after" ] && [ $((before + 1)) -eq "$after" ] || die 'somebody else wrote to the entry'
}

snp() {
    tsm sev_guest
    part report "$work/report"
    [ ! -s "$work/auxblob" ] || part auxblob "$work/auxblob"
    # REPORT_ID stands at 0x140; it is the guest's own for as long as the guest lives.
    printf ',"report_id":"%s"' "$(head -c 352 "$work/report" | od -An -v -tx1 -j320 | tr -dc 0-9a-f)"
}

tdx() {
    tsm tdx_guest
    part quote "$work/report"
    ccel=$root/sys/firmware/acpi/tables/data/CCEL
    if [ -r "$ccel" ] && take "$ccel" "$work/ccel"; then part ccel "$work/ccel"; fi
}

# The AK is a primary key of the endorsement hierarchy: the same template makes the same key again, and nothing is stored.
ak() {
    for tool in tpm2_createprimary "$@"; do has "$tool" || die "$tool is missing"; done
    cd "$work" || die 'no folder'
    TPM2TOOLS_TCTI=device:$root/dev/tpmrm0
    export TPM2TOOLS_TCTI
    [ -e "$root/dev/tpmrm0" ] || die 'there is no /dev/tpmrm0'
    quiet tpm2_createprimary -C e -g sha256 -G ecc256:ecdsa-sha256:null \
        -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign|noda' -c ak.ctx
}
# The EK is the one of the TCG's RSA template, whose certificate manufacturers put into the TPM.
ek() { "$1" -c ek.ctx -G rsa -u ek.pub >/dev/null 2>&1 </dev/null && [ -s ek.pub ]; }

tpm() {
    ak tpm2_quote tpm2_readpublic
    quiet tpm2_readpublic -c ak.ctx -f tpmt -o ak.pub
    quiet tpm2_quote -c ak.ctx -q "$challenge" -g sha256 -l sha256:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,22,23 \
        -m message -s signature -F values -o pcrs
    printf ',"quote":{"made_by":"tpm2-tools"'
    part message message
    part signature signature
    pcrs
    printf '}'
    part ak_public ak.pub
    if has tpm2_createek && ek tpm2_createek; then part ek_public ek.pub; fi
    if has tpm2_nvread && tpm2_nvread -C o 0x1c00002 -o ek.der >/dev/null 2>&1 </dev/null && [ -s ek.der ]; then
        part ek_certificate ek.der
    fi
    log=$root/sys/kernel/security/tpm0/binary_bios_measurements
    if [ -r "$log" ] && take "$log" log; then part event_log log; fi
    # TPMS_ATTEST: magic, type, two sized buffers, then clock (8 bytes), resetCount and restartCount (4 each), safe.
    signer=$(sized message 6)
    extra=$(sized message $((8 + signer)))
    at=$((10 + signer + extra + 8))
    printf ',"reset_count":%s,"restart_count":%s' "$(number message "$at")" "$(number message $((at + 4)))"
}

# An EK is used under a policy that asks for the hierarchy's authorisation, which is empty unless somebody owns the TPM.
activate() {
    ak tpm2_createek tpm2_startauthsession tpm2_policysecret tpm2_activatecredential tpm2_flushcontext
    ek tpm2_createek || die 'tpm2_createek failed'
    bytes "badcc0de00000001$credential" >credential # the header of tpm2-tools' own files
    quiet tpm2_startauthsession --policy-session -S session
    quiet tpm2_policysecret -S session -c e
    quiet tpm2_activatecredential -c ak.ctx -C ek.ctx -i credential -o secret -P session:session
    tpm2_flushcontext session >/dev/null 2>&1 </dev/null
    part activated secret
}
quiet() { "$@" >/dev/null 2>&1 </dev/null || die "$1 failed"; }
sized() { printf '%s' $((0x$(od -An -v -tx1 -j"$2" -N2 "$1" | tr -dc 0-9a-f))); }
number() { printf '%s' $((0x$(od -An -v -tx1 -j"$2" -N4 "$1" | tr -dc 0-9a-f))); }

# PCR values lie one after another, 32 bytes each, in the order of the selection.
pcrs() {
    [ "$(wc -c <pcrs | tr -dc 0-9)" = $((18 * 32)) ] || die 'tpm2_quote gives other PCRs than asked for'
    printf ',"pcrs":{"sha256":{'
    place=0 comma=''
    for pcr in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 22 23; do
        printf '%s"%s":"%s"' "$comma" "$pcr" "$(od -An -v -tx1 -j$((32 * place)) -N32 pcrs | tr -dc 0-9a-f)"
        place=$((place + 1)) comma=','
    done
    printf '}}'
}

# Older versions print JSON when they are asked to, newer ones always, and refuse to be asked.
nvidia() {
    has nvattest || die 'nvattest (of the NVIDIA Attestation SDK) is missing'
    set -- nvattest collect-evidence --device gpu --nonce "$challenge"
    "$@" --format json >"$work/gpu" 2>/dev/null </dev/null || "$@" >"$work/gpu" 2>/dev/null </dev/null || die 'nvattest failed'
    part gpu_evidence "$work/gpu"
}

# All or nothing: what dies on the way prints its error alone.
boot=$(line "$root/proc/sys/kernel/random/boot_id")
body=$("$kind") || {
    case $body in *'{"schema":'*) printf '{"schema":%s\n' "${body##*'{"schema":'}" ;; *) die "$kind: the script failed" ;; esac
    exit 1
}
printf '{"schema":"strongroom.dev/evidence/v1","kind":"%s","challenge":"%s","boot_id":"%s"%s}\n' \
    "$kind" "$challenge" "$boot" "$body"
