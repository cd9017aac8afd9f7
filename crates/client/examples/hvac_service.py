#!/usr/bin/env python3
"""A service in Python that uses what Keyward publishes, and goes on while it is rotated.

It logs in by AppRole (again when its token has ended), reads a secret anew when what it holds is older than a few seconds, and at once when
a login is refused; then it tries again. Needs hvac (Debian: python3-hvac) and psql.

    VAULT_ADDR, VAULT_CACERT, VAULT_ROLE_ID, VAULT_SECRET_ID_FILE, VAULT_APPROLE_MOUNT (approle)
    hvac_service.py MOUNT PATH 'host=db.example.com dbname=app' 'SELECT count(*) FROM orders'

Prints a line per query: "ok VERSION ANSWER" or "failed VERSION". Values are never printed, and go to psql by its environment.
"""

import os
import subprocess
import sys
import time

import hvac

MAX_AGE_SECONDS = 5.0
PAUSE_SECONDS = 0.2


class Vault:
    """A session that logs in when it has to."""

    def __init__(self):
        self._client = hvac.Client(url=os.environ["VAULT_ADDR"], verify=os.environ.get("VAULT_CACERT", True))
        self._log_in()

    def _log_in(self):
        # The file is read each time: Keyward may have put a new secret id there.
        with open(os.environ["VAULT_SECRET_ID_FILE"], encoding="utf-8") as file:
            secret_id = file.read().strip()
        mount = os.environ.get("VAULT_APPROLE_MOUNT", "approle")
        self._client.auth.approle.login(role_id=os.environ["VAULT_ROLE_ID"], secret_id=secret_id, mount_point=mount)

    def read(self, mount, path):
        """The newest version of a secret: its number and its fields."""
        try:
            answer = self._client.secrets.kv.v2.read_secret_version(path=path, mount_point=mount)
        except hvac.exceptions.Forbidden:
            self._log_in()
            answer = self._client.secrets.kv.v2.read_secret_version(path=path, mount_point=mount)
        return answer["data"]["metadata"]["version"], answer["data"]["data"]


class Secret:
    """A secret that is never older than it may be."""

    def __init__(self, vault, mount, path):
        self._vault, self._mount, self._path = vault, mount, path
        self.refresh()

    def current(self):
        if time.monotonic() - self._read_at > MAX_AGE_SECONDS:
            self.refresh()
        return self.version, self.fields

    def refresh(self):
        self.version, self.fields = self._vault.read(self._mount, self._path)
        self._read_at = time.monotonic()


def query(place, fields, statement):
    """The answer; None where the login or the statement is refused."""
    environment = dict(os.environ, PGUSER=fields["username"], PGPASSWORD=fields["password"], PGCONNECT_TIMEOUT="10")
    command = ["psql", "--no-psqlrc", "--no-password", "--tuples-only", "--no-align", "--dbname", place, "--command", statement]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return done.stdout.decode().strip() if done.returncode == 0 else None


def main():
    mount, path, place, statement = sys.argv[1:5]
    secret = Secret(Vault(), mount, path)
    while True:
        version, fields = secret.current()
        answer = query(place, fields, statement)
        if answer is None:
            # Refused: it may have been rotated since it was read.
            secret.refresh()
            version, fields = secret.version, secret.fields
            answer = query(place, fields, statement)
        print(f"failed {version}" if answer is None else f"ok {version} {answer}", flush=True)
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
