#!/bin/sh
# Runs once, when PostgreSQL's data folder is new: the role that changes passwords, and the two roles whose passwords it changes.
# It is no superuser: it owns nothing but what it creates itself, and has a say over those two roles alone.
set -eu
psql --set=ON_ERROR_STOP=1 --username postgres --dbname postgres <<'SQL'
-- Read by psql itself, so that the password stands in no process's arguments; and kept out of the server's log.
\set password `cat /run/secrets/keyward-db-password`
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SET password_encryption = 'scram-sha-256';
CREATE ROLE keyward LOGIN CREATEROLE PASSWORD :'password';
CREATE DATABASE backend;
-- For its own schema with the function that changes passwords (`keyward init postgres`).
GRANT CREATE ON DATABASE backend TO keyward;
-- To see from where a role is still in use, before its old password is retired.
GRANT pg_read_all_stats TO keyward;
-- To keep bound parameters out of the server's log in its own sessions.
GRANT SET ON PARAMETER log_parameter_max_length, log_parameter_max_length_on_error TO keyward;
SET ROLE keyward;
CREATE ROLE backend_a LOGIN;
CREATE ROLE backend_b LOGIN;
SQL
