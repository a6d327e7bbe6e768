#!/usr/bin/env bash
# Runs a command in Debian on an emulated 64-bit ARM processor: emulated.sh FOLDER COMMAND...
# FOLDER is /mnt there and where the command starts. There is no network. The system is made once, in runtime/build/arm64;
# that of SUITE=trixie, which is Debian 13 instead of 12, in runtime/build/arm64-trixie.
# Needs: apt-get install mmdebstrap qemu-user-static util-linux, and a kernel (6.7 or newer) that allows user namespaces.
# QEMU_CPU chooses the processor: cortex-a53, cortex-a72 (default), cortex-a76.
set -euo pipefail
folder=$(realpath "$1")
shift
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/build/arm64${SUITE:+-$SUITE}
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64)
suite=${SUITE:-bookworm}
packages=python3,python3-venv,openssh-sftp-server,ca-certificates,g++,base-files,bash,coreutils,dash,findutils,grep,gzip,libc-bin,sed,tar

if [ "$(cat "$root/made" 2>/dev/null)" != "$packages" ]; then
    rm -rf "$root"
    mkdir -p "$root"
    mmdebstrap --quiet --variant=extract --arch=arm64 --include="$packages" "$suite" "$root" >&2
    mkdir -p "$root"/{proc,sys/devices/system/cpu,mnt,root,tmp,dev}
    ln -sf dash "$root/bin/sh"
    echo root:x:0:0:root:/root:/bin/sh >"$root/etc/passwd"
    cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
    # LiteRT looks for the processor there before it runs, and in cpuinfo (under /proc without a chroot).
    echo 0-1 | tee "$root"/sys/devices/system/cpu/{possible,present,online} >/dev/null
    for core in 0 1; do
        printf 'processor\t: %s\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\n' $core
        printf 'CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n'
    done | tee "$root/cpuinfo" >"$root/proc/cpuinfo"
    echo "$packages" >"$root/made"
fi

inside='
set -e
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
printf "%s" ":arm64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:$1:F" >/proc/sys/fs/binfmt_misc/register
mount --bind "$3" "$2/mnt"
for name in null zero random urandom; do touch "$2/dev/$name"; mount --bind "/dev/$name" "$2/dev/$name"; done
mount -t proc proc "$2/proc"
mount --bind "$2/cpuinfo" "$2/proc/cpuinfo"
root=$2
shift 3
exec chroot "$root" /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/root LANG=C.UTF-8 QEMU_CPU="$QEMU_CPU" \
    sh -c "cd /mnt && exec \"\$@\"" sh "$@"
'
export QEMU_CPU=${QEMU_CPU:-cortex-a72}
exec unshare --user --map-root-user --mount --pid --fork --kill-child sh -c "$inside" sh "$qemu" "$root" "$folder" "$@"
