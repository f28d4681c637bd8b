package main

import (
	"context"
	"strings"
	"testing"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/selection"
	"firebreak/operations/ledger"
	"firebreak/operations/purge"
	"firebreak/store"
)

// killedLedger is the ledger of the children on a place, one after the other.
func killedLedger(place storage) string { return place.Data + "-ledger" }

// faultyLedger is the file of a ledger. Each write of it is a place to die, in
// the midst of it too.
type faultyLedger struct {
	ledger.File
	fault *fault
	wrote string // what was last written
}

// viaLedger has a ledger use its file by way of a faultyLedger, if there is a
// fault.
func (f *fault) viaLedger(file ledger.File) ledger.File {
	if f == nil {
		return file
	}
	return &faultyLedger{File: file, fault: f}
}

// WriteAt writes in two parts, the first of which is not all of a record.
func (x *faultyLedger) WriteAt(b []byte, at int64) (int, error) {
	if x.wrote = "entries"; at == 0 {
		x.wrote = "the ledger's header"
	}
	half := len(b)/2 + 1
	n, err := x.write("Half", b[:half], at)
	if err != nil {
		return n, err
	}
	n, err = x.write("Rest", b[half:], at+int64(half))
	return half + n, err
}

func (x *faultyLedger) write(part string, b []byte, at int64) (int, error) {
	defer x.fault.at(part + " of " + x.wrote)()
	return x.File.WriteAt(b, at)
}

func (x *faultyLedger) Sync() error {
	defer x.fault.at("Sync of " + x.wrote)()
	return x.File.Sync()
}

func (x *faultyLedger) Truncate(size int64) error {
	x.wrote = "the ledger's end"
	defer x.fault.at("Cut of " + x.wrote)()
	return x.File.Truncate(size)
}

// dyingLedger is a ledger each call of which is a place to die.
type dyingLedger struct {
	purge.Ledger
	fault *fault
}

func (l dyingLedger) Enter(ctx context.Context, t store.Tenant, at store.Tick, ids []fhir.ID, entire bool) ([]int64, error) {
	defer l.fault.at("Enter")()
	return l.Ledger.Enter(ctx, t, at, ids, entire)
}

func (l dyingLedger) Revoke(ctx context.Context, numbers []int64) error {
	defer l.fault.at("Revoke")()
	return l.Ledger.Revoke(ctx, numbers)
}

// enteringOr is entering, with places to die.
func (s *Server) enteringOr(f *fault) purge.Ledger {
	l := s.entering()
	if l == nil || f == nil {
		return l
	}
	return dyingLedger{l, f}
}

// Ledgers is what a server holds its ledger against.
func (s faultyStore) Ledgers(ctx context.Context) ([]store.Ledger, error) {
	defer s.fault.at("Ledgers")()
	return s.Store.Ledgers(ctx)
}

// Reserve comes between what is before an entry and the entry.
func (s faultyStore) Reserve(ctx context.Context, l store.Ledger) error {
	defer s.fault.at("Reserve")()
	return s.Store.Reserve(ctx, l)
}

// entered asserts that the ledger has what is gone and what was detached,
// whatever became of the processes that entered it, and that the store knows of
// all that is in it, and of no more.
func (k *purging) entered(st store.Store, left versions) {
	k.Helper()
	l, err := ledger.Open(killedLedger(k.place), ledger.MustExist)
	k.ok(err)
	defer func() { k.ok(l.Close()) }()
	entries, err := l.Lookup()
	k.ok(err)
	for ref := range k.before {
		typ, id, _ := strings.Cut(ref, "/")
		is := entries.Of(auth.DefaultTenant, fhir.ID{Type: typ, ID: id})
		loss := left.since(versions{ref: k.before[ref]})
		switch touched := loss.Versions+loss.Detached > 0; {
		case loss.Resources > 0 && is.Erased == 0:
			k.Errorf("%s is gone, and the ledger has %+v of it", ref, is)
		case touched != (is != ledger.Entry{}):
			k.Errorf("of %s %+v is gone, and the ledger has %+v of it", ref, loss, is)
		}
	}
	noted, err := st.Ledgers(k.Context())
	k.ok(err)
	if len(noted) != 1 || noted[0].ID != l.ID() || noted[0].To != l.Last() {
		k.Errorf("the ledger %s ends with number %d; the store knows of %+v", l.ID(), l.Last(), noted)
	}
}

// stepsOfAnEntry are the places to die between a patient's first steps and the
// first erasure, and those where the ledger is made.
func stepsOfAnEntry() []string {
	return []string{
		"Half of the ledger's header", "Rest of the ledger's header", "Sync of the ledger's header", "Announce for 1-000001", "before Reserve", "Reserve",
		"Half of entries", "Rest of entries", "Sync of entries", "Enter", "before Erase for 1-000001", "Erase for 1-000001",
	}
}

// A crash between two steps of an entry is no restored backup: the server comes
// up, the purge goes on, and all of it is entered.
func TestAServerComesUpAfterAKillBetweenTheStepsOfAnEntry(t *testing.T) {
	tpl := newPurgeTemplate(t, onSQLite(), 0, selection.System)
	for _, call := range some(t, stepsOfAnEntry(), 4) {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			k := tpl.purge(t, ofThree("of a list"))
			k.diesAt(call)
			afterPurge(t, tpl.before, k.recover())
		})
	}
}
