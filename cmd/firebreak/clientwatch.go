package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"firebreak/auth"
)

const (
	// clientsLook is how often a server looks whether the file of clients has
	// changed, at most.
	clientsLook = time.Second
	// maxClientsFile is the most bytes of that file.
	maxClientsFile = 16 << 20
)

// clientWatch is the file of clients as a server sees it. It looks at the file
// when it is asked, so that there is nothing to end.
type clientWatch struct {
	path string
	now  func() time.Time
	log  *slog.Logger

	current atomic.Pointer[auth.Clients]

	mu     sync.Mutex // whoever has it looks
	looked time.Time
	seen   clientStamp // of the file that current is of
	failed string      // why the last look failed, "" if it did not
}

// clientStamp tells whether a file has changed.
type clientStamp struct {
	at    time.Time
	size  int64
	inode uint64
}

// newClientWatch reads the file, which must be there and right.
func newClientWatch(path string, now func() time.Time, log *slog.Logger) (*clientWatch, error) {
	w := &clientWatch{path: path, now: now, log: log, looked: now()}
	if _, err := w.take(); err != nil {
		return nil, fmt.Errorf("--clients: %w", err)
	}
	return w, nil
}

// clients are those of the file, as it was a second ago or later. While it
// cannot be used, they are those of before.
func (w *clientWatch) clients() auth.Clients {
	if w.mu.TryLock() {
		if now := w.now(); now.Sub(w.looked) >= clientsLook {
			w.looked = now
			w.look()
		}
		w.mu.Unlock()
	}
	return *w.current.Load()
}

// look takes the file if it has changed. One that cannot be used is tried again
// at each look, and logged once.
func (w *clientWatch) look() {
	changed, err := w.take()
	switch {
	case err != nil && err.Error() != w.failed:
		w.failed = err.Error()
		w.log.Warn("the file of clients cannot be used; the clients stay as they were", "error", err)
	case err == nil && (changed || w.failed != ""):
		w.failed = ""
		w.log.Info("the file of clients was read again", "clients", len(*w.current.Load()))
	}
}

// take reads the file if it is not the one that was read.
func (w *clientWatch) take() (changed bool, err error) {
	if stamp, err := stampOf(os.Stat(w.path)); err != nil || stamp == w.seen {
		return false, err
	}
	f, err := os.Open(w.path)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // it was only read
	stamp, err := stampOf(f.Stat())
	if err != nil {
		return false, err
	}
	clients, err := readClients(f)
	if err != nil {
		return false, fmt.Errorf("%s: %w", w.path, err)
	}
	w.current.Store(&clients)
	w.seen = stamp
	return true, nil
}

func stampOf(info os.FileInfo, err error) (clientStamp, error) {
	if err != nil {
		return clientStamp{}, err
	}
	s := clientStamp{at: info.ModTime(), size: info.Size()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = sys.Ino
	}
	return s, nil
}

// readClients reads a file of clients to its end.
func readClients(r io.Reader) (auth.Clients, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxClientsFile+1))
	if err == nil && len(text) > maxClientsFile {
		err = fmt.Errorf("it has more than %d bytes", maxClientsFile)
	}
	if err != nil {
		return nil, err
	}
	return auth.ParseClients(text)
}
