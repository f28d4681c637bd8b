package sqlite

// schema5 has certificates, which stay when their jobs are gone.
const schema5 = `
CREATE TABLE certificate (
	tenant INTEGER NOT NULL,
	number INTEGER NOT NULL,             -- in the tenant's chain, from 1
	job    TEXT NOT NULL,
	doc    BLOB NOT NULL,
	UNIQUE (tenant, number),
	UNIQUE (tenant, job)
);
`
