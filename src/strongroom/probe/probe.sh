# Reads a host and prints named sections, each closed by "#end" when all of it is here. Read-only; needs neither root nor
# any package: what cannot be read is told as "#unreadable: why", and what is not printed counts as not probed.
# Runs in any POSIX sh, also from stdin, so nothing below may read stdin.
# PROBE_PATH is for tests, which run it with other tools than the host's.
export LC_ALL=C PATH="${PROBE_PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}"
set -f
umask 077

has() { command -v "$1" >/dev/null 2>&1; }
why() { printf '#unreadable: %s\n' "$1"; }
systemd() { [ -d /run/systemd/system ]; }
newline='
'

# Asked once: a rack pays for every program that is started.
user=$(id -u 2>/dev/null)
kernel=$(uname -srm 2>/dev/null)
# shellcheck disable=SC2086 # three words
set -- $kernel
release=${2-}
machine=${3-}

# Read once: a machine of many CPUs takes its time to write this file. The first CPU, each microcode, and how many CPUs.
cpuinfo=$(awk '
/^$/ { rest = 1 }
!rest { print }
/^microcode/ && !told[$0]++ { revisions = revisions $0 "\n" }
/^processor/ { count++ }
END { printf "\n%sprocessors : %d\n", revisions, count }
' /proc/cpuinfo 2>/dev/null) || cpuinfo=

# Tools that may take their time get this much of it, all at the same time.
limit=1
has timeout && timeout 1.5 true 2>/dev/null && limit=1.5
patient() {
    has timeout || { why "$1: no timeout(1) to hold it"; return 0; }
    timeout "$limit" "$@" </dev/null 2>/dev/null
    case $? in 124 | 137 | 143) why "$1 took longer than $limit s" ;; esac
    return 0
}

# emit NAME BYTES: a section from its function, cut at a line's end where it is too long.
emit() {
    text=$("$3" 2>/dev/null </dev/null)
    printf '\n== %s\n' "$1"
    if [ "${#text}" -gt "$2" ]; then
        printf '%s\n' "$text" | head -c "$2" | sed '$d'
        echo '#cut'
    else
        [ -z "$text" ] || printf '%s\n' "$text"
        echo '#end'
    fi
}

# values PATH...: path=line for each line of each file; a file that is not there is left out.
values() {
    for f in "$@"; do
        [ -e "$f" ] || continue
        if ! [ -r "$f" ]; then why "$f: needs root"; continue; fi
        while IFS= read -r line || [ -n "$line" ]; do printf '%s=%s\n' "$f" "$line"; done <"$f"
    done
}

# matching GLOB...: the paths that exist, one a line.
matching() {
    set +f
    for f in $1; do [ -e "$f" ] && printf '%s\n' "$f"; done
    set -f
}

s_uname() { printf '%s\n' "$kernel"; }
s_os_release() { cat /etc/os-release; }
s_user() { echo "$user"; }
s_cmdline() { cat /proc/cmdline; }
s_meminfo() { grep -E '^(MemTotal|MemAvailable|SwapTotal):' /proc/meminfo; }
s_modules() { ls /sys/module; }

s_virt() {
    has systemd-detect-virt || { why 'no systemd-detect-virt'; return; }
    echo "vm=$(systemd-detect-virt --vm)"
    cvm=$(systemd-detect-virt --cvm) || [ -n "$cvm" ] || return 0
    echo "cvm=$cvm"
}

s_cpuinfo() { if [ -n "$cpuinfo" ]; then printf '%s\n' "$cpuinfo"; else why 'no awk, or no /proc/cpuinfo'; fi; }

s_iomem() {
    grep ': System RAM' /proc/iomem
    [ "$user" = 0 ] || why 'needs root'
}

s_kconfig() {
    options='CONFIG_(KVM_AMD_SEV|CRYPTO_DEV_CCP|CRYPTO_DEV_SP_PSP|AMD_MEM_ENCRYPT|INTEL_TDX_HOST|KVM_INTEL|X86_SGX|X86_SGX_KVM'
    options="^($options|SEV_GUEST|TDX_GUEST_DRIVER|TSM_REPORTS|CRYPTO_ECDSA|CRYPTO_ECDH))="
    file=/boot/config-$release
    if [ -r "$file" ]; then grep -E "$options" "$file"
    elif [ -r "/lib/modules/$release/config" ]; then grep -E "$options" "/lib/modules/$release/config"
    elif [ -r /proc/config.gz ] && has zcat; then zcat /proc/config.gz | grep -E "$options"
    else why 'no configuration of this kernel'; fi
}

