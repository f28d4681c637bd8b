package sqlite

import (
	"fmt"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// applicationID marks the file as one of ours: "FBRK".
const applicationID = 0x4642524b

// migration brings a database from one version of the schema to the next: by a
// script, and then by code.
type migration struct {
	script string
	fill   func(conn *sqlite.Conn) error // nil: there is nothing to fill in
}

// migrations bring a database from version i to i+1. One that has landed is
// never changed; the last one's number is the schema's version.
var migrations = []migration{{schema1, nil}, {schema2, nil}, {schema3, linkHistory}, {schema4, nil}, {schema5, nil}, {schema6, nil}, {schema7, nil}}

const schema1 = `
CREATE TABLE tenant (
	no      INTEGER PRIMARY KEY,
	name    TEXT NOT NULL UNIQUE,
	clock   INTEGER NOT NULL,            -- the last tick or barrier
	erasure INTEGER NOT NULL DEFAULT 0   -- counts announced erasures
);
CREATE TABLE type  (no INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE param (no INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE owner (no INTEGER PRIMARY KEY, client TEXT NOT NULL, user TEXT NOT NULL, UNIQUE (client, user));

-- space is tenant<<8 | type; next is the counter of its keys.
CREATE TABLE space (no INTEGER PRIMARY KEY, next INTEGER NOT NULL);

CREATE TABLE version (
	key        INTEGER PRIMARY KEY,      -- space<<40 | counter
	space      INTEGER NOT NULL,
	id         NOT NULL,                 -- text, or a UUID as 16 bytes
	n          INTEGER NOT NULL,
	"from"     INTEGER NOT NULL,
	"to"       INTEGER,                  -- null: current
	deleted    INTEGER NOT NULL,
	owner      INTEGER NOT NULL,
	extraction INTEGER NOT NULL,         -- which way its terms were extracted
	batch      BLOB NOT NULL,            -- the id of its commit
	meta_at    INTEGER NOT NULL,
	patients   BLOB,                     -- whose compartments; null: no one's
	body       BLOB                      -- null: a tombstone
);
CREATE UNIQUE INDEX version_history ON version (space, id, n) WHERE "to" IS NOT NULL;
CREATE INDEX version_tombstone ON version (key) WHERE deleted;
CREATE INDEX version_closed ON version (space, "to") WHERE "to" IS NOT NULL;

CREATE TABLE current (
	space INTEGER NOT NULL,
	id    NOT NULL,
	key   INTEGER NOT NULL,
	PRIMARY KEY (space, id)
) WITHOUT ROWID;

CREATE TABLE link (
	seg    INTEGER NOT NULL,             -- key>>16
	target NOT NULL,                     -- a literal reference
	key    INTEGER NOT NULL,
	params BLOB NOT NULL,                -- numbers of param, as varints
	PRIMARY KEY (seg, target, key)
) WITHOUT ROWID;

CREATE TABLE job (
	tenant     INTEGER NOT NULL,
	id         TEXT NOT NULL,
	client     TEXT NOT NULL,
	user       TEXT NOT NULL,
	state      TEXT NOT NULL,
	cancel     INTEGER NOT NULL,         -- was one requested?
	discard_at INTEGER NOT NULL,         -- from when it may be removed; 0: unknown
	doc        TEXT NOT NULL,            -- job.Job as JSON
	kind       TEXT NOT NULL,
	dismissed  INTEGER NOT NULL,
	idem       TEXT NOT NULL,            -- the client's Idempotency-Key; '': none
	PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX job_key ON job (tenant, client, user, kind, idem) WHERE idem<>'' AND NOT dismissed;
CREATE INDEX job_open ON job (kind, tenant, client, user) WHERE discard_at=0 AND NOT cancel;
CREATE INDEX job_attend ON job (discard_at, id);

CREATE TABLE unit (
	tenant      INTEGER NOT NULL,
	job         TEXT NOT NULL,
	id          TEXT NOT NULL,
	kind        TEXT NOT NULL,
	phase       INTEGER NOT NULL,
	state       TEXT NOT NULL,
	attempt     INTEGER NOT NULL,
	errors      INTEGER NOT NULL,
	lost        INTEGER NOT NULL,
	run_at      INTEGER NOT NULL,        -- ms
	lease_until INTEGER NOT NULL,        -- ms
	planner     TEXT NOT NULL,           -- the unit and attempt that added it; "" with the job
	erasure     INTEGER NOT NULL DEFAULT 0, -- the tenant's erasure number when it was claimed
	resources   INTEGER NOT NULL DEFAULT 0,
	bytes       INTEGER NOT NULL DEFAULT 0,
	done        INTEGER NOT NULL DEFAULT 0, -- of planned
	planned     INTEGER NOT NULL,
	ended       INTEGER NOT NULL DEFAULT 0, -- ms
	args        TEXT,
	reason      TEXT,
	PRIMARY KEY (tenant, job, id)
) WITHOUT ROWID;
CREATE INDEX unit_open ON unit (state, run_at, tenant, job) WHERE state IN ('queued', 'running');

CREATE TABLE cohort (
	tenant  INTEGER NOT NULL,
	job     TEXT NOT NULL,
	patient NOT NULL,
	PRIMARY KEY (tenant, job, patient)
) WITHOUT ROWID;

CREATE TABLE find (
	tenant INTEGER NOT NULL,
	job    TEXT NOT NULL,
	type   TEXT NOT NULL,
	id     NOT NULL,
	PRIMARY KEY (tenant, job, type, id)
) WITHOUT ROWID;

CREATE TABLE part (
	tenant   INTEGER NOT NULL,
	job      TEXT NOT NULL,
	id       TEXT NOT NULL,
	unit     TEXT NOT NULL,
	category TEXT NOT NULL,
	type     TEXT NOT NULL,
	n        INTEGER NOT NULL,
	name     TEXT NOT NULL,
	count    INTEGER NOT NULL,
	size     INTEGER NOT NULL,
	sha256   TEXT NOT NULL,
	PRIMARY KEY (tenant, job, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX part_public ON part (tenant, job, category, type, n) WHERE n > 0;

CREATE TABLE part_patient (
	tenant  INTEGER NOT NULL,
	patient NOT NULL,
	job     TEXT NOT NULL,
	part    TEXT NOT NULL,
	PRIMARY KEY (tenant, job, part, patient)
) WITHOUT ROWID;
CREATE INDEX part_patient_by ON part_patient (tenant, patient);
`

// schema2 finds what is to be done, a job that is to stop and the unit whose
// turn it is, without a look at each of those under way.
const schema2 = `
CREATE INDEX job_stop ON job (id) WHERE discard_at=0 AND cancel;
DROP INDEX unit_open;
CREATE INDEX unit_turn ON unit (state, run_at, job, phase, id) WHERE state IN ('queued', 'running');
`

// recognise tells which schema a database has, before anything in it is
// touched. One that is not ours, or newer than this binary, is refused.
func recognise(conn *sqlite.Conn) (at int, err error) {
	id, err := pragmaInt(conn, "application_id")
	if err != nil {
		return 0, err
	}
	if at, err = pragmaInt(conn, "user_version"); err != nil {
		return 0, err
	}
	tables := 0
	if err := each(conn, `SELECT count(*) FROM sqlite_schema`, func(s *sqlite.Stmt) { tables = s.ColumnInt(0) }); err != nil {
		return 0, fmt.Errorf("sqlite: read the schema: %w", err)
	}
	switch {
	case id == 0 && at == 0 && tables == 0:
		return 0, nil // a new file
	case id != applicationID:
		return 0, fmt.Errorf("sqlite: %s is not a database of Firebreak", File)
	case at > len(migrations):
		return 0, fmt.Errorf("sqlite: the data has schema %d and this binary knows %d at most: run a newer firebreak", at, len(migrations))
	}
	return at, nil
}

// migrate brings the schema up to date, each step in a transaction of its own.
func migrate(conn *sqlite.Conn, at int) error {
	for ; at < len(migrations); at++ {
		if err := migrateOnce(conn, at); err != nil {
			return fmt.Errorf("sqlite: migrate to schema %d: %w", at+1, err)
		}
	}
	return nil
}

// migrateOnce makes one step, all or nothing.
func migrateOnce(conn *sqlite.Conn, at int) (err error) {
	end, err := sqlitex.ImmediateTransaction(conn)
	if err != nil {
		return err
	}
	defer end(&err)
	m := migrations[at]
	if err := sqlitex.ExecuteScript(conn, m.script, nil); err != nil {
		return err
	}
	if m.fill != nil {
		if err := m.fill(conn); err != nil {
			return err
		}
	}
	return sqlitex.ExecuteScript(conn, fmt.Sprintf("PRAGMA user_version=%d; PRAGMA application_id=%d;", at+1, applicationID), nil)
}

func pragmaInt(conn *sqlite.Conn, name string) (int, error) {
	stmt, _, err := conn.PrepareTransient("PRAGMA " + name)
	if err != nil {
		return 0, fmt.Errorf("sqlite: read %s: %w", name, err)
	}
	defer stmt.Finalize() //nolint:errcheck // nothing was written
	n, err := sqlitex.ResultInt(stmt)
	if err != nil {
		return 0, fmt.Errorf("sqlite: read %s: %w", name, err)
	}
	return n, nil
}
