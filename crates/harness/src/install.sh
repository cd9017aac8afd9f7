# Installs Debian packages without starting their services. Arguments: the packages. Runs as root.
set -eu
policy=/usr/sbin/policy-rc.d
export DEBIAN_FRONTEND=noninteractive
undo() {
    rm -f "$policy"
    [ ! -e "$policy.keyward" ] || mv "$policy.keyward" "$policy"
}
trap undo EXIT
trap 'exit 130' INT TERM HUP

# 101 means "not allowed": the packages' scripts then leave their services alone. A policy that is there is kept for later.
[ ! -e "$policy" ] || mv "$policy" "$policy.keyward"
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"
installed() { dpkg-query -W -f '${Package}\n'; }
before=" $(installed | tr '\n' ' ')"
apt-get update -q
# One that cannot be had must not keep the others away; the caller looks afterwards what is there.
install="apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=600"
$install "$@" || for package in "$@"; do $install "$package" || true; done

# Nor shall they start with the next boot: nobody asked for them but the tests, which start their own.
installed | while read -r package; do
    case "$before" in *" $package "*) continue ;; esac
    for unit in $(dpkg-query -L "$package" | sed -n 's#^.*/lib/systemd/system/\([^/@]*\.[a-z]*\)$#\1#p'); do
        ! command -v systemctl >/dev/null || systemctl --no-reload --quiet disable "$unit" || true
    done
done