# The log is cut to what the checks look for, and its first line, which tells whether its start was lost.
words='sev|snp|rmp|ccp |psp|amd-vi|iommu|tdx|x86/tme|mktme|sgx|seam|prot_virt|ultravisor|rme:|rmi abi|memory encryption'
words="$words|secure encrypt|swiotlb|command line|confidential virtualization|kvm|microcode|hypervisor detected|isolation config"
words="$words|detected virtualization|linux is running|tpm_tis|libspdm|confidential compute|nvrm: loading|rmm |granule tracking|gpt level1|by bios"
s_dmesg() {
    log=$(dmesg) || log=
    case ${log%%"$newline"*} in
    '['*' 0.000000]'* | '[0.000000]'* | '<'*'>['*' 0.000000]'* | '<'*'>[0.000000]'*) ;;
    *)
        if has journalctl && has timeout; then
            journal=$(timeout "$limit" journalctl -k -b -q --no-pager -o short-monotonic)
            case ${journal%%"$newline"*} in
            '['*' 0.000000]'*) log=$journal; echo '#source: journal' ;;
            esac
        fi
        ;;
    esac
    if [ -z "$log" ]; then
        read -r restricted </proc/sys/kernel/dmesg_restrict
        why "needs root (kernel.dmesg_restrict=${restricted:-?})"
        return
    fi
    echo "#filter: $words"
    printf '%s\n' "${log%%"$newline"*}"
    printf '%s\n' "$log" | tail -n +2 | grep -iE "$words" | grep -v 'Adding to iommu group'
}

s_sysfs() {
    values /sys/fs/cgroup/cgroup.controllers /sys/fs/cgroup/misc.capacity \
        /sys/module/kvm_amd/parameters/sev /sys/module/kvm_amd/parameters/sev_es /sys/module/kvm_amd/parameters/sev_snp \
        /sys/module/kvm_amd/parameters/ciphertext_hiding_asids \
        /sys/module/kvm_intel/parameters/tdx /sys/module/kvm_intel/parameters/sgx \
        /sys/devices/system/cpu/smt/active /sys/devices/system/cpu/sev/vmpl \
        /sys/devices/system/cpu/cpu0/regs/identification/id_aa64pfr0_el1 \
        /sys/devices/faux/tdx_host/version /sys/devices/virtual/tdx/tdx_host/version \
        /sys/firmware/uv/prot_virt_host /sys/firmware/uv/prot_virt_guest \
        /sys/firmware/uv/query/max_guests /sys/firmware/uv/query/supp_att_req_hdr_ver \
        /sys/class/tpm/tpm0/tpm_version_major /sys/kernel/security/lockdown /proc/driver/nvidia/version
    # Providers of reports that somebody made; making one would be a change.
    for f in $(matching '/sys/kernel/config/tsm/report/*/provider'); do values "$f"; done
    if [ -d /sys/kernel/iommu_groups ]; then
        set +f
        set -- /sys/kernel/iommu_groups/*
        set -f
        [ -e "$1" ] || shift
        echo "/sys/kernel/iommu_groups=$#"
    fi
    sed -n 's#^[^ ]* /dev [^ ]* \([^ ]*\) .*#mount:/dev=\1#p' /proc/mounts
    file=/etc/sgx_default_qcnl.conf
    [ -r "$file" ] && sed -n "s#^[^/]*\"*pccs_url\"*[\": =]*\([^\", ]*\).*#$file:pccs_url=\1#p" "$file"
    return 0
}

s_devices() {
    # Its size is nothing to whoever lists it. Said before it is listed: what is cut off here hides the log with it.
    f=/sys/kernel/security/tpm0/binary_bios_measurements
    if [ -r "$f" ]; then [ "$(head -c 1 "$f" | wc -c)" -gt 0 ] || echo "empty: $f"
    elif [ -e "$f" ]; then echo "unread: $f"; fi
    set --
    for f in /dev/kvm /dev/sev /dev/sev-guest /dev/tdx_guest /dev/sgx_enclave /dev/sgx_provision /dev/sgx_vepc /dev/isgx \
        /dev/tpm0 /dev/tpmrm0 /dev/vhost-vsock /dev/iommu /sys/firmware/acpi/tables/CCEL /sys/firmware/acpi/tables/data/CCEL \
        /sys/kernel/config/tsm/report /sys/kernel/security/tpm0/binary_bios_measurements /sys/kernel/security/secrets/coco; do
        [ -e "$f" ] && set -- "$@" "$f"
    done
    [ $# = 0 ] || ls -ld "$@"
    [ -x /sys/kernel/security ] || why '/sys/kernel/security: needs root'
    return 0
}

s_dmi() {
    for key in sys_vendor product_name board_vendor board_name bios_vendor bios_version bios_date chassis_asset_tag; do
        f=/sys/class/dmi/id/$key
        [ -r "$f" ] && read -r line <"$f" && printf '%s=%s\n' "$key" "$line"
    done
    return 0
}

s_units() {
    systemd || { why 'no systemd'; return; }
    for unit in aesmd qgsd pccs mpa_registration_tool nvidia-persistenced; do
        echo "Id=$unit.service"
        state=$(systemctl show -p LoadState,ActiveState,SubState,ExecMainStatus "$unit.service") || why "systemctl show $unit"
        printf '%s\n' "$state"
        case $unit:$state in
        nvidia-persistenced:*LoadState=loaded*)
            systemctl show -p ExecStart nvidia-persistenced.service | sed -n 's/.*argv\[\]=\([^;]*\) ;.*/Command=\1/p' ;;
        qgsd:*ActiveState=active*)
            patient journalctl -u qgsd -b -q --no-pager -n 500 -o cat |
                grep -iE '0x(110|e0|b0)[0-9a-f][0-9a-f]([^0-9a-f]|$)|get_quote return success|^#unreadable' | tail -n 5 | sed 's/^[^#]/Log=&/'
            [ "$user" = 0 ] || why "qgsd's journal: needs root"
            ;;
        esac
    done
}

