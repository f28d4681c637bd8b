package sqlite

import (
	"slices"

	"firebreak/fhir"
	"firebreak/fhir/search"

	"zombiezen.com/go/sqlite"
)

// schema3 is what erasing needs. The links of versions that were replaced, and
// of tombstones, are filled in by linkHistory; with them nothing reads
// version_closed any more.
const schema3 = `
DROP INDEX version_closed;

ALTER TABLE version ADD COLUMN detached INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tenant ADD COLUMN erasure_removed INTEGER NOT NULL DEFAULT 0; -- the last announcement that went with its job
ALTER TABLE unit ADD COLUMN erased_versions  INTEGER NOT NULL DEFAULT 0;
ALTER TABLE unit ADD COLUMN erased_resources INTEGER NOT NULL DEFAULT 0;
ALTER TABLE unit ADD COLUMN total_versions   INTEGER NOT NULL DEFAULT 0; -- to erase, as was noted
ALTER TABLE unit ADD COLUMN total_resources  INTEGER NOT NULL DEFAULT 0;
ALTER TABLE unit ADD COLUMN result  TEXT;
ALTER TABLE unit ADD COLUMN updated INTEGER NOT NULL DEFAULT 0; -- ms
ALTER TABLE job ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0; -- what units that are added count on from, since it began anew
ALTER TABLE part ADD COLUMN void INTEGER NOT NULL DEFAULT 0; -- 1: voided, its bytes may be there; 2: forgotten

CREATE TABLE erasure (
	tenant  INTEGER NOT NULL,
	job     TEXT NOT NULL,
	patient NOT NULL,
	number  INTEGER NOT NULL,            -- of the announcement
	PRIMARY KEY (tenant, job, patient)
) WITHOUT ROWID;
CREATE INDEX erasure_patient ON erasure (tenant, patient, number);

CREATE TABLE notice (
	tenant INTEGER NOT NULL,
	owner  INTEGER NOT NULL,             -- who is to hear that it was erased
	type   TEXT NOT NULL,
	id     TEXT NOT NULL,
	until  INTEGER NOT NULL,             -- ms
	PRIMARY KEY (tenant, owner, type, id)
) WITHOUT ROWID;
CREATE INDEX notice_until ON notice (until);
`

// migrated is how many links are held in memory, and written in the order of
// the index.
const migrated = 50_000

// linkHistory makes the links of all versions that are not current, and of
// tombstones, which earlier schemas did not keep.
func linkHistory(conn *sqlite.Conn) error {
	w := &writer{conn: conn}
	if err := w.reload(); err != nil {
		return err
	}
	h := history{tx: &tx{w: w, conn: conn}}
	stmt, err := conn.Prepare(`SELECT key, id, deleted, patients, body FROM version WHERE "to" IS NOT NULL OR deleted ORDER BY key`)
	if err != nil {
		return err
	}
	if err := rows(stmt, func() error { return h.add(stmt) }); err != nil {
		return err
	}
	return h.flush()
}

// history is links in the making.
type history struct {
	*tx
	links []link
}

// add makes the links of the version that stmt stands on.
func (h *history) add(stmt *sqlite.Stmt) error {
	key := stmt.ColumnInt64(0)
	id := fhir.ID{Type: h.w.dict.typeNames[space(key>>counterBits).typ()], ID: columnID(stmt, 1)}
	var named []search.Term
	if stmt.ColumnBool(2) {
		named = compartments(columnBytes(stmt, 3, nil))
	} else {
		named = terms(id, columnBytes(stmt, 4, nil))
	}
	if h.links = appendLinks(h.links, key, named); len(h.links) < migrated {
		return nil
	}
	return h.flush()
}

func (h *history) flush() error {
	slices.SortFunc(h.links, link.compare)
	for _, l := range h.links {
		if err := h.insertLink(l); err != nil {
			return err
		}
	}
	h.links = h.links[:0]
	return nil
}
