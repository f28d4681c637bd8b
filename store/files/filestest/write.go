package filestest

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"firebreak/store/files"
)

func writeCases() []testCase {
	return []testCase{
		{"a file is there when it is committed and not before", seenWhenCommitted},
		{"an empty file is a file", func(e *env) { e.put("job/empty", ""); e.want("job/empty", "") }},
		{"Commit replaces an older file", commitReplaces},
		{"what a crash left is no part of the next attempt", crashLeft},
		{"Abort leaves nothing", abortLeavesNothing},
		{"Abort of an old attempt does not touch the next", abortOfAnOldAttempt},
		{"Abort after Commit does nothing", abortAfterCommit},
		{"many write into one new folder at once", manyWrite},
	}
}

// large is the content of a file of more than five parts of an upload, no two
// lines of which are the same.
func large() string {
	var b strings.Builder
	for i := 0; b.Len() < 26<<20; i++ {
		fmt.Fprintf(&b, "%0127d\n", i)
	}
	return b.String()
}

func seenWhenCommitted(e *env) {
	w := e.begin("job/1.Patient.ndjson", "one\n")
	e.wantAbsent("job/1.Patient.ndjson")
	_, err := io.WriteString(w, "two\n")
	e.ok(err)
	e.wantAbsent("job/1.Patient.ndjson")
	e.ok(w.Commit())
	e.want("job/1.Patient.ndjson", "one\ntwo\n")
	e.wantNames("job", "job/1.Patient.ndjson")
}

func commitReplaces(e *env) {
	e.put("job/a", "the old one, which is longer")
	w := e.begin("job/a", "new")
	e.want("job/a", "the old one, which is longer")
	e.ok(w.Commit())
	e.want("job/a", "new")
	e.wantNames("job", "job/a")
}

// A process that died left a begun file; the next attempt begins anew.
func crashLeft(e *env) {
	left := e.begin("job/a", "left behind by the first attempt")
	e.put("job/a", "second")
	e.want("job/a", "second")
	left.Abort()
	e.want("job/a", "second")
}

func abortLeavesNothing(e *env) {
	e.put("job/old", "old")
	w := e.begin("job/old", "new")
	other := e.begin("other/a", "other")
	large := e.begin("large/a", large())
	w.Abort()
	for range 2 {
		other.Abort()
		large.Abort()
	}
	e.want("job/old", "old")
	e.wantAbsent("other/a", "large/a")
	e.wantNames("job", "job/old")
	e.wantNames("other")
	e.until("large", func() error { return e.RemoveFolder(e.Context(), "large") })
}

func abortOfAnOldAttempt(e *env) {
	old := e.begin("job/a", "old")
	old.Abort()
	w := e.begin("job/a", "new")
	old.Abort()
	e.ok(w.Commit())
	e.want("job/a", "new")
}

func abortAfterCommit(e *env) {
	w := e.begin("job/a", "content")
	e.ok(w.Commit())
	w.Abort()
	e.want("job/a", "content")
	e.wantNames("job", "job/a")
}

func manyWrite(e *env) {
	var names []string
	for i := range 8 {
		names = append(names, fmt.Sprintf("job/%d", i))
	}
	errs := make([]error, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		place := e.another()
		all.Go(func() { errs[i] = write(e, place, name) })
	}
	all.Wait()
	e.ok(errors.Join(errs...))
	for _, name := range names {
		e.want(name, name)
	}
	e.wantNames("job", names...)
}

func write(e *env, place files.Place, name string) error {
	w, err := place.Create(e.Context(), name)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := io.WriteString(w, name); err != nil {
		return err
	}
	return w.Commit()
}
