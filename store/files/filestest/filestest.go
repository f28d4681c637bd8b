// Package filestest is the contract of package files as a test suite. Every
// promise that a comment of files.Files, Place, Writer and File makes has a
// case here, and each kind of place runs all of them. It also runs the S3
// server that the cases of buckets need.
//
// Nothing here waits for time to pass, or knows how a place keeps its files.
package filestest

import (
	"errors"
	"io"
	"slices"
	"testing"

	"firebreak/store/files"

	"github.com/google/go-cmp/cmp"
)

// Opener opens a place. Each call gives the same one as another server
// instance would have it.
type Opener func() files.Place

// testCase is a promise as a sentence, and the code that holds a place to it.
type testCase struct {
	name string
	run  func(e *env)
}

// Run runs every case as a subtest beside the others, each in a fresh place.
func Run(t *testing.T, fresh func(t testing.TB) Opener) {
	t.Helper()
	for _, tc := range slices.Concat(writeCases(), readCases(), removeCases(), nameCases(), identityCases()) {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			open := fresh(t)
			tc.run(&env{T: t, Place: open(), another: open})
		})
	}
}

// env is a case's place, with helpers that fail the case.
type env struct {
	*testing.T
	files.Place
	another Opener
}

func (e *env) ok(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

// begin creates a file and writes to it.
func (e *env) begin(name, content string) files.Writer {
	e.Helper()
	w, err := e.Create(e.Context(), name)
	e.ok(err)
	_, err = io.WriteString(w, content)
	e.ok(err)
	return w
}

func (e *env) put(name, content string) {
	e.Helper()
	e.ok(e.begin(name, content).Commit())
}

// open opens a file that must be there.
func (e *env) open(name string) files.File {
	e.Helper()
	f, err := e.Open(e.Context(), name)
	e.ok(err)
	e.Cleanup(func() { _ = f.Close() })
	return f
}

// want wants a file to be there with its content, for all instances.
func (e *env) want(name, content string) {
	e.Helper()
	for _, p := range []files.Place{e.Place, e.another()} {
		f, err := p.Open(e.Context(), name)
		e.ok(err)
		got, err := io.ReadAll(f)
		e.ok(errors.Join(err, f.Close()))
		if string(got) != content || f.Size() != int64(len(content)) {
			e.Errorf("%s holds %d bytes (%.20q), and says that it has %d; want %d (%.20q)", name, len(got), got, f.Size(), len(content), content)
		}
	}
}

// wantAbsent wants that no instance sees a file.
func (e *env) wantAbsent(names ...string) {
	e.Helper()
	for _, p := range []files.Place{e.Place, e.another()} {
		for _, name := range names {
			f, err := p.Open(e.Context(), name)
			if !errors.Is(err, files.ErrNotFound) {
				e.Errorf("Open of %s: %v", name, err)
			}
			if err == nil {
				e.ok(f.Close())
			}
		}
	}
}

// wantNames wants that a folder lists these names, each once.
func (e *env) wantNames(folder string, want ...string) {
	e.Helper()
	got, err := e.another().Names(e.Context(), folder)
	e.ok(err)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		e.Errorf("names in %s (- want, + got)\n%s", folder, diff)
	}
}

// until repeats a removal until a folder lists these names. It may leave what
// is being sent at that moment, which a process that has died does not do.
func (e *env) until(folder string, remove func() error, left ...string) {
	e.Helper()
	var names []string
	for range 100 {
		e.ok(remove())
		var err error
		names, err = e.another().Names(e.Context(), folder)
		e.ok(err)
		if slices.Sort(names); slices.Equal(names, left) {
			return
		}
	}
	e.Errorf("names in %s: %q; want %q", folder, names, left)
}

// wantFolders wants that these folders are listed, each once.
func (e *env) wantFolders(want ...string) {
	e.Helper()
	got, err := e.another().Folders(e.Context())
	e.ok(err)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		e.Errorf("folders (- want, + got)\n%s", diff)
	}
}
