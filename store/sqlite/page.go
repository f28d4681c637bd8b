package sqlite

import (
	"encoding/binary"
	"fmt"

	"zombiezen.com/go/sqlite"
)

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

// children calls f with the pages below an interior page.
func (p *page) children(f func(no int64) error) error {
	from, end := p.cells()
	if err := f(int64(binary.BigEndian.Uint32(p.data[from-4:]))); err != nil {
		return err
	}
	for i := from; i < end; i += 2 {
		if err := f(int64(binary.BigEndian.Uint32(p.data[p.at(i):]))); err != nil {
			return err
		}
	}
	return nil
}

// read reads a page as the connection has it.
func (p *page) read(conn *sqlite.Conn, no int64) error {
	stmt, err := conn.Prepare(`SELECT data FROM sqlite_dbpage WHERE pgno=?`)
	if err != nil {
		return err
	}
	stmt.BindInt64(1, no)
	p.no, p.data = no, p.data[:0]
	err = rows(stmt, func() error { p.data = columnBytes(stmt, 0, p.data); return nil })
	if err == nil && len(p.data) < 512 {
		err = p.damaged()
	}
	return err
}

// inTrees adds the pages of all tables and indexes. All leaves of a tree are at
// the same depth, so none of them is read but one.
func inTrees(conn *sqlite.Conn, to *pageSet) error {
	roots := []int64{1} // the table of tables itself
	if err := each(conn, `SELECT rootpage FROM sqlite_schema WHERE rootpage>0`, func(st *sqlite.Stmt) { roots = append(roots, st.ColumnInt64(0)) }); err != nil {
		return err
	}
	for _, root := range roots {
		depth, err := depthOf(conn, root)
		if err == nil {
			err = addTree(conn, root, depth, to)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// depthOf is how many levels a tree has above its leaves.
func depthOf(conn *sqlite.Conn, root int64) (depth int, err error) {
	var p page
	for no := root; ; depth++ {
		if err := p.read(conn, no); err != nil || !p.interior() {
			return depth, err
		}
		if err := p.children(func(child int64) error { no = child; return nil }); err != nil {
			return depth, err
		}
	}
}

// addTree adds a page, and those below it down to the given depth.
func addTree(conn *sqlite.Conn, no int64, depth int, to *pageSet) error {
	to.add(no)
	if depth == 0 {
		return nil
	}
	var p page
	if err := p.read(conn, no); err != nil {
		return err
	}
	if !p.interior() {
		return p.damaged()
	}
	return p.children(func(child int64) error {
		if depth == 1 {
			to.add(child)
			return nil
		}
		return addTree(conn, child, depth-1, to)
	})
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