s_firmware_files() {
    for g in '/usr/share/ovmf/*.fd' '/usr/share/OVMF/*.fd' '/usr/share/edk2/*/*.fd' '/usr/share/edk2-ovmf/*/*.fd' \
        '/usr/share/qemu/*.fd' '/usr/share/qemu/ovmf-*' '/opt/kata/share/ovmf/*.fd' '/opt/kata/share/tdvf/*.fd'; do
        matching "$g"
    done | head -n 100
}

# lspci's form for what the checks ask of it, without lspci: NVIDIA's devices, class, id and driver.
s_lspci() {
    [ -d /sys/bus/pci/devices ] || return 0
    for d in $(matching '/sys/bus/pci/devices/*'); do
        read -r vendor <"$d/vendor"
        [ "$vendor" = 0x10de ] || continue
        read -r class <"$d/class"
        read -r device <"$d/device"
        class=${class#0x}
        echo "${d##*/} NVIDIA [${class%??}]: NVIDIA [10de:${device#0x}]"
        driver=$(readlink "$d/driver") && echo "	Kernel driver in use: ${driver##*/}"
    done
    return 0
}

s_efivars() {
    for f in $(matching '/sys/firmware/efi/efivars/SgxRegistration*'); do
        if [ -r "$f" ]; then echo "${f##*/}=$(od -A n -v -t x1 "$f" | tr -d ' \n')"; else why "$f: needs root"; fi
    done
}

s_sysctl() {
    for key in kernel/dmesg_restrict kernel/kexec_load_disabled kernel/randomize_va_space; do
        [ -r "/proc/sys/$key" ] && read -r line <"/proc/sys/$key" && echo "${key%%/*}.${key#*/}=$line"
    done
    sed -n 's/^Max locked memory *\([^ ]*\) .*/memlock=\1/p' /proc/self/limits
}

s_disk() {
    for d in /opt /var/lib; do
        df -Pk "$d" | { read -r line && read -r line && printf '%s %s\n' "$d" "$line"; }
    done
    return 0
}
s_listeners() { if has ss; then ss -Hltnp; else why 'no ss'; fi; }

s_state() {
    [ -e /etc/kubernetes/manifests/kube-apiserver.yaml ] && echo control-plane
    [ -e /etc/kubernetes/kubelet.conf ] && echo node
    [ -d /opt/strongroom ] && echo strongroom
    [ -d /opt/strongroom/kubelet ] && echo strongroom-kubelet
    systemd || return 0
    # Whose Kubernetes runs here, by the unit that runs it. One call for all: it answers in the order asked, a line each.
    set -- k3s k3s-agent rke2-server rke2-agent k0scontroller k0sworker kubelet containerd crio
    systemctl show -p ActiveState "$@" | while read -r active; do
        [ -n "$active" ] || continue
        case $active in *=active | *=activating | *=reloading) echo "unit:$1" ;; esac
        shift
    done
    return 0
}

