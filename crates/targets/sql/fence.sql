-- Keyward's fence in PostgreSQL, format 1. PostgreSQL 12 and later.
--
-- What it does: one call, keyward.apply(), decides whether an actor may still change a role's password, and changes it, in one transaction.
-- An actor that was frozen for an hour and wakes up is refused here, because check-and-set in Vault cannot stop it any more.
--
-- Install as the role that Keyward logs in with (`keyward init` does this; by hand: psql -1 -f fence.sql). That role needs
--   CREATE on the database, or an empty schema that it owns:  CREATE SCHEMA keyward AUTHORIZATION <admin>;
--   the right to alter the roles it rotates: CREATEROLE, and from PostgreSQL 16 on also ADMIN OPTION on each of them
--   (a CREATEROLE role has it on those it created; otherwise  GRANT <role> TO <admin> WITH ADMIN TRUE, INHERIT FALSE, SET FALSE).
-- No superuser is needed. Roles belong to the whole server, this table to one database: always name the same database for one server.
--
-- SECURITY INVOKER, on purpose: the caller's own right to alter the role decides, so that being able to call these functions gives nobody
-- any power. DEFINER would lend the admin's power over passwords to whoever is granted EXECUTE, by mistake or for monitoring.

DO $install$
BEGIN
    -- CREATE SCHEMA IF NOT EXISTS asks for CREATE on the database even where the schema stands already.
    IF to_regnamespace('keyward') IS NULL THEN
        CREATE SCHEMA keyward;
    END IF;
END
$install$;
REVOKE ALL ON SCHEMA keyward FROM PUBLIC;

-- Read before anything else; a newer number than the program knows is refused.
CREATE FUNCTION keyward.fence_format() RETURNS integer
LANGUAGE sql IMMUTABLE SECURITY INVOKER
AS 'SELECT 1';

-- One row per role, never deleted: it remembers the highest (number, phase) that ever passed.
CREATE TABLE keyward.role_fence (
    role       text        PRIMARY KEY,
    secret     text        NOT NULL CHECK (secret <> ''),
    number     bigint      NOT NULL CHECK (number > 0),
    phase      smallint    NOT NULL CHECK (phase BETWEEN 0 AND 2), -- 0 apply, 1 undo, 2 retire
    rotation   text        NOT NULL CHECK (rotation <> ''),
    changed_at timestamptz NOT NULL DEFAULT now()                  -- for people; decides nothing
);
REVOKE ALL ON TABLE keyward.role_fence FROM PUBLIC;

-- Sets the role's SCRAM verifier if (number, phase) is higher than the row's, or equal with the same rotation.
--
-- Answers one row: outcome 'applied', 'fenced' (a later actor has been here) or 'foreign' (the role belongs to another secret), and the row as it stands.
-- Errors: KW001 the role must not be changed through here, KW002 not a SCRAM-SHA-256 verifier, KW003 an argument is missing or out of range;
-- all others as PostgreSQL raises them, without the context that would repeat the statement.
CREATE FUNCTION keyward.apply(role text, secret text, number bigint, phase smallint, rotation text, verifier text)
RETURNS TABLE (outcome text, fence_secret text, fence_number bigint, fence_phase smallint, fence_rotation text)
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '3s'
AS $apply$
#variable_conflict use_column
DECLARE
    target record;
    passed boolean;
    code   text;
    said   text;
