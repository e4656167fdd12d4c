# shellcheck shell=bash
# Sourced by the scripts beside it.

# require WHAT PACKAGE: fail with a clear message unless WHAT, a program or a file, is there.
require() {
    command -v "$1" >/dev/null || [ -e "$1" ] || {
        echo "$(basename "$0"): $1 is missing; install it with: apt-get install $2" >&2
        exit 2
    }
}

# require_target TRIPLE: the same for a target of the Rust toolchain.
require_target() {
    command -v rustc >/dev/null || {
        echo "$(basename "$0"): a Rust toolchain is needed: https://rustup.rs" >&2
        exit 2
    }
    [ -d "$(rustc --print sysroot)/lib/rustlib/$1/lib" ] || {
        echo "$(basename "$0"): Rust cannot build for $1; install it with: rustup target add $1" >&2
        exit 2
    }
}