# Of the containerd that containerd.service runs: whether the inventory may count on it.
s_containerd() {
    systemd || return 0
    program=$(systemctl show containerd.service -p ExecStart | sed -n 's/^ExecStart={ path=\([^ ;]*\).*/\1/p')
    [ -n "$program" ] && [ -x "$program" ] || return 0
    echo "program=$(readlink -f "$program")"
    echo "version=$("$program" --version)"
    # Only the complaint: the configuration itself can hold a registry's password.
    refused=$("$program" config dump 2>&1 >/dev/null </dev/null ) || printf 'refused=%s\n' "$(printf '%s\n' "$refused" | tail -n 1)"
}

s_time() {
    if ! systemd; then
        why 'no systemd to tell whether the clock is synchronised'
    elif has timedatectl; then
        synchronised=$(patient timedatectl show -p NTPSynchronized)
        case $synchronised in *=yes) echo synchronised=yes ;; *=no) echo synchronised=no ;; *) why 'timedatectl does not say' ;; esac
    else
        why 'no timedatectl'
    fi
    [ -e /run/chrony/chronyd.pid ] && echo service=chronyd
    [ -e /run/systemd/timesync/synchronized ] && echo service=systemd-timesyncd
    [ -e /run/ntpd.pid ] && echo service=ntpd
    f=/sys/devices/system/clocksource/clocksource0/current_clocksource
    [ -r "$f" ] && read -r line <"$f" && echo "clocksource=$line"
    if [ -r /etc/resolv.conf ]; then
        echo resolver=/etc/resolv.conf
        grep -E '^(nameserver|options)' /etc/resolv.conf
        # The stub of systemd-resolved is local; what it asks is not.
        grep -q '^nameserver 127\.0\.0\.5[34]' /etc/resolv.conf &&
            sed -n 's/^nameserver/upstream/p' /run/systemd/resolve/resolv.conf
    fi
    date +%s
}

# CPUID, MSRs of every CPU and the secure processor's status, by one small program where there is Python.
python=
for p in python3 /usr/libexec/platform-python; do has "$p" && python=$p && break; done

registers() {
    case $cpuinfo in
    *AuthenticAMD*"${newline}flags"*' hypervisor'* | *HygonGenuine*"${newline}flags"*' hypervisor'*) echo c0010131 ;;
    *AuthenticAMD* | *HygonGenuine*) echo c0010010 c0010015 c0010132 c0010133 c0010136 ;;
    *GenuineIntel*"${newline}flags"*' hypervisor'*) ;;
    *GenuineIntel*) echo 3a 87 a0 ce 500 503 982 1400 1401 ;;
    esac
}

msr_program='
import os, sys
numbers = [int(word, 16) for word in sys.argv[1:]]
cpus = sorted(int(name) for name in os.listdir("/dev/cpu") if name.isdigit())
found, lost = {}, set()
for cpu in cpus:
    try:
        file = os.open("/dev/cpu/%d/msr" % cpu, os.O_RDONLY)
    except OSError as error:
        if error.errno != 6: lost.add("CPU %d: %s" % (cpu, error.strerror))
        continue
    for number in numbers:
        if cpu != cpus[0] and number not in found: continue
        try:
            value = int.from_bytes(os.pread(file, 8, number), "little")
        except OSError as error:
            if cpu != cpus[0]: lost.add("MSR %x on CPU %d" % (number, cpu))
            continue
        found.setdefault(number, {}).setdefault(value, []).append(cpu)
    os.close(file)
def spans(cpus):
    out, start = [], cpus[0]
    for one, after in zip(cpus, cpus[1:] + [None]):
        if after != one + 1:
            out.append("%d-%d" % (start, one) if start != one else "%d" % one)
            start = after
    return ",".join(out)
for number, values in sorted(found.items()):
    for value, where in values.items():
        print("%x %x" % (number, value) + ("" if len(values) == 1 else " " + spans(where)))
