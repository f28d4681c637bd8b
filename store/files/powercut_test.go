package files_test

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	"firebreak/operations/ledger"
	"firebreak/store/files"
)

// errOff is what everything answers when the power is off.
var errOff = errors.New("the power is off")

// mortal is a disk whose power can be cut. It works on the real one, and knows
// of each file how much of it was synced, and of each directory which entries
// were. What was not synced when the power is cut may be there afterwards or
// not: each file's end, or some of it, each entry made, replaced or removed, for
// itself.
type mortal struct {
	real files.Disk
	root *inode // a directory that was there long before
	path string // where that is

	mu    sync.Mutex
	ops   int
	cutAt int           // the operation that finds the power cut; 0: none
	cut   chan struct{} // closed when it does
	off   chan struct{} // closed when those who wait are to be told so
}

// cutFrom has the power cut at an operation, counted from now.
func (m *mortal) cutFrom(at int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cutAt = m.ops + at
}

// dead tells whether the power was cut.
func (m *mortal) dead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cutAt > 0 && m.ops >= m.cutAt
}

// adopt takes what was below the root before into the books: all of it is on
// disk.
func (m *mortal) adopt(names ...string) error {
	for _, name := range names {
		i, err := adopted(filepath.Join(m.path, name))
		if err != nil {
			return err
		}
		m.root.entries[name], m.root.onDisk[name] = i, i
	}
	return nil
}

func adopted(path string) (*inode, error) {
	entries, err := os.ReadDir(path)
	if err != nil { // it is a file
		b, err := os.ReadFile(path)
		return &inode{data: b, synced: len(b)}, err
	}
	dir := newDirectory()
	for _, e := range entries {
		if dir.entries[e.Name()], err = adopted(filepath.Join(path, e.Name())); err != nil {
			return nil, err
		}
	}
	dir.onDisk = maps.Clone(dir.entries)
	return dir, nil
}

// inode is a file or a directory.
type inode struct {
	data    []byte // of a file, as written
	synced  int    // how much of it is on disk
	entries map[string]*inode
	onDisk  map[string]*inode // the entries that are on disk
}

func newMortal(path string, cutAt int) *mortal {
	return &mortal{real: files.Real(), root: newDirectory(), path: path, cutAt: cutAt, cut: make(chan struct{}), off: make(chan struct{})}
}

func newDirectory() *inode {
	return &inode{entries: map[string]*inode{}, onDisk: map[string]*inode{}}
}

// step counts an operation. From the one at which the power is cut on, none
// returns before the test says so.
func (m *mortal) step() error {
	m.mu.Lock()
	m.ops++
	if m.ops == m.cutAt {
		close(m.cut)
	}
	dead := m.cutAt > 0 && m.ops >= m.cutAt
	m.mu.Unlock()
	if dead {
		<-m.off
		return errOff
	}
	return nil
}

