package files_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/interaction"
	"firebreak/fhir/selection"
	"firebreak/operations/engine"
	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/operations/ledger"
	"firebreak/operations/purge"
	"firebreak/store"
	"firebreak/store/files"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
)

// cutPurge is a purge of two of three patients. What it has written in its
// ledger, and what it removes of the files of an export, lies on a disk whose
// power can be cut.
type cutPurge struct {
	*cutExport         // whose job is the purge
	exported   job.Job // that went before
	ids        []fhir.ID
	before     map[fhir.ID][]string // their versions
}

// theirs are the resources of three patients. What is Ada's or Ben's says so,
// and goes but for the Group and the Appointment with Cleo.
func theirs() (all []string) {
	for _, id := range []string{"ada", "ben", "cleo"} {
		all = append(all, fmt.Sprintf(`{"resourceType":"Patient","id":%q,"name":[{"family":"Family of %s"}]}`, id, id))
		for i := range 6 {
			all = append(all, fmt.Sprintf(`{"resourceType":"Observation","id":"%s-%d","status":"final","subject":{"reference":"Patient/%s"},"valueString":"Value of %s %s"}`,
				id, i, id, id, strings.Repeat("x", 1000)))
		}
	}
	return append(all,
		`{"resourceType":"Appointment","id":"both","status":"booked","participant":[{"actor":{"reference":"Patient/ada"},"status":"accepted"},{"actor":{"reference":"Patient/cleo"},"status":"accepted"}]}`,
		`{"resourceType":"Group","id":"all","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/ada"}},{"entity":{"reference":"Patient/cleo"}}]}`)
}

// askedPurge is a data directory with an export that has ended, and a purge that
// was asked for and no more.
func askedPurge(t *testing.T) *cutPurge {
	t.Helper()
	x := &cutPurge{cutExport: &cutExport{T: t, data: t.TempDir()}}
	x.open()
	s := interaction.New(interaction.Config{Store: x.store, NewID: func() string { return ulid.Make().String() }, NewBatchID: ulid.Make})
	for _, body := range theirs() {
		r, err := s.Reader().Read([]byte(body))
		x.ok(err)
		x.ids = append(x.ids, r.ID)
		for _, text := range []string{"en", "fr"} { // so that there is a version from before
			body := strings.Replace(body, `{`, `{"language":"`+text+`",`, 1)
			_, err = s.Update(t.Context(), auth.Local(), r.ID, []byte(body), interaction.Condition{})
			x.ok(err)
		}
	}
	dir, err := files.NewDir(x.folder())
	x.ok(err)
	x.exported, err = x.export(dir).Kickoff(t.Context(), auth.Local(), export.Call{Level: selection.System})
	x.ok(err)
	x.job = x.exported
	x.work(dir, nil, func() {})
	x.open()
	x.before = x.versions()
	params := []fhir.Parameter{{Name: "patientId", Type: "Id", Value: "ada"}, {Name: "patientId", Type: "Id", Value: "ben"}}
	x.job, err = x.purge(dir, nil).Kickoff(t.Context(), auth.Local(), purge.Call{Bulk: true, Params: params})
	x.ok(err)
	x.ok(x.store.Close())
	l, err := ledger.Open(x.ledger(), ledger.MayMake)
	x.ok(err)
	x.ok(l.Close())
	return x
}

func (x *cutPurge) folder() string { return filepath.Join(x.data, "files") }
func (x *cutPurge) ledger() string { return filepath.Join(x.data, "ledger") }

// copied is the same in a directory of its own.
func (x *cutPurge) copied(t *testing.T) *cutPurge {
	t.Helper()
	return &cutPurge{cutExport: x.cutExport.copied(t), exported: x.exported, ids: x.ids, before: x.before}
}

// versions are all versions of theirs that are there, the latest first.
func (x *cutPurge) versions() map[fhir.ID][]string {
	x.Helper()
	all := map[fhir.ID][]string{}
	x.ok(x.store.Versions(x.Context(), store.Tenant(x.job.Tenant), x.ids, func(v *store.Version) error {
		all[v.ID] = append(all[v.ID], fmt.Sprint(v.N, " ", v.Deleted, " ", string(v.Body)))
		return nil
	}))
	return all
}

// purge makes a Purge that enters what it purges in a ledger, if there is one.
// By its clock a second goes by whenever it looks, so it does not wait for
// downloads.
func (x *cutPurge) purge(dir files.Files, l *ledger.Ledger) *purge.Purge {
	exports := x.export(dir)
	var seconds atomic.Int64
	cfg := purge.Config{
		Store: x.store, Files: dir, Now: func() time.Time { return time.Now().Add(time.Duration(seconds.Add(1)) * time.Second) },
		NewID: func() string { return ulid.Make().String() }, NewBatchID: ulid.Make, Server: "firebreak",
		Holders: export.Holders, Sweep: exports.SweepErased, Parts: exports.EachPart,
	}
	if l != nil {
		cfg.Ledger = l
	}
	return purge.New(cfg)
}

