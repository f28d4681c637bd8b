package files_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/interaction"
	"firebreak/fhir/sample"
	"firebreak/fhir/selection"
	"firebreak/operations/engine"
	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/files"
	"firebreak/store/sqlite"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
)

// torture asks for every operation in turn instead of some.
func torture() bool { return os.Getenv("FIREBREAK_TORTURE") != "" }

// cutExport is an export whose files lie on a disk whose power can be cut. The
// store's own file is on the real disk: what it committed is there.
type cutExport struct {
	*testing.T
	data  string
	store *sqlite.Store
	job   job.Job
}

// open opens a data directory.
func (x *cutExport) open() {
	x.Helper()
	var err error
	x.store, err = sqlite.Open(x.Context(), sqlite.Config{Dir: x.data, Now: time.Now})
	x.ok(err)
}

func (x *cutExport) ok(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

func (x *cutExport) export(dir files.Files) *export.Export {
	return export.New(export.Config{
		Store: x.store, Files: dir, Now: time.Now, NewID: func() string { return ulid.Make().String() },
		UnitSize: 6 << 10, SmallJob: 1, MaxFile: 20 << 10, JoinSize: 12 << 10,
	})
}

// asked is a data directory in which an export was asked for and no more.
func asked(t *testing.T) *cutExport {
	t.Helper()
	x := &cutExport{T: t, data: t.TempDir()}
	x.open()
	s := interaction.New(interaction.Config{Store: x.store, NewID: func() string { return ulid.Make().String() }, NewBatchID: ulid.Make})
	var all []fhir.Resource
	x.ok(sample.Write(func(b []byte) error {
		r, err := s.Reader().Read(b)
		all = append(all, r)
		return err
	}, 2, 3))
	_, err := s.PutAll(t.Context(), auth.Local(), all)
	x.ok(err)
	q := url.Values{"_type": {"Patient,Observation,Encounter,Claim,Binary,Provenance"}}
	x.job, err = x.export(nil).Kickoff(t.Context(), auth.Local(), export.Call{Level: selection.System, Query: q})
	x.ok(err)
	x.ok(x.store.Close())
	return x
}

// copied is the same in a directory of its own.
func (x *cutExport) copied(t *testing.T) *cutExport {
	t.Helper()
	to := &cutExport{T: t, data: t.TempDir(), job: x.job}
	to.ok(os.CopyFS(to.data, os.DirFS(x.data)))
	return to
}

// unplugged is a store whose attempts cannot end once it is closed, so that
// the engine does not try for long.
type unplugged struct{ store.Store }

// End is store.Units.
func (s unplugged) End(ctx context.Context, f store.Fence, e job.UnitEnd) error {
	err := s.Store.End(ctx, f, e)
	if errors.Is(err, store.ErrClosed) {
		return store.ErrFenced
	}
	return err
}

// work is workWith exports.
func (x *cutExport) work(dir files.Files, stopped <-chan struct{}, unplug func()) {
	x.Helper()
	x.workWith(map[string]engine.Handler{export.Kind: x.export(dir)}, stopped, unplug)
}

// workWith runs an engine until the job has ended, or until stopped is closed;
// then the store is closed first, as nothing writes to it without power.
func (x *cutExport) workWith(handlers map[string]engine.Handler, stopped <-chan struct{}, unplug func()) {
	x.Helper()
	ctx, cancel := context.WithCancel(x.Context())
	defer cancel()
	e := engine.New(engine.Config{
		Store: unplugged{x.store}, Now: time.Now, Log: slog.New(slog.DiscardHandler), Workers: 1, Handlers: handlers,
	})
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	changes := x.store.Watch(ctx)
	for {
		j, err := x.store.Peek(ctx, store.Tenant(x.job.Tenant), x.job.ID)
		x.ok(err)
		if j.State.Final() {
			break
		}
		select {
		case <-changes:
			continue
		case <-stopped:
		}
		break
	}
	x.ok(x.store.Close())
	unplug()
	cancel()
	<-done
}

// result opens the store again, and gives the lines of the public parts when
// every part is what its record says.
func (x *cutExport) result(dir files.Dir) map[string][]string {
	x.Helper()
	x.open()
	defer func() { x.ok(x.store.Close()) }()
	j, err := x.store.Peek(x.Context(), store.Tenant(x.job.Tenant), x.job.ID)
	x.ok(err)
	if j.State != job.Succeeded {
		x.Errorf("the job is %s", j.State)
	}
	x.ok(x.export(dir).Sweep(x.Context()))
	parts, err := x.store.PartsOf(x.Context(), store.Tenant(x.job.Tenant), x.job.ID, "", 10_000)
	x.ok(err)
	var names []string
	lines := map[string][]string{}
	for _, p := range parts {
		names = append(names, p.Name)
		got, err := content(dir, p.Name)
		sum := sha256.Sum256([]byte(got))
		if err != nil || int64(len(got)) != p.Size || hex.EncodeToString(sum[:]) != p.SHA256 || p.N == 0 {
			x.Errorf("part %s, number %d, of %d bytes has %d, %v", p.ID, p.N, p.Size, len(got), err)
		}
		lines[p.Type] = append(lines[p.Type], strings.SplitAfter(got, "\n")...)
	}
	folders, err := dir.Folders(x.Context())
	x.ok(err)
	var there []string
	for _, folder := range folders {
		of, err := dir.Names(x.Context(), folder)
		x.ok(err)
		there = append(there, of...)
	}
	slices.Sort(names)
	slices.Sort(there)
	if diff := cmp.Diff(names, there); diff != "" {
		x.Errorf("files (- named by parts, + there)\n%s", diff)
	}
	for _, of := range lines {
		slices.Sort(of)
	}
	return lines
}

// goOn ends the export on a disk without faults.
func (x *cutExport) goOn() map[string][]string {
	x.Helper()
	dir, err := files.NewDir(filepath.Join(x.data, "files"))
	x.ok(err)
	x.open()
	x.work(dir, nil, func() {})
	return x.result(dir)
}

// cut has the power cut at an operation; false when the export ends before.
func (x *cutExport) cut(at int, kept fate) bool {
	x.Helper()
	m := newMortal(x.data, at)
	x.open()
	// The directory itself may be what the power is cut at.
	made := make(chan struct{})
	ready := make(chan files.Dir, 1)
	go func() {
		dir, err := files.NewDirOn(m, filepath.Join(x.data, "files"))
		if err == nil {
			ready <- dir
		}
		close(made)
	}()
	select {
	case dir := <-ready:
		x.work(dir, m.cut, func() { close(m.off) })
	case <-m.cut:
		x.ok(x.store.Close())
		close(m.off)
	}
	<-made
	x.ok(m.powerOn(kept))
	return at <= m.ops
}

// The power is cut at each operation on files in turn.
func TestAnExportGoesOnAfterAPowerCut(t *testing.T) {
	x := asked(t)
	undisturbed := x.copied(t)
	want := undisturbed.goOn()
	if len(want) < 6 || !bytes.Contains([]byte(strings.Join(want["Observation"], "")), []byte(`"Observation"`)) {
		t.Fatalf("%d types", len(want))
	}
	first, step := 1, 1
	if !torture() {
		step = 29
		first += rand.IntN(step)
	}
	for name := range fates(0) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for at, more := first, true; more; at += step {
				t.Run(fmt.Sprint(at), func(t *testing.T) {
					x := x.copied(t)
					more = x.cut(at, fates(uint64(at))[name])
					if diff := cmp.Diff(want, x.goOn()); diff != "" {
						t.Errorf("(- undisturbed, + got)\n%s", diff)
					}
				})
			}
		})
	}
}
