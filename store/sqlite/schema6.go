package sqlite

// schema6 is what ledgers need.
const schema6 = `
CREATE TABLE ledger (
	id     TEXT PRIMARY KEY,
	"from" INTEGER NOT NULL,             -- entries it had when it was last going to have more
	"to"   INTEGER NOT NULL              -- how many it was going to have then
) WITHOUT ROWID;
`