BEGIN
    IF (apply.number > 0 AND apply.phase BETWEEN 0 AND 2 AND apply.secret <> '' AND apply.rotation <> '') IS NOT TRUE THEN
        RAISE EXCEPTION 'keyward.apply: secret, number, phase and rotation must be given, number from 1, phase from 0 to 2' USING ERRCODE = 'KW003';
    END IF;
    -- Anything else PostgreSQL would take for a clear password.
    IF (apply.verifier ~ '^SCRAM-SHA-256[$][0-9]{1,9}:[A-Za-z0-9+/]+={0,2}[$][A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$') IS NOT TRUE THEN
        RAISE EXCEPTION 'keyward.apply: only a SCRAM-SHA-256 verifier may be set' USING ERRCODE = 'KW002';
    END IF;

    SELECT r.rolcanlogin, r.rolsuper, r.rolreplication INTO target FROM pg_catalog.pg_roles r WHERE r.rolname = apply.role;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'role "%" does not exist', apply.role USING ERRCODE = 'KW001';
    ELSIF apply.role IN (current_user, session_user) THEN
        RAISE EXCEPTION 'role "%" is the one that Keyward itself logs in with', apply.role USING ERRCODE = 'KW001';
    ELSIF target.rolsuper OR target.rolreplication THEN
        RAISE EXCEPTION 'role "%" is a superuser or replication role', apply.role USING ERRCODE = 'KW001';
    ELSIF apply.phase = 0 AND NOT target.rolcanlogin THEN
        -- Undoing or retiring does no harm to a role that somebody has barred from logging in.
        RAISE EXCEPTION 'role "%" cannot log in', apply.role USING ERRCODE = 'KW001';
    END IF;

    -- One statement takes the row's lock, compares and writes; whoever comes second waits for the first one's transaction and then compares.
    INSERT INTO keyward.role_fence AS f (role, secret, number, phase, rotation)
    VALUES (apply.role, apply.secret, apply.number, apply.phase, apply.rotation)
    ON CONFLICT ON CONSTRAINT role_fence_pkey DO UPDATE
    SET number = excluded.number, phase = excluded.phase, rotation = excluded.rotation, changed_at = now()
    WHERE f.secret = excluded.secret
      AND ((excluded.number, excluded.phase) > (f.number, f.phase)
        OR ((excluded.number, excluded.phase) = (f.number, f.phase) AND excluded.rotation = f.rotation));
    passed := FOUND;

    IF passed THEN
        -- Changes nothing, but waits for whoever is altering the role just now: a statement that waits may be logged with its text, and this one holds no verifier.
        EXECUTE format('ALTER ROLE %I', apply.role);
        EXECUTE format('ALTER ROLE %I PASSWORD %L', apply.role, apply.verifier);
    END IF;

    RETURN QUERY
    SELECT CASE WHEN passed THEN 'applied' WHEN f.secret = apply.secret THEN 'fenced' ELSE 'foreign' END,
           f.secret, f.number, f.phase, f.rotation
    FROM keyward.role_fence f WHERE f.role = apply.role;
EXCEPTION WHEN query_canceled OR OTHERS THEN
    -- Raised anew, so that the context (which repeats the inner statement, verifier and all) reaches neither the client nor the log.
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, said = MESSAGE_TEXT;
    RAISE EXCEPTION USING ERRCODE = code, MESSAGE = replace(said, coalesce(apply.verifier, ''), '(verifier)');
END
$apply$;
REVOKE ALL ON FUNCTION keyward.apply(text, text, bigint, smallint, text, text) FROM PUBLIC;

-- The role's row, or none.
CREATE FUNCTION keyward.fence(role text)
RETURNS TABLE (secret text, number bigint, phase smallint, rotation text)
LANGUAGE sql STABLE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $fence$
    SELECT f.secret, f.number, f.phase, f.rotation FROM keyward.role_fence f WHERE f.role = fence.role
$fence$;
REVOKE ALL ON FUNCTION keyward.fence(text) FROM PUBLIC;

-- Hands a role over from one secret to another, for a secret that was renamed. The number stays, so that actors of before stay fenced off.
CREATE FUNCTION keyward.reassign(role text, from_secret text, to_secret text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '3s'
AS $reassign$
BEGIN
    UPDATE keyward.role_fence f SET secret = reassign.to_secret, changed_at = now()
    WHERE f.role = reassign.role AND f.secret = reassign.from_secret;
    RETURN FOUND;
END
$reassign$;
REVOKE ALL ON FUNCTION keyward.reassign(text, text, text) FROM PUBLIC;