// purges works at the purge, on a disk without faults if m is nil. The ledger
// is joined as a server does it.
func (x *cutPurge) purges(m *mortal, at int) {
	x.Helper()
	x.open()
	dir, err := files.NewDir(x.folder())
	x.ok(err)
	var via func(ledger.File) ledger.File
	var stopped chan struct{}
	unplug := func() {}
	if m != nil {
		x.ok(m.adopt("files", "ledger"))
		dir, err = files.NewDirOn(m, x.folder())
		x.ok(err)
		m.cutFrom(at)
		via, stopped, unplug = m.ledger, m.cut, func() { close(m.off) }
	}
	l, err := ledger.OpenVia(x.ledger(), ledger.MustExist, via)
	x.ok(err)
	joined := make(chan error, 1)
	go func() { joined <- l.Join(x.Context(), x.store, false) }()
	select {
	case err := <-joined:
		x.ok(err)
		x.workWith(map[string]engine.Handler{purge.BulkKind: x.purge(dir, l)}, stopped, unplug)
	case <-stopped:
		x.ok(x.store.Close())
		unplug()
		<-joined
	}
	x.ok(l.Close())
}

// cut has the power cut at an operation; false when the purge ends before.
func (x *cutPurge) cut(at int, kept fate) bool {
	x.Helper()
	m := newMortal(x.data, 0)
	x.purges(m, at)
	x.ok(m.powerOn(kept))
	return m.dead()
}

// entered asserts that what is not as it was is in the ledger, as it is on disk.
func (x *cutPurge) entered() {
	x.Helper()
	x.open()
	defer func() { x.ok(x.store.Close()) }()
	l, err := ledger.Open(x.ledger(), ledger.MustExist)
	x.ok(err)
	defer func() { x.ok(l.Close()) }()
	entries, err := l.Lookup()
	x.ok(err)
	now := x.versions()
	for id, was := range x.before {
		is := entries.Of(store.Tenant(x.job.Tenant), id)
		if len(now[id]) == 0 && is.Erased == 0 || !cmp.Equal(was, now[id]) && is == (ledger.Entry{}) {
			x.Errorf("%s was %d versions and is %d; the ledger has %+v", id, len(was), len(now[id]), is)
		}
	}
}

// outcome is what a purge has left.
type outcome struct {
	Versions map[fhir.ID][]string
	Exported map[string][]string // the lines of the export's files
}

// goOn ends the purge on a disk without faults, and gives what it has left when
// all of it was counted and entered.
func (x *cutPurge) goOn() (left outcome) {
	x.Helper()
	x.purges(nil, 0)
	x.entered()
	dir, err := files.NewDir(x.folder())
	x.ok(err)
	left.Exported = (&cutExport{T: x.T, data: x.data, job: x.exported}).result(dir)
	x.open()
	defer func() { x.ok(x.store.Close()) }()
	left.Versions = x.versions()
	var gone job.Erased
	for id, were := range x.before {
		for _, one := range were {
			if !slices.Contains(left.Versions[id], one) {
				gone.Versions++
			}
		}
		if len(left.Versions[id]) == 0 {
			gone.Resources++
		}
	}
	j, err := x.store.Peek(x.Context(), store.Tenant(x.job.Tenant), x.job.ID)
	x.ok(err)
	tally, err := x.store.Tally(x.Context(), store.Tenant(x.job.Tenant), x.job.ID)
	x.ok(err)
	if j.State != job.Succeeded || tally.Erased != gone {
		x.Errorf("the job is %s; %+v is gone, and %+v was counted", j.State, gone, tally.Erased)
	}
	x.joined()
	return left
}

// joined asserts that the store knows of all that is in the ledger.
func (x *cutPurge) joined() {
	x.Helper()
	l, err := ledger.Open(x.ledger(), ledger.MustExist)
	x.ok(err)
	defer func() { x.ok(l.Close()) }()
	noted, err := x.store.Ledgers(x.Context())
	x.ok(err)
	if len(noted) != 1 || noted[0].ID != l.ID() || noted[0].To != l.Last() {
		x.Errorf("the ledger %s ends with number %d; the store knows of %+v", l.ID(), l.Last(), noted)
	}
}

// The power is cut at each write of the ledger, and at each operation on files
// of exports, in turn.
func TestAPurgeGoesOnAfterAPowerCut(t *testing.T) {
	x := askedPurge(t)
	want := x.copied(t).goOn()
	if text := fmt.Sprint(want); len(want.Versions) != 9 || strings.Contains(text, "ada") || strings.Contains(text, "of ben") || !strings.Contains(text, "Value of cleo") {
		t.Fatalf("undisturbed it leaves %d resources\n%s", len(want.Versions), text)
	}
	first, step := 1, 1
	if !torture() {
		step = 17
		first += rand.IntN(step)
	}
	for name := range fates(0) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for at, more := first, true; more; at += step {
				t.Run(fmt.Sprint(at), func(t *testing.T) {
					x := x.copied(t)
					more = x.cut(at, fates(uint64(at))[name])
					x.entered()
					if more { // again, soon after the power is on
						x.cut(1+at%4, fates(uint64(at))[name])
						x.entered()
					}
					if diff := cmp.Diff(want, x.goOn()); diff != "" {
						t.Errorf("(- undisturbed, + got)\n%s", diff)
					}
				})
			}
		})
	}
}
