package sqlite

import "zombiezen.com/go/sqlite"

// trees are the tables and indexes of a database, as pages. All leaves of one are
// at the same depth, so none of them is read but one. What is above the leaves
// is read once, and again when it was written since: there is much of it where
// there is much data, and the writer waits.
type trees struct {
	above map[int64][]uint32 // the pages below one that is above the leaves
}

// written notes that a page was written since it was read.
func (t *trees) written(no int64) { delete(t.above, no) }

// pages adds the pages of all trees, as the connection has them.
func (t *trees) pages(conn *sqlite.Conn, to *pageSet) error {
	if t.above == nil {
		t.above = map[int64][]uint32{}
	}
	roots := []int64{1} // the table of tables itself
	if err := each(conn, `SELECT rootpage FROM sqlite_schema WHERE rootpage>0`, func(st *sqlite.Stmt) { roots = append(roots, st.ColumnInt64(0)) }); err != nil {
		return err
	}
	for _, root := range roots {
		depth, err := t.depth(conn, root)
		if err == nil {
			err = t.add(conn, root, depth, to)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// below are the pages below a page, as it is now; none: it is a leaf.
func (t *trees) below(conn *sqlite.Conn, no int64) ([]uint32, error) {
	if pages, ok := t.above[no]; ok {
		return pages, nil
	}
	var p page
	if err := p.read(conn, no); err != nil || !p.interior() {
		return nil, err
	}
	var pages []uint32
	err := p.children(func(child int64) error { pages = append(pages, uint32(child)); return nil })
	if err == nil {
		t.above[no] = pages
	}
	return pages, err
}

// depth is how many levels a tree has above its leaves.
func (t *trees) depth(conn *sqlite.Conn, root int64) (depth int, err error) {
	for no := root; ; depth++ {
		pages, err := t.below(conn, no)
		if err != nil || len(pages) == 0 {
			return depth, err
		}
		no = int64(pages[0])
	}
}

// add adds a page, and those below it down to the given depth.
func (t *trees) add(conn *sqlite.Conn, no int64, depth int, to *pageSet) error {
	to.add(no)
	if depth == 0 {
		return nil
	}
	pages, err := t.below(conn, no)
	if err != nil {
		return err
	}
	if len(pages) == 0 {
		return (&page{no: no}).damaged()
	}
	for _, child := range pages {
		if err := t.add(conn, int64(child), depth-1, to); err != nil {
			return err
		}
	}
	return nil
}
