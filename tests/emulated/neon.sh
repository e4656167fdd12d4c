#!/usr/bin/env bash
# Run the Rust tests on an emulated AArch64 machine; arguments go to `cargo test`. See README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/emulated/require.sh

target=aarch64-unknown-linux-gnu
require_target "$target"
require qemu-aarch64 qemu-user
require aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu
require /usr/aarch64-linux-gnu/lib/libc.so.6 libc6-dev-arm64-cross

# Optimised, or emulation takes minutes; the debug assertions stay on.
export CARGO_PROFILE_TEST_OPT_LEVEL=2
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="timeout ${METAREC_TEST_TIMEOUT:-1800} \
qemu-aarch64 -cpu ${METAREC_EMULATED_CPU:-max} -L /usr/aarch64-linux-gnu"

exec cargo test --package metarec-core --target "$target" "$@"
