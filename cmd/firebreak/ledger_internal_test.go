package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firebreak/operations/ledger"

	"github.com/google/go-cmp/cmp"
)

// withLedger is a server with a ledger.
func withLedger(place storage, path string) serving {
	o := onData(place.Data)
	o.storage, o.Ledger = place, path
	return o
}

// refused is the error of a server that must not come up.
func refused(t *testing.T, o serving) error {
	t.Helper()
	s, err := NewServer(context.Background(), o, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Fatal("the server came up", s.Close())
	}
	return err
}

// comesUp starts a server and stops it.
func comesUp(t *testing.T, o serving) {
	t.Helper()
	s, err := NewServer(context.Background(), o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// replayed runs the command, which must succeed, and returns what it says.
func replayed(t *testing.T, place storage, path string) string {
	t.Helper()
	var out, log bytes.Buffer
	args := []string{"replay-ledger", "--ledger", path, "--data", place.Data}
	if place.Store != "" {
		args = append(args, "--store", place.Store)
	}
	if status := run(context.Background(), args, &out, &log); status != exitOK || strings.Contains(log.String(), "level=") {
		t.Fatalf("replay-ledger ends with %d:\n%s%s", status, log.String(), out.String())
	}
	return out.String()
}

// restored is a world whose patients are purged by a server with a ledger, all
// but the last, and whose data is then as it was before. The model is that of
// after the purge.
type restored struct {
	*world
	ledger string
	backup storage
	left   map[string][]string // by the purge: what versions there were of each resource
	base   string              // of the server that the exports were made at
}

func newRestored(t *testing.T, g ground, seed uint64, shared string) *restored {
	t.Helper()
	const n = 4
	r := &restored{ledger: filepath.Join(t.TempDir(), "ledger")}
	place := g.fresh(t)
	t.Run("before", func(t *testing.T) {
		r.world = newWorld(t, place, seed, n, seed%2 == 1)
		r.base = r.Base()
	})
	r.backup = backupOf(t, g, place)
	order := r.rand.Perm(n)
	t.Run("the purge", func(t *testing.T) {
		w := *r.world
		w.site = newSite(t, withLedger(place, r.ledger))
		w.work()
		w.purge(order[:1], shared)
		w.purge(order[1:3], "detach")
	})
	if t.Failed() {
		t.FailNow()
	}
	r.left = bodiesIn(t, place)
	r.T, r.place = t, r.backup
	for _, i := range order[:3] {
		if len(r.found(i)) < 10 {
			t.Fatalf("of patient %d too little came back", i)
		}
	}
	r.expect(order[:1], shared)
	r.expect(order[1:3], "detach")
	for _, thing := range r.things { // what is detached twice by the purges, the replay detaches once
		if last := len(thing.versions) - 1; last >= 0 && thing.versions[last].n > 2000 {
			thing.versions[last].n -= 1000
		}
	}
	return r
}

// backupOf is a copy of a place that nobody has.
func backupOf(t *testing.T, g ground, place storage) storage {
	t.Helper()
	if place.Store == "" {
		return g.copied(t, place)
	}
	to := g.fresh(t)
	g.fresh = func(*testing.T) storage { return to }
	t.Run("the backup", func(t *testing.T) { purgeTemplate{ground: g, storage: place}.apart(t) })
	return to
}

// bodiesIn are the bodies of all versions in a place, the latest first.
func bodiesIn(t *testing.T, place storage) map[string][]string {
	t.Helper()
	st, _, done := opened(t, place)
	defer done()
	left := versionsIn(t, st)
	out := map[string][]string{}
	for ref, vs := range left {
		if strings.HasPrefix(ref, "AuditEvent/") {
			continue // the server's own are others in each process
		}
		for _, v := range vs {
			_, body, _ := strings.Cut(v, " ")
			out[ref] = append(out[ref], body)
		}
	}
	return out
}

// gone are the patients who were purged.
func (r *restored) gone() (is []int) {
	for i, purged := range r.purged {
		if purged {
			is = append(is, i)
		}
	}
	return is
}

// serves checks all that a server shows, now that nothing of them is left.
func (r *restored) serves(t *testing.T) {
	t.Helper()
	t.Run("the server", func(t *testing.T) {
		w := *r.world
		w.site = newSite(t, withLedger(r.place, r.ledger))
		for i, x := range w.exports {
			moved := exportedBefore{strings.Replace(x.status, r.base, w.Base(), 1), map[string]string{}, map[string]bool{}}
			for url, body := range x.files {
				moved.files[strings.Replace(url, r.base, w.Base(), 1)] = body
			}
			w.exports[i] = moved
		}
		r.base = w.Base()
		w.checkAll("after the replay", r.gone())
	})
}

func TestWhatWasPurgedDoesNotComeBackWithABackup(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { comesBackAndGoes(t, onSQLite(), seed) })
	}
}

func TestOnMongoWhatWasPurgedDoesNotComeBackWithABackup(t *testing.T) {
	comesBackAndGoes(t, onMongo(t), 0)
}

func comesBackAndGoes(t *testing.T, g ground, seed uint64) {
	r := newRestored(t, g, seed, "detach")
	err := refused(t, withLedger(r.place, r.ledger))
	if !errors.Is(err, ledger.ErrRestored) || !strings.Contains(err.Error(), "firebreak replay-ledger --ledger "+r.ledger+" --") {
		t.Errorf("a restored backup is refused with %v", err)
	}
	said := replayed(t, r.place, r.ledger)
	if strings.HasPrefix(said, "0 resources") {
		t.Errorf("the replay said %s", said)
	}
	r.look("after the replay", r.gone())
	r.serves(t)
	if said := replayed(t, r.place, r.ledger); !strings.HasPrefix(said, "0 resources and 0 versions") {
		t.Errorf("the second replay said %s", said)
	}
	r.serves(t)
}

