package ingest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firebreak/operations/ingest"

	"github.com/google/go-cmp/cmp"
)

func TestSourcesAreTheFilesOfAFolderInTheOrderOfNames(t *testing.T) {
	l := newLoad(t)
	for name, content := range map[string]string{
		"b.ndjson": "12", "a.json": "1", "c/z.NDJSON.GZ": "123", "c/a.json.gz": "", "c.jsonl": "1", "a/deep/er.ndjson": "1",
		"readme.md": "1", "c/log.txt.gz": "1", "c/ndjson": "1", "x.ndjson.bak": "1", "manifest": "1",
	} {
		l.file(name, content)
	}
	got := l.sources(l.dir)
	for i := range got {
		got[i].Path = strings.TrimPrefix(got[i].Path, l.dir+"/")
	}
	want := []ingest.Source{
		{Path: "a/deep/er.ndjson", Size: 1, Lines: true},
		{Path: "a.json", Size: 1},
		{Path: "b.ndjson", Size: 2, Lines: true},
		{Path: "c/a.json.gz", Gzip: true},
		{Path: "c/z.NDJSON.GZ", Size: 3, Lines: true, Gzip: true},
		{Path: "c.jsonl", Size: 1, Lines: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSourcesComeInTheOrderInWhichTheyAreNamed(t *testing.T) {
	l := newLoad(t)
	b, a := l.file("b.ndjson", "1"), l.file("a/a.ndjson", "1")
	var got []string
	for _, s := range l.sources(b, filepath.Dir(a)) {
		got = append(got, s.Path)
	}
	if diff := cmp.Diff([]string{b, a}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAFileThatIsNamedIsTakenWhateverItsName(t *testing.T) {
	l := newLoad(t)
	odd := l.file("patients", lines(patient("a")))
	l.all(odd)
	l.wantOrder("Patient/a")
}

func TestAFolderOfNothingIsAnError(t *testing.T) {
	l := newLoad(t)
	l.file("readme.md", "")
	for _, path := range []string{l.dir, filepath.Join(l.dir, "absent")} {
		if got, err := ingest.Sources([]string{path}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%v, %v", got, err)
		}
	}
	if _, err := ingest.Sources([]string{l.file("a.ndjson", ""), l.dir + "/absent"}); err == nil {
		t.Error("one of two is absent, and that is no error")
	}
}

func TestALinkToAFolderOrAFileIsFollowed(t *testing.T) {
	l := newLoad(t)
	l.file("data/a.ndjson", lines(patient("a")))
	link, one := filepath.Join(l.dir, "link"), filepath.Join(l.dir, "one.ndjson")
	l.ok(os.Symlink("data", link))
	l.ok(os.Symlink("data/a.ndjson", one))
	l.all(link)
	l.wantOrder("Patient/a")
	l.all(one)
	l.wantSum(0, 0, 1, 0)
}
