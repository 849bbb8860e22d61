#!/usr/bin/env bash
# Builds a static mio-echo and an image with it. Needs buildah (apt-get install buildah), and no container engine.
#
#   deploy/container/build.sh [NAME]      default: localhost/mio-echo
#
# With MIO_ECHO_TRY=1 it also runs the server, a load and the tester inside the image.
set -euo pipefail
cd "$(dirname "$0")/../.."
name=${1:-localhost/mio-echo}
target=x86_64-unknown-linux-gnu

# glibc is linked in. Numeric addresses need nothing else at run time; hostnames need the system's resolver libraries.
RUSTFLAGS='-C target-feature=+crt-static' CARGO_TARGET_DIR=target/static \
  cargo build --locked --release -p mio-echo --target "$target"
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp "target/static/$target/release/mio-echo" deploy/container/Containerfile "$context/"
file -b "$context/mio-echo" 2>/dev/null || true

# chroot and vfs need no privileges of a container engine. Without a timestamp, the same program gives the same image.
buildah() { command buildah --storage-driver vfs "$@"; }
buildah bud --isolation chroot --timestamp 0 --tag "$name" "$context"

[ "${MIO_ECHO_TRY:-0}" = 1 ] || exit 0
container=$(buildah from "$name")
trap 'rm -rf "$context"; buildah rm "$container" >/dev/null' EXIT
inside() { buildah run --isolation chroot "$container" -- /mio-echo "$@"; }
# bench without an address has a server of its own.
inside bench -n 2000 -c 10
inside check --only echo,ends --strict -- /mio-echo serve '{address}' -q