// What a replay leaves is what the purge left, byte for byte, whatever was to
// become of what is about others.
func TestAReplayLeavesWhatThePurgeLeft(t *testing.T) {
	for seed, shared := range []string{"detach", "delete"} {
		t.Run(shared, func(t *testing.T) {
			r := newRestored(t, onSQLite(), uint64(seed)+10, shared)
			replayed(t, r.place, r.ledger)
			r.look("after the replay", r.gone())
			if diff := cmp.Diff(r.left, bodiesIn(t, r.place)); diff != "" {
				t.Errorf("(- the purge, + the replay)\n%s", diff)
			}
		})
	}
}

func TestALedgerIsRefusedWhereItWouldBeRestoredWithTheData(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := errors.Join(os.Symlink(dir, link), os.Mkdir(filepath.Join(dir, "deep"), 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "ledger"), filepath.Join(dir, "deep", "er", "ledger"), filepath.Join(link, "ledger"), dir + "/../" + filepath.Base(dir) + "/x"} {
		if err := refused(t, withLedger(storage{Data: dir}, path)); !strings.Contains(err.Error(), "in the data directory") {
			t.Errorf("%s is refused with %v", path, err)
		}
	}
	comesUp(t, withLedger(storage{Data: dir}, dir+"-ledger"))
	if err := os.Remove(dir + "-ledger.key"); err != nil {
		t.Fatal(err)
	}
	if err := refused(t, withLedger(storage{Data: dir}, dir+"-ledger")); !errors.Is(err, ledger.ErrNoKey) {
		t.Errorf("a ledger without a key is refused with %v", err)
	}
}

// purgedOne is a data directory, and a ledger, of a server that has purged one
// patient, and a copy of the ledger from before.
func purgedOne(t *testing.T) (place storage, path, old string) {
	t.Helper()
	place, path = storage{Data: t.TempDir()}, filepath.Join(t.TempDir(), "ledger")
	t.Run("the purge", func(t *testing.T) {
		s := newSite(t, withLedger(place, path))
		s.work()
		for _, id := range []string{"a", "b"} {
			s.put("Patient/"+id, "")
			s.bulkPurged("patientId", id)
			if old == "" {
				content, err := os.ReadFile(path)
				s.ok(err)
				old = string(content)
			}
		}
	})
	return place, path, old
}

func TestADatabaseWithALedgerIsNotServedWithoutIt(t *testing.T) {
	place, path, _ := purgedOne(t)
	comesUp(t, withLedger(place, path))
	for name, other := range map[string]string{"no ledger": "", "a fresh ledger": filepath.Join(t.TempDir(), "other")} {
		o := withLedger(place, other)
		if err := refused(t, o); !errors.Is(err, errUnledgered) {
			t.Errorf("with %s the error is %v", name, err)
		}
		o.LedgerAcceptLoss = true
		comesUp(t, o)
	}
}

func TestAnOldCopyOfALedgerIsNotServed(t *testing.T) {
	place, path, old := purgedOne(t)
	if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	// What the last batch had may never have been written, for all that the
	// store knows; so two are missing.
	t.Run("the purge", func(t *testing.T) {
		s := newSite(t, withLedger(place, path))
		s.work()
		s.put("Patient/c", "")
		s.bulkPurged("patientId", "c")
	})
	if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	o := withLedger(place, path)
	if err := refused(t, o); !errors.Is(err, ledger.ErrLost) {
		t.Errorf("the error is %v", err)
	}
	o.LedgerAcceptLoss = true
	comesUp(t, o)
	o.LedgerAcceptLoss = false
	comesUp(t, o)
}

func TestNothingIsPurgedThatCannotBeEntered(t *testing.T) {
	place, path := storage{Data: t.TempDir()}, filepath.Join(t.TempDir(), "ledger")
	s := newSite(t, withLedger(place, path))
	s.put("Patient/a", "")
	s.ok(s.ledger.Close()) // what is written to it fails
	s.work()
	status := s.bulkPurging(patientIDs("a"))
	if said := s.purgeEnded(status); !strings.Contains(said, "cannot be entered in the server's ledger") {
		t.Errorf("the purge said %s", said)
	}
	s.is("GET", s.get("/Patient/a"), 200)
}

func TestAResourceThatIsWrittenAnewUnderAPurgedIDStays(t *testing.T) {
	place, path := storage{Data: t.TempDir()}, filepath.Join(t.TempDir(), "ledger")
	var backup storage
	t.Run("the purge", func(t *testing.T) {
		s := newSite(t, withLedger(place, path))
		s.work()
		s.put("Patient/a", `,"name":[{"family":"First"}]`)
		s.bulkPurged("patientId", "a")
		s.put("Patient/a", `,"name":[{"family":"Second"}]`)
		s.put("Observation/o", `,"status":"final","subject":{"reference":"Patient/a"}`)
	})
	backup = onSQLite().copied(t, place)
	t.Run("another purge", func(t *testing.T) {
		s := newSite(t, withLedger(place, path))
		s.work()
		s.put("Patient/b", "")
		s.bulkPurged("patientId", "b")
	})
	if err := refused(t, withLedger(backup, path)); !errors.Is(err, ledger.ErrRestored) {
		t.Errorf("the error is %v", err)
	}
	if said := replayed(t, backup, path); !strings.HasPrefix(said, "0 resources") {
		t.Errorf("the replay said %s", said)
	}
	s := newSite(t, withLedger(backup, path))
	if a := s.get("/Patient/a"); !strings.Contains(a.body, "Second") {
		t.Errorf("the Patient is %v", a)
	}
	s.is("GET", s.get("/Observation/o"), 200)
}
