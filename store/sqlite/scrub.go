package sqlite

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"firebreak/store"

	"zombiezen.com/go/sqlite"
)

// Scrub is store.Eraser.
//
// With secure_delete SQLite overwrites a cell that it removes and a page that
// it frees. What it leaves is in the unallocated parts of pages: when cells are
// moved between pages, the place where they were is not overwritten. So each
// page of each table and index is looked at, and zeros are written where
// nothing is. Vacuum would do the same, but it writes all that there is, and
// needs as much room beside it. Then the WAL is copied and cut to nothing.
//
// It is done in one go, as a page that was looked at may take the place of one
// that was not when others write in between.
func (s *Store) Scrub(ctx context.Context) (store.Traces, error) {
	err := s.w.doAlone(ctx, func(conn *sqlite.Conn) error { return scrubPages(ctx, conn) })
	for err == nil {
		busy := false
		err = s.w.doAlone(ctx, func(conn *sqlite.Conn) (err error) {
			busy, err = cutWAL(conn)
			return err
		})
		if err != nil || !busy {
			break
		}
		err = wait(ctx, readersPause)
	}
	return store.Traces{}, orContext(ctx, err)
}

// readersPause is how long readers have, after they kept the WAL from being
// cut, before it is tried again.
const readersPause = 50 * time.Millisecond

// cutWAL copies the WAL into the database and cuts it; busy: somebody reads it.
func cutWAL(conn *sqlite.Conn) (busy bool, err error) {
	stmt, err := conn.Prepare(`PRAGMA wal_checkpoint(TRUNCATE)`)
	if err != nil {
		return false, err
	}
	err = rows(stmt, func() error {
		busy = stmt.ColumnBool(0)
		return nil
	})
	return busy, err
}

// scrubbedAtOnce is how many pages are overwritten in one transaction.
const scrubbedAtOnce = 4000

// scrubPages overwrites the unallocated parts of all pages of tables and
// indexes. If it is broken off, what it did is done.
func scrubPages(ctx context.Context, conn *sqlite.Conn) error {
	todo := []int64{1} // the table of tables itself
	err := each(conn, `SELECT rootpage FROM sqlite_schema WHERE rootpage>0`, func(st *sqlite.Stmt) { todo = append(todo, st.ColumnInt64(0)) })
	for err == nil && len(todo) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err = step(conn, `BEGIN IMMEDIATE`); err != nil {
			break
		}
		if todo, err = scrubSome(conn, todo); err == nil {
			err = step(conn, `COMMIT`)
		}
		if err != nil && !conn.AutocommitEnabled() {
			return errors.Join(err, step(conn, `ROLLBACK`))
		}
		if err == nil {
			err = exec(conn, `PRAGMA wal_checkpoint(PASSIVE)`)
		}
	}
	return full(err)
}

// scrubSome scrubs pages and those below them. It returns what is left to do.
func scrubSome(conn *sqlite.Conn, todo []int64) ([]int64, error) {
	read, err := conn.Prepare(`SELECT data FROM sqlite_dbpage WHERE pgno=?`)
	if err != nil {
		return todo, err
	}
	write, err := conn.Prepare(`UPDATE sqlite_dbpage SET data=? WHERE pgno=?`)
	if err != nil {
		return todo, err
	}
	var p page
	for looked, written := 0, 0; len(todo) > 0 && written < scrubbedAtOnce && looked < 16*scrubbedAtOnce; looked++ {
		p.no, todo = todo[len(todo)-1], todo[:len(todo)-1]
		read.BindInt64(1, p.no)
		p.data = p.data[:0]
		if err := rows(read, func() error { p.data = columnBytes(read, 0, p.data); return nil }); err != nil {
			return todo, err
		}
		changed, err := p.scrub()
		if err != nil {
			return todo, err
		}
		todo = p.appendChildren(todo)
		if !changed {
			continue
		}
		write.BindBytes(1, p.data)
		write.BindInt64(2, p.no)
		if err := rows(write, func() error { return nil }); err != nil {
			return todo, err
		}
		written++
	}
	return todo, nil
}

// page is a page of a table or an index, as the file has it
// (https://www.sqlite.org/fileformat2.html#b_tree_pages).
type page struct {
	no   int64
	data []byte
}

// The kinds of pages.
const (
	interiorIndex = 2
	interiorTable = 5
	leafIndex     = 10
	leafTable     = 13
)

// header is where the page's header begins: the first page has the file's
// before it.
func (p *page) header() int {
	if p.no == 1 {
		return 100
	}
	return 0
}

func (p *page) interior() bool {
	kind := p.data[p.header()]
	return kind == interiorIndex || kind == interiorTable
}

func (p *page) at(i int) int { return int(binary.BigEndian.Uint16(p.data[i:])) }

// cells is where the pointers to cells begin and end.
func (p *page) cells() (from, to int) {
	from = p.header() + 8
	if p.interior() {
		from += 4
	}
	return from, from + 2*p.at(p.header()+3)
}

// scrub overwrites what is between the pointers and the cells, and what is in
// free blocks. Smaller fragments come from free blocks, which are overwritten.
func (p *page) scrub() (changed bool, err error) {
	h := p.header()
	if len(p.data) < 512 {
		return false, p.damaged()
	}
	switch p.data[h] {
	case interiorIndex, interiorTable, leafIndex, leafTable:
	default:
		return false, p.damaged()
	}
	_, from := p.cells()
	content := p.at(h + 5)
	if content == 0 {
		content = 1 << 16
	}
	if from > content || content > len(p.data) {
		return false, p.damaged()
	}
	changed = zero(p.data[from:content])
	for block := p.at(h + 1); block != 0; {
		end := block + p.at(min(block, len(p.data)-4)+2)
		if block < content || end < block+4 || end > len(p.data) {
			return changed, p.damaged()
		}
		changed = zero(p.data[block+4:end]) || changed
		next := p.at(block)
		if next != 0 && next < end {
			return changed, p.damaged()
		}
		block = next
	}
	return changed, nil
}

// appendChildren appends the pages below an interior page.
func (p *page) appendChildren(to []int64) []int64 {
	if !p.interior() {
		return to
	}
	from, end := p.cells()
	to = append(to, int64(binary.BigEndian.Uint32(p.data[from-4:])))
	for i := from; i < end; i += 2 {
		to = append(to, int64(binary.BigEndian.Uint32(p.data[p.at(i):])))
	}
	return to
}

func (p *page) damaged() error { return fmt.Errorf("sqlite: page %d is damaged", p.no) }

// zero overwrites bytes; false if they were zeros.
func zero(b []byte) (changed bool) {
	for i := range b {
		if b[i] != 0 {
			clear(b[i:])
			return true
		}
	}
	return false
}