// do is one operation: on the real disk, then in the books.
func (m *mortal) do(really func() error, note func()) error {
	if err := m.step(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	err := really()
	if err == nil {
		note()
	}
	return err
}

// in is the directory of a path, and the name in it.
func (m *mortal) in(path string) (dir *inode, name string) {
	if path == m.path {
		return &inode{entries: map[string]*inode{".": m.root}}, "."
	}
	parent, name := m.in(filepath.Dir(path))
	return parent.entries[name], filepath.Base(path)
}

// Mkdir is files.Disk.
func (m *mortal) Mkdir(path string) error {
	return m.do(func() error { return m.real.Mkdir(path) }, func() {
		dir, name := m.in(path)
		dir.entries[name] = newDirectory()
	})
}

// Create is files.Disk.
func (m *mortal) Create(path string) (files.Handle, error) {
	h := &mortalHandle{m: m, file: &inode{}}
	err := m.do(func() (err error) { h.Handle, err = m.real.Create(path); return err }, func() {
		dir, name := m.in(path)
		dir.entries[name] = h.file
	})
	return h, err
}

// Rename is files.Disk.
func (m *mortal) Rename(from, to string) error {
	return m.do(func() error { return m.real.Rename(from, to) }, func() {
		dir, old := m.in(from)
		_, name := m.in(to)
		dir.entries[name] = dir.entries[old]
		delete(dir.entries, old)
	})
}

// Link is files.Disk.
func (m *mortal) Link(from, to string) error {
	return m.do(func() error { return m.real.Link(from, to) }, func() {
		dir, old := m.in(from)
		_, name := m.in(to)
		dir.entries[name] = dir.entries[old]
	})
}

// Remove is files.Disk.
func (m *mortal) Remove(path string) error {
	return m.do(func() error { return m.real.Remove(path) }, func() {
		dir, name := m.in(path)
		delete(dir.entries, name)
	})
}

// RemoveAll is files.Disk.
func (m *mortal) RemoveAll(path string) error {
	return m.do(func() error { return m.real.RemoveAll(path) }, func() {
		dir, name := m.in(path)
		if gone := dir.entries[name]; gone != nil {
			clear(gone.entries)
		}
		delete(dir.entries, name)
	})
}

// SyncDir is files.Disk.
func (m *mortal) SyncDir(path string) error {
	return m.do(func() error { return m.real.SyncDir(path) }, func() {
		parent, name := m.in(path)
		if dir := parent.entries[name]; dir != nil {
			dir.onDisk = maps.Clone(dir.entries)
		}
	})
}

type mortalHandle struct {
	files.Handle
	m    *mortal
	file *inode
}

func (h *mortalHandle) Write(b []byte) (n int, err error) {
	err = h.m.do(func() (err error) { n, err = h.Handle.Write(b); return err }, func() {
		h.file.data = append(h.file.data, b...)
	})
	return n, err
}

func (h *mortalHandle) Sync() error {
	return h.m.do(h.Handle.Sync, func() { h.file.synced = len(h.file.data) })
}

// ledger is the file of a ledger, which is in the books, on this disk.
func (m *mortal) ledger(f ledger.File) ledger.File {
	return mortalLedger{f, m, m.root.entries["ledger"]}
}

type mortalLedger struct {
	ledger.File
	m    *mortal
	file *inode
}

func (l mortalLedger) WriteAt(b []byte, at int64) (n int, err error) {
	err = l.m.do(func() (err error) { n, err = l.File.WriteAt(b, at); return err }, func() {
		l.file.data = append(l.file.data[:at], b...) // it only ever writes behind what it has
		l.file.synced = min(l.file.synced, int(at))
	})
	return n, err
}

func (l mortalLedger) Truncate(size int64) error {
	return l.m.do(func() error { return l.File.Truncate(size) }, func() {
		l.file.data = l.file.data[:size]
		l.file.synced = min(l.file.synced, int(size))
	})
}

func (l mortalLedger) Sync() error {
	return l.m.do(l.File.Sync, func() { l.file.synced = len(l.file.data) })
}

// fate decides, of one thing that was not synced, whether it is kept.
type fate func() bool

// fates are the ways in which a power cut may go.
func fates(seed uint64) map[string]fate {
	random := rand.New(rand.NewPCG(seed, 0))
	return map[string]fate{
		"all that was not synced is lost": func() bool { return false },
		"all is kept":                     func() bool { return true },
		"some is kept":                    func() bool { return random.IntN(2) == 0 },
	}
}

// powerOn leaves below the root what the power cut left.
func (m *mortal) powerOn(kept fate) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	entries, err := os.ReadDir(m.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if m.root.entries[e.Name()] == nil && m.root.onDisk[e.Name()] == nil {
			continue // not made by way of this disk
		}
		if err := os.RemoveAll(filepath.Join(m.path, e.Name())); err != nil {
			return err
		}
	}
	return m.root.restore(m.path, kept)
}

func (i *inode) restore(path string, kept fate) error {
	names := maps.Clone(i.onDisk)
	maps.Copy(names, i.entries)
	for name := range names {
		left := i.onDisk[name]
		if now := i.entries[name]; now != left && kept() {
			left = now
		}
		if left == nil {
			continue
		}
		if err := left.write(filepath.Join(path, name), kept); err != nil {
			return err
		}
	}
	return nil
}

// write makes a file or a directory anew.
func (i *inode) write(path string, kept fate) error {
	if i.entries == nil {
		return os.WriteFile(path, i.left(kept), 0o600)
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return i.restore(path, kept)
}

// left is what there is of a file: of what was not synced all, half, as many
// zeros, or nothing.
func (i *inode) left(kept fate) []byte {
	rest := len(i.data) - i.synced
	switch {
	case kept():
		return bytes.Clone(i.data)
	case kept():
		return bytes.Clone(i.data[:i.synced+rest/2])
	case kept():
		return append(bytes.Clone(i.data[:i.synced]), make([]byte, rest)...)
	}
	return bytes.Clone(i.data[:i.synced])
}
