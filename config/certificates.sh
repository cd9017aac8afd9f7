#!/bin/sh
# Makes the certificates that compose.yaml needs, once: an authority, and one certificate each for Vault and PostgreSQL.
# The authority's key is not kept, so nothing can be signed with it later; to renew, remove the volumes `tls-*` and start anew.
set -eu
umask 077

# $1: folder, $2: name, $3: owner's numeric user and group
leaf() {
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" -keyout "$1/$2.key" -out "$work/$2.csr" 2>/dev/null
    printf 'subjectAltName=DNS:%s,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' "$2" >"$work/$2.ext"
    openssl x509 -req -in "$work/$2.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 397 \
        -extfile "$work/$2.ext" -out "$1/$2.pem" 2>/dev/null
    chown -R "$3" "$1"
    chmod 0644 "$1/$2.pem"
    chmod 0755 "$1"
}

if [ -s /tls/ca/ca.pem ]; then
    echo "certificates: there already"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 397 -subj "/CN=keyward compose authority" \
    -keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
leaf /tls/vault vault 100:1000
leaf /tls/postgres postgres 999:999
# Last, because it says that all is there.
cp "$work/ca.pem" /tls/ca/ca.pem
chmod 0755 /tls/ca
chmod 0644 /tls/ca/ca.pem
echo "certificates: made, valid for 397 days"
