#!/usr/bin/env bash
# Run a static program on an emulated Sapphire Rapids, as `cargo test` asks for; avx512.sh prepares CACHE.
# usage: bochs.sh CACHE PROGRAM [ARGUMENT...]
set -euo pipefail
cache=$1 program=$2 name=$(basename "$2")
shift 2

limit=${METAREC_TEST_TIMEOUT:-1800}
machine=$(mktemp -d)
bochs=
trap '[ -z "$bochs" ] || kill "$bochs" 2>/dev/null || true; rm -rf "$machine"' EXIT

mkdir -p "$machine"/root/{bin,dev,proc,sys,tmp} "$machine/disc/isolinux"
cp "$(command -v busybox)" "$machine/root/busybox"
strip --strip-debug -o "$machine/root/bin/$name" "$program"
{
    echo '#!/busybox sh'
    echo '/busybox mount -t devtmpfs none /dev'
    echo '/busybox mount -t proc none /proc'
    echo '/busybox mount -t sysfs none /sys'
    for variable in $(compgen -e | grep -E '^(METAREC|PROPTEST|RAYON|RUST)_'); do
        echo "export $variable=${!variable@Q}"
    done
    echo "/bin/$name ${*@Q}; status=\$?"
    echo "echo; echo \"exit status: \$status\""
    echo 'while :; do /busybox sleep 1000; done'
} >"$machine/root/init"
chmod +x "$machine/root/init"
(cd "$machine/root" && find . | cpio --create --format=newc --owner=0:0 --quiet) >"$machine/disc/initrd"

cp "$cache/vmlinuz" "$machine/disc/"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$machine/disc/isolinux/"
# Without fsrm: the firmware leaves fast strings off, on which Linux drops ERMS alone, and its memmove for FSRM
# without ERMS overruns. Time follows the TSC, since Bochs has no steadier clock.
cat >"$machine/disc/isolinux/isolinux.cfg" <<'END'
default test
label test
  kernel /vmlinuz
  append initrd=/initrd console=ttyS0 loglevel=1 clearcpuid=fsrm tsc=reliable lpj=1000000 mitigations=off nokaslr acpi=off noapic pci=off
END
xorriso -as mkisofs -quiet -o "$machine/disc.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat \
    -no-emul-boot -boot-load-size 4 -boot-info-table "$machine/disc" 2>"$machine/xorriso.log"

cat >"$machine/bochsrc" <<END
config_interface: textconfig
display_library: nogui
romimage: file=/usr/share/seabios/bios.bin
vgaromimage: file=/usr/share/seabios/vgabios-stdvga.bin
cpu: model=${METAREC_EMULATED_CPU:-sapphire_rapids}, ips=10000000, ignore_bad_msrs=1
memory: guest=1024, host=1024
ata0-master: type=cdrom, path=$machine/disc.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=/dev/fd/3
panic: action=fatal
error: action=ignore
info: action=ignore
END
# The serial port is file descriptor 3 there and 4 here.
exec 4< <(exec timeout --kill-after=5 "$limit" "$cache/bochs" -q -f "$machine/bochsrc" \
    3>&1 >"$machine/output" 2>&1 </dev/null)
bochs=$!

while IFS= read -r line <&4; do
    line=${line%$'\r'}
    case $line in
        "exit status: "*) exit "${line##* }" ;;
        *"Kernel panic"*) echo "$line" && exit 1 ;;
        *) printf '%s\n' "$line" ;;
    esac
done
echo "bochs.sh: $program took more than $limit seconds, or the emulator stopped:" >&2
tail -n 12 "$machine/output" >&2
exit 1
