package sqlite

// schema4 has holds. What each of them is on has rows of its own, by which an
// erasure finds it.
const schema4 = `
CREATE TABLE hold (
	tenant    INTEGER NOT NULL,
	id        TEXT NOT NULL,
	kind      TEXT NOT NULL,             -- store.HoldOn
	subject   TEXT NOT NULL,
	by        TEXT NOT NULL,
	why       TEXT NOT NULL,
	begun     INTEGER NOT NULL,          -- ms
	until     INTEGER NOT NULL,          -- ms; 0: until it is lifted
	lifted    INTEGER NOT NULL,          -- ms; 0: it was not
	lifted_by TEXT NOT NULL,
	PRIMARY KEY (tenant, id)
) WITHOUT ROWID;

-- Until the hold is lifted. An empty patient: it is on the tenant.
CREATE TABLE held (
	tenant  INTEGER NOT NULL,
	patient NOT NULL,
	hold    TEXT NOT NULL,
	PRIMARY KEY (tenant, patient, hold)
) WITHOUT ROWID;
CREATE INDEX held_by ON held (tenant, hold);
`