for reason in sorted(lost)[:8]: print("#unreadable: " + reason)
'
s_msr() {
    numbers=$(registers)
    [ -n "$numbers" ] || return 0
    lockdown=$(sed -n 's/.*\[\(.*\)\].*/\1/p' /sys/kernel/security/lockdown)
    [ "$lockdown" != confidentiality ] || { why 'lockdown=confidentiality'; return; }
    [ -e /dev/cpu/0/msr ] || { why 'no /dev/cpu/0/msr: modprobe msr'; return; }
    [ -r /dev/cpu/0/msr ] && [ "$user" = 0 ] || { why 'needs root'; return; }
    if [ -n "$python" ]; then
        # shellcheck disable=SC2086 # the numbers are words
        patient "$python" -I -S -c "$msr_program" $numbers
        return
    fi
    last=$(($(grep -c ^processor /proc/cpuinfo) - 1))
    for cpu in 0 "$last"; do
        for number in $numbers; do
            # shellcheck disable=SC2046 # eight bytes, the lowest first
            set -- $(dd if="/dev/cpu/$cpu/msr" bs=8 count=1 iflag=skip_bytes skip=$((0x$number)) | od -A n -v -t x1)
            [ $# = 8 ] && echo "$number $8$7$6$5$4$3$2$1 $cpu"
        done
        [ "$last" != 0 ] || break
    done | sort -u
    why "only CPUs 0 and $last: no python3"
}

cpuid_program='
import os
file = os.open("/dev/cpu/0/cpuid", os.O_RDONLY)
def ask(leaf, sub=0):
    data = os.pread(file, 16, leaf | sub << 32)
    parts = [int.from_bytes(data[at : at + 4], "little") for at in (0, 4, 8, 12)]
    print("   0x%08x 0x%02x: eax=0x%08x ebx=0x%08x ecx=0x%08x edx=0x%08x" % (leaf, sub, *parts))
    return parts[0]
print("CPU:")
top = ask(0)
for leaf, sub in [(1, 0), (7, 0), (7, 1), *((0x12, n) for n in range(12)), (0x21, 0)]:
    if leaf <= top: ask(leaf, sub)
top = ask(0x80000000)
for leaf in (0x80000001, 0x80000002, 0x80000003, 0x80000004, 0x80000008, 0x8000001F, 0x80000025):
    if leaf <= top: ask(leaf)
'
s_cpuid() {
    case $machine in x86_64 | i?86) ;; *) return 0 ;; esac
    if has cpuid; then patient cpuid -1 -r; return; fi
    [ -e /dev/cpu/0/cpuid ] || { why 'no cpuid tool and no /dev/cpu/0/cpuid: modprobe cpuid'; return; }
    [ -r /dev/cpu/0/cpuid ] || { why 'needs root, or the cpuid tool'; return; }
    if [ -n "$python" ]; then patient "$python" -I -S -c "$cpuid_program"; return; fi
    echo CPU:
    for leaf in 00000000 00000001 00000007 00000012 80000000 80000002 80000003 80000004 8000001f 80000025; do
        for sub in 0 1 2 3; do
            [ "$sub" = 0 ] || [ "$leaf" = 00000012 ] || continue
            # shellcheck disable=SC2046 # sixteen bytes, the lowest of each register first
            set -- $(dd if=/dev/cpu/0/cpuid bs=16 count=1 iflag=skip_bytes skip=$((0x$leaf + sub * 4294967296)) | od -A n -v -t x1)
            [ $# = 16 ] || continue
            case $leaf in 00000000 | 80000000) top=$4$3$2$1 ;; *) [ $((0x$leaf)) -le $((0x$top)) ] || continue ;; esac
            shift_hex="eax=0x$4$3$2$1 ebx=0x$8$7$6$5"
            shift 8
            echo "   0x$leaf 0x0$sub: $shift_hex ecx=0x$4$3$2$1 edx=0x$8$7$6$5"
        done
    done
}

# PLATFORM_STATUS (1), SNP_PLATFORM_STATUS (9), GET_ID2 (8): commands that only read. Kernels initialise a firmware that is
# not, to answer the second, and shut it down again: so it is asked only where SEV-SNP is up.
sev_program='
import array, fcntl, os, struct, sys
file = os.open("/dev/sev", os.O_RDONLY)
def issue(command, data):
    buffer = array.array("B", data)
    request = array.array("B", struct.pack("<IQI", command, buffer.buffer_info()[0], 0))
    fcntl.ioctl(file, 0xC0105300, request)
    return buffer.tobytes()
