#!/usr/bin/env bash
# Run the Rust tests on an emulated x86-64 machine with AVX-512; arguments go to `cargo test`. See README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/emulated/require.sh

target=x86_64-unknown-linux-gnu
require_target "$target"
for program in g++ make strip; do
    require "$program" build-essential
done
require apt-get apt
require xz xz-utils
require cpio cpio
require xorriso xorriso
require busybox busybox-static
require /usr/lib/ISOLINUX/isolinux.bin isolinux
require /usr/lib/syslinux/modules/bios/ldlinux.c32 syslinux-common
require /usr/share/seabios/vgabios-stdvga.bin seabios

cache=${CARGO_TARGET_DIR:-$PWD/target}/emulated
mkdir -p "$cache"
cache=$(realpath "$cache")

# Debian's own build has the debugger in, which makes it slow, and releases before 2.8 know no BF16.
build_bochs() {
    local from=$cache/bochs-source apt site
    rm -rf "$from"
    mkdir -p "$from/lists/partial" "$from/tree"
    # shellcheck disable=SC2016 # the format's own names
    site=$(apt-get indextargets --format '$(SITE) $(LABEL)' 'Created-By: Packages' |
        awk '$2 == "Debian" && !found++ {print $1}')
    [ -n "$site" ] || { echo "avx512.sh: apt knows no Debian repository to fetch Bochs from" >&2 && exit 2; }
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site trixie main" >"$from/sources.list"
    apt=(-qq -o Dir::Etc::SourceList="$from/sources.list" -o Dir::Etc::SourceParts=- -o APT::Sandbox::User=
        -o Dir::State::Lists="$from/lists" -o Dir::Cache="$from" -o Acquire::Languages=none)
    apt-get "${apt[@]}" update
    (cd "$from" && apt-get "${apt[@]}" source --download-only --tar-only bochs)
    tar -xf "$from"/bochs_*.orig.tar.xz -C "$from/tree" --strip-components=1
    (
        cd "$from/tree"
        # Its report of speed runs in a signal handler that locks the log, and so hangs now and then.
        ./configure --with-nogui --enable-x86-64 --enable-avx --enable-evex --enable-all-optimizations \
            --disable-show-ips --disable-docbook
        make -j"${CARGO_BUILD_JOBS:-$(nproc)}"
    ) >"$cache/bochs-build.log" 2>&1 || {
        echo "avx512.sh: Bochs did not build; see $cache/bochs-build.log" >&2
        exit 2
    }
    mv "$from/tree/bochs" "$cache/bochs"
    rm -rf "$from"
}

fetch_kernel() {
    local from=$cache/kernel-package package
    rm -rf "$from"
    mkdir -p "$from"
    package=$(apt-cache depends linux-image-cloud-amd64 | awk '$1 == "Depends:" && !found++ {print $2}')
    (cd "$from" && apt-get -qq -o APT::Sandbox::User= download "$package" && dpkg -x "$package"_*.deb .)
    mv "$from"/boot/vmlinuz-* "$cache/vmlinuz"
    rm -rf "$from"
}

[ -x "$cache/bochs" ] || { echo "building Bochs, once, a few minutes" && build_bochs; }
[ -f "$cache/vmlinuz" ] || { echo "fetching a Linux kernel, once" && fetch_kernel; }

# Optimised, or emulation takes too long; the debug assertions stay on.
export CARGO_PROFILE_TEST_OPT_LEVEL=2
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static"
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$PWD/tests/emulated/bochs.sh $cache"

exec cargo test --package metarec-core --target "$target" "$@"
