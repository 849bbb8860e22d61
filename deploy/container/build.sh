#!/usr/bin/env bash
# Builds a static mio-echo and an image with it. Needs buildah (apt-get install buildah), and no container engine.
#
#   deploy/container/build.sh [NAME]      default: localhost/mio-echo
#
# With MIO_ECHO_TRY=1 it also builds the image a second time, which must be the same, and runs a load and the tester
# inside it.
set -euo pipefail
cd "$(dirname "$0")/../.."
name=${1:-localhost/mio-echo}
target=x86_64-unknown-linux-gnu

# glibc is linked in. Numeric addresses need nothing else at run time; hostnames need the system's resolver libraries.
RUSTFLAGS='-C target-feature=+crt-static' CARGO_TARGET_DIR=target/static \
  cargo build --locked --release -p mio-echo --target "$target"
context=$(mktemp -d)
container=
# chroot and vfs need no privileges of a container engine.
buildah() { command buildah --storage-driver vfs "$@"; }
clean_up() {
  rm -rf "$context"
  [ -z "$container" ] || buildah rm "$container" >/dev/null
}
trap clean_up EXIT
cp "target/static/$target/release/mio-echo" deploy/container/Containerfile "$context/"

# Without a timestamp, the same program gives the same image.
image() { buildah bud --quiet --isolation chroot --timestamp 0 --tag "$name" "$context"; }
id=$(image)
echo "$name is image ${id:0:12}, with a program of $(stat --format %s "$context/mio-echo") bytes"

[ "${MIO_ECHO_TRY:-0}" = 1 ] || exit 0
again=$(image)
[ "$again" = "$id" ] || { echo "the second build is another image: ${again:0:12}" >&2; exit 1; }
container=$(buildah from "$name")
inside() { buildah run --isolation chroot "$container" -- /mio-echo "$@"; }
# bench without an address has a server of its own.
inside bench -n 2000 -c 10 --fail-if 'errors>0'
inside check --only echo,ends --strict -- /mio-echo serve '{address}' -q