def told(name, command, size):
    try: print(name + "=" + issue(command, bytes(size)).hex())
    except OSError as error: print("#unreadable: %s: %s" % (name, error.strerror))
told("platform_status", 1, 12)
if sys.argv[1] == "snp": told("snp_platform_status", 9, 32)
chip = array.array("B", bytes(128))
try:
    length = struct.unpack("<QI", issue(8, struct.pack("<QI", chip.buffer_info()[0], 128)))[1]
    print("chip_id=" + chip.tobytes()[: min(length, 128)].hex())
except OSError as error:
    print("#unreadable: chip_id: " + error.strerror)
'
s_sev_status() {
    [ -e /dev/sev ] || return 0
    [ -r /dev/sev ] || { why 'needs root'; return; }
    [ -n "$python" ] || { why 'no python3 to issue the command'; return; }
    snp=
    [ -r /sys/module/kvm_amd/parameters/sev_snp ] && read -r snp </sys/module/kvm_amd/parameters/sev_snp
    case $snp in Y | 1) snp=snp ;; *) snp=no ;; esac
    patient "$python" -I -S -c "$sev_program" "$snp"
}

s_qemu() {
    has qemu-system-x86_64 || return 0
    patient qemu-system-x86_64 --version
    patient qemu-system-x86_64 -object help
}
s_snphost() { if has snphost && [ -e /dev/sev ]; then patient snphost ok; fi; }
s_sgx_status() { if has is-sgx-available; then patient is-sgx-available; fi; }
s_gpu_tools() {
    for tool in nvidia_gpu_tools nvidia_gpu_tools.py; do
        has "$tool" && { patient "$tool" --devices gpus,nvswitches --query-cc-mode --query-ppcie-mode 2>&1; return; }
    done
    return 0
}
s_smi() {
    has nvidia-smi || return 0
    patient nvidia-smi conf-compute -f
    patient nvidia-smi conf-compute -e
    patient nvidia-smi conf-compute -q
    patient nvidia-smi -q | grep 'VBIOS Version'
}

quick() {
    emit uname 512 s_uname
    emit os-release 2048 s_os_release
    emit user 64 s_user
    emit virt 256 s_virt
    emit cpuinfo 12288 s_cpuinfo
    emit cpuid 12288 s_cpuid
    emit msr 16384 s_msr
    emit cmdline 4096 s_cmdline
    emit kconfig 2048 s_kconfig
    emit dmesg 49152 s_dmesg
    emit sysfs 12288 s_sysfs
    emit modules 16384 s_modules
    emit devices 4096 s_devices
    emit meminfo 512 s_meminfo
    emit iomem 8192 s_iomem
    emit dmi 2048 s_dmi
    emit units 6144 s_units
    emit firmware-files 4096 s_firmware_files
    emit lspci 12288 s_lspci
    emit sev-status 1024 s_sev_status
    emit efivars 2048 s_efivars
    emit sysctl 1024 s_sysctl
    emit disk 1024 s_disk
    emit listeners 16384 s_listeners
    emit state 512 s_state
    emit containerd 1024 s_containerd
}

# The slow ones run in the pipe before the quick ones and are printed after them: no file, and one wait for all.
everything() {
    echo '== strongroom-probe 1'
    emit nvidia-gpu-tools 16384 s_gpu_tools | {
        exec 3<&0
        emit nvidia-smi-conf-compute 8192 s_smi </dev/null | {
            exec 4<&0
            { emit qemu 8192 s_qemu; emit snphost 8192 s_snphost; emit sgx-status 4096 s_sgx_status; } </dev/null | {
                exec 5<&0 </dev/null
                quick
                cat <&5
            }
            cat <&4
        }
        cat <&3
    }
    # As late as can be: what is told is when, too.
    emit time 2048 s_time
    printf '\n== end\n'
}

# A log may hold any byte, and what carries this output to the controller may not. All of it goes as one line, with a record
# separator at each line's end: reading a rack's output line by line cost the controller as much as judging it.
everything </dev/null | tr -c '\11\12\40-\176' '?' | tr '\12' '\36'
echo
exit 0
