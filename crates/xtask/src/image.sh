# Builds the Dockerfile without a container engine, on bases made here: image.sh DIR CHECKOUT MIRROR TAG-OF-RUST
# Nothing is pulled: a Debian made by debootstrap stands in for `debian`, and the same with this machine's Rust for `rust`.
set -eu
dir=$1 checkout=$2 mirror=$3 rust=$4
cd "$dir"
say() { printf '\n── %s\n' "$*" >&2; }
buildah() { command buildah --root "$dir/storage" --runroot "$dir/run" --storage-driver vfs "$@"; }
base() { # base ROOTFS IMAGE [ENV...]: an image of one layer
    rootfs=$1 image=$2
    shift 2
    container=$(buildah from scratch)
    tar -C "$rootfs" -cf base.tar .
    buildah add --quiet "$container" base.tar / >/dev/null
    for setting in "$@"; do buildah config --env "$setting" "$container"; done
    buildah commit --quiet "$container" "$image" >/dev/null
    buildah rm "$container" >/dev/null
    rm base.tar
}

say "a Debian of its own, for both stages"
mkdir cache
debootstrap --variant=minbase --cache-dir="$dir/cache" bookworm slim "$mirror" >debootstrap.log
debootstrap --variant=minbase --cache-dir="$dir/cache" --include=gcc,libc6-dev,ca-certificates bookworm rust "$mirror" >>debootstrap.log
base slim localhost/debian:bookworm-slim

say "this machine's Rust and its downloaded crates, in the first"
mkdir -p rust/usr/local/cargo
cp -a "$(rustc --print sysroot)" rust/usr/local/rust
cp -a "${CARGO_HOME:-$HOME/.cargo}/registry" rust/usr/local/cargo/registry
base rust "localhost/rust:$rust" PATH=/usr/local/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin CARGO_HOME=/usr/local/cargo CARGO_NET_OFFLINE=true
rm -rf rust slim cache

say "the Dockerfile"
buildah bud --isolation=chroot --pull-never --format docker --tag keyward "$checkout"

say "what came of it"
container=$(buildah from --pull-never localhost/keyward)
inside() { buildah run --isolation=chroot "$container" -- "$@"; }
inside /usr/bin/keyward --version
# A configuration that is not there is a clear error and exit code 64.
status=0
inside /usr/bin/keyward plan || status=$?
[ "$status" = 64 ] || { echo "keyward plan without a configuration ended with $status" >&2; exit 1; }
# No daemon answers: exit code 69.
printf '[vault]\naddress = "https://127.0.0.1:1"\n' >keyward.toml
buildah add --quiet "$container" keyward.toml /etc/keyward/keyward.toml >/dev/null
status=0
inside /usr/bin/keyward health || status=$?
[ "$status" = 69 ] || { echo "keyward health without a daemon ended with $status" >&2; exit 1; }
buildah inspect --type image --format '{{.Docker.Config.User}} {{.Docker.Config.Entrypoint}} {{.Docker.Config.Healthcheck.Test}}' localhost/keyward
user=$(buildah inspect --type image --format '{{.Docker.Config.User}}' localhost/keyward)
[ "$user" = 65532:65532 ] || { echo "the image's user is $user" >&2; exit 1; }
# The binary needs nothing but the C library: no shell, no other program.
mount=$(buildah mount "$container")
chroot "$mount" /usr/bin/ldd /usr/bin/keyward
stat -c '%U:%G %a %n' "$mount/var/lib/keyward"
buildah umount "$container" >/dev/null
