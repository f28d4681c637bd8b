package sqlite

import (
	"errors"
	"fmt"
	"maps"

	"firebreak/store"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// dictionary numbers the names that occur again and again. A published one is
// never changed.
type dictionary struct {
	tenants, types, params map[string]int64
	tenantNames, typeNames map[int64]string
}

func (d *dictionary) clone() *dictionary {
	return &dictionary{
		maps.Clone(d.tenants), maps.Clone(d.types), maps.Clone(d.params),
		maps.Clone(d.tenantNames), maps.Clone(d.typeNames),
	}
}

// space finds a tenant's space of a type; false if nothing was ever there.
func (d *dictionary) space(t store.Tenant, typ string) (space, bool) {
	tenant, ok := d.tenants[string(t)]
	if !ok {
		return 0, false
	}
	no, ok := d.types[typ]
	return spaceOf(tenant, no), ok
}

// reload reads all that the writer keeps in memory from the database anew.
func (w *writer) reload() error {
	w.spaces, w.clocks = map[space]int64{}, map[int64]store.Tick{}
	if err := w.reloadNames(); err != nil {
		return err
	}
	err := each(w.conn, `SELECT no, next FROM space`, func(s *sqlite.Stmt) {
		w.spaces[space(s.ColumnInt64(0))] = s.ColumnInt64(1)
	})
	if err != nil {
		return err
	}
	return each(w.conn, `SELECT no, clock FROM tenant`, func(s *sqlite.Stmt) {
		w.clocks[s.ColumnInt64(0)] = store.Tick(s.ColumnInt64(1))
	})
}

func (w *writer) reloadNames() error {
	d := &dictionary{map[string]int64{}, map[string]int64{}, map[string]int64{}, map[int64]string{}, map[int64]string{}}
	w.owners = map[store.Owner]int64{}
	for table, m := range map[string]map[string]int64{"tenant": d.tenants, "type": d.types, "param": d.params} {
		err := each(w.conn, `SELECT name, no FROM `+table, func(s *sqlite.Stmt) { m[s.ColumnText(0)] = s.ColumnInt64(1) })
		if err != nil {
			return err
		}
	}
	for name, no := range d.tenants {
		d.tenantNames[no] = name
	}
	for name, no := range d.types {
		d.typeNames[no] = name
	}
	w.dict, w.dirty = d, true
	return nil
}

// publish lets readers see the names that were committed.
func (w *writer) publish() {
	if w.dirty {
		w.committed.Store(w.dict)
	}
	w.dirty, w.newOwners = false, false
}

// edit gives the dictionary to change.
func (w *writer) edit() *dictionary {
	if !w.dirty {
		w.dict, w.dirty = w.dict.clone(), true
	}
	return w.dict
}

// tenant numbers a tenant, which begins with its first write.
func (t *tx) tenant(name store.Tenant) (int64, error) {
	if no, ok := t.w.dict.tenants[string(name)]; ok {
		return no, nil
	}
	no, err := t.insert(`INSERT INTO tenant (name, clock) VALUES (?, 0)`, string(name))
	if err == nil && no > maxTenant {
		err = fmt.Errorf("sqlite: more than %d tenants", maxTenant)
	}
	if err != nil {
		return 0, err
	}
	d := t.w.edit()
	d.tenants[string(name)], d.tenantNames[no] = no, string(name)
	return no, nil
}

func (t *tx) space(name store.Tenant, typ string) (space, error) {
	tenant, err := t.tenant(name)
	if err != nil {
		return 0, err
	}
	no, ok := t.w.dict.types[typ]
	if !ok {
		if no, err = t.insert(`INSERT INTO type (name) VALUES (?)`, typ); err != nil {
			return 0, err
		}
		if no > maxType {
			return 0, fmt.Errorf("sqlite: more than %d types", maxType)
		}
		d := t.w.edit()
		d.types[typ], d.typeNames[no] = no, typ
	}
	return spaceOf(tenant, no), nil
}

func (t *tx) param(name string) (int64, error) {
	if no, ok := t.w.dict.params[name]; ok {
		return no, nil
	}
	no, err := t.insert(`INSERT INTO param (name) VALUES (?)`, name)
	if err == nil {
		t.w.edit().params[name] = no
	}
	return no, err
}

// maxOwners is how many owners the writer remembers.
const maxOwners = 10_000

func (t *tx) owner(o store.Owner) (int64, error) {
	if no, ok := t.w.owners[o]; ok {
		return no, nil
	}
	stmt, err := t.conn.Prepare(`INSERT INTO owner (client, user) VALUES (?, ?)
		ON CONFLICT DO UPDATE SET client=client RETURNING no`)
	if err != nil {
		return 0, err
	}
	stmt.BindText(1, o.Client)
	stmt.BindText(2, o.User)
	no, err := sqlitex.ResultInt64(stmt)
	if err != nil {
		return 0, err
	}
	if len(t.w.owners) >= maxOwners {
		clear(t.w.owners)
	}
	t.w.owners[o], t.w.newOwners = no, true
	return no, nil
}

func (t *tx) insert(query, name string) (int64, error) {
	stmt, err := t.conn.Prepare(query)
	if err != nil {
		return 0, err
	}
	stmt.BindText(1, name)
	if _, err := stmt.Step(); err != nil {
		return 0, err
	}
	return t.conn.LastInsertRowID(), stmt.Reset()
}

// ownerOf is the owner of that number.
func (s *Store) ownerOf(conn *sqlite.Conn, no int64) (store.Owner, error) {
	if known, ok := s.owners.Load(no); ok {
		o, _ := known.(store.Owner) // it holds nothing else
		return o, nil
	}
	var o store.Owner
	err := each(conn, `SELECT client, user FROM owner WHERE no=?`, func(st *sqlite.Stmt) {
		o = store.Owner{Client: st.ColumnText(0), User: st.ColumnText(1)}
	}, no)
	if err == nil {
		s.owners.Store(no, o)
	}
	return o, err
}

// errEnough ends rows without an error.
var errEnough = errors.New("sqlite: enough rows")

// rows calls f on each row of a statement, and resets it however it ends.
func rows(stmt *sqlite.Stmt, f func() error) error {
	for {
		found, err := stmt.Step()
		if err == nil && found {
			err = f()
		}
		if err == nil && found {
			continue
		}
		if reset := stmt.Reset(); err == nil {
			err = reset
		}
		if errors.Is(err, errEnough) {
			return nil
		}
		return err
	}
}

// each runs a query and calls f for each row.
func each(conn *sqlite.Conn, query string, f func(*sqlite.Stmt), args ...any) error {
	return sqlitex.Execute(conn, query, &sqlitex.ExecOptions{
		Args:       args,
		ResultFunc: func(s *sqlite.Stmt) error { f(s); return nil },
	})
}
