package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"firebreak/operations/ledger"
	"firebreak/operations/purge"
)

// ledgering are the options of the ledger of what was purged.
type ledgering struct {
	Ledger           string `help:"File, outside the data directory, in which what is purged is entered, so that it does not come back with a restored backup: see replay-ledger. It and its key, FILE.key, are made if they are not there. Each instance needs one of its own." type:"path" placeholder:"FILE"`
	LedgerAcceptLoss bool   `help:"Serve though entries of the ledger are lost, or without the ledger: what was purged may come back with a backup."`
}

// errUnledgered is why a database is not served without its ledger.
var errUnledgered = errors.New("what is purged from this database is entered in a ledger")

// joinLedger opens the ledger, if there is to be one, and holds it against the
// store. It refuses a store that has what was purged, and one that has another
// ledger: what was purged meanwhile could come back.
func (s *Server) joinLedger(ctx context.Context) error {
	o := s.opts
	if o.Ledger == "" {
		noted, err := s.store.Ledgers(ctx)
		if err == nil && len(noted) > 0 && !o.LedgerAcceptLoss {
			err = fmt.Errorf("%w: give it with --ledger FILE; or, if it is lost or no longer wanted, say --ledger-accept-loss", errUnledgered)
		}
		return err
	}
	if err := outside(o.Data, o.Ledger); err != nil {
		return err
	}
	l, err := ledger.OpenVia(o.Ledger, ledger.MayMake, s.via)
	if err != nil {
		return err
	}
	s.ledger = l
	if err := s.onlyLedger(ctx); err != nil {
		return err
	}
	err = l.Join(ctx, s.store, o.LedgerAcceptLoss)
	switch {
	case errors.Is(err, ledger.ErrRestored):
		return fmt.Errorf("%w. Nothing is served until that is purged again:\n\n    firebreak replay-ledger --ledger %s %s", err, o.Ledger, o.words())
	case errors.Is(err, ledger.ErrLost):
		return fmt.Errorf("%w; put the latest copy of %s in its place; or, if there is none, say --ledger-accept-loss: what the lost entries are about would come back with a backup", err, o.Ledger)
	}
	return err
}

// onlyLedger refuses a ledger that a database does not know, if it knows others
// and is this process's alone.
func (s *Server) onlyLedger(ctx context.Context) error {
	noted, err := s.store.Ledgers(ctx)
	if err != nil || s.opts.Store != "" || s.opts.LedgerAcceptLoss || len(noted) == 0 {
		return err
	}
	for _, one := range noted {
		if one.ID == s.ledger.ID() {
			return nil
		}
	}
	return fmt.Errorf("%w, and %s is not that ledger: put it back; or, if it is lost, say --ledger-accept-loss", errUnledgered, s.opts.Ledger)
}

// closeLedger gives the ledger back.
func (s *Server) closeLedger() error {
	if s.ledger == nil {
		return nil
	}
	return s.ledger.Close()
}

// outside refuses a ledger in the data directory: it would be restored with it.
func outside(data, path string) error {
	within, err := filepath.Rel(resolved(data), resolved(path))
	if err == nil && within != ".." && !strings.HasPrefix(within, ".."+string(filepath.Separator)) {
		err = fmt.Errorf("--ledger %s is in the data directory %s: it would be restored with that, and forget what it is for; name a file elsewhere, best on another disk", path, data)
	}
	return err
}

// resolved is a path without links, as far as it is there.
func resolved(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	if parent := filepath.Dir(path); parent != path {
		return filepath.Join(resolved(parent), filepath.Base(path))
	}
	return path
}

// entering is the ledger as purges know it; nil without one.
func (s *Server) entering() purge.Ledger {
	if s.ledger == nil {
		return nil
	}
	return s.ledger
}
