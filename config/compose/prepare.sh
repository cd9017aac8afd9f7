#!/bin/sh
# Puts the secrets that compose.yaml mounts into config/compose/secrets: two random database passwords, and empty files for
# what only you or Vault can give. What is there already stays as it is.
set -eu
umask 077
cd "$(dirname "$0")/secrets"

for name in postgres-password keyward-db-password; do
    [ -s "$name" ] || head -c 30 /dev/urandom | base64 | tr -d '+/=\n' >"$name"
done
for name in role-id secret-id smtp-password; do
    [ -e "$name" ] || : >"$name"
done
# The containers' users are not yours; the folder keeps everybody else out.
chmod 0644 ./*
chmod 0700 .
ls -l
