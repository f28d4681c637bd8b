package files_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"firebreak/store/files"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

// fullDisk is the environment by which a test process that is run again is
// told to meet a full disk, in the folder that it names.
const fullDisk = "FIREBREAK_TEST_FULL_DISK"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// folder is a Dir and where it is.
type folder struct {
	*testing.T
	files.Dir
	root string
}

func newFolder(t *testing.T) folder {
	t.Helper()
	root := filepath.Join(t.TempDir(), "files")
	d, err := files.NewDir(root)
	if err != nil {
		t.Fatal(err)
	}
	return folder{t, d, root}
}

func (f folder) ok(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// begin creates a file and writes to it.
func (f folder) begin(name, content string) files.Writer {
	f.Helper()
	w, err := f.Create(f.Context(), name)
	f.ok(err)
	_, err = io.WriteString(w, content)
	f.ok(err)
	return w
}

func (f folder) put(name, content string) {
	f.Helper()
	f.ok(f.begin(name, content).Commit())
}

func (f folder) wantAbsent(name string) {
	f.Helper()
	got, err := f.Open(f.Context(), name)
	if !errors.Is(err, files.ErrNotFound) {
		f.Errorf("Open of %s: %v", name, err)
	}
	if err == nil {
		f.ok(got.Close())
	}
}

func (f folder) want(name, content string) {
	f.Helper()
	r, err := f.Open(f.Context(), name)
	f.ok(err)
	got, err := io.ReadAll(r)
	f.ok(err)
	if string(got) != content || r.Size() != int64(len(content)) {
		f.Errorf("%s holds %q, and says that it has %d bytes", name, got, r.Size())
	}
	f.ok(r.Close())
}

// onDisk lists what is below a folder, folders with a slash.
func onDisk(t *testing.T, root string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		name, err := filepath.Rel(root, p)
		if d.IsDir() {
			name += "/"
		}
		all = append(all, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (f folder) wantDisk(want ...string) {
	f.Helper()
	if diff := cmp.Diff(want, onDisk(f.T, f.root)); diff != "" {
		f.Errorf("(- want, + on disk)\n%s", diff)
	}
}

func TestAFileIsThereWhenItIsCommittedAndNotBefore(t *testing.T) {
	f := newFolder(t)
	w := f.begin("job/1.Patient.ndjson", "one\n")
	f.wantAbsent("job/1.Patient.ndjson")
	_, err := io.WriteString(w, "two\n")
	f.ok(err)
	f.wantAbsent("job/1.Patient.ndjson")
	f.ok(w.Commit())
	f.want("job/1.Patient.ndjson", "one\ntwo\n")
	f.wantDisk("job/", "job/1.Patient.ndjson")
}

func TestAnEmptyFileIsAFile(t *testing.T) {
	f := newFolder(t)
	f.put("job/empty", "")
	f.want("job/empty", "")
}

func TestAFileIsThereForANewProcess(t *testing.T) {
	f := newFolder(t)
	f.put("job/a", "content")
	again, err := files.NewDir(f.root)
	f.ok(err)
	f.Dir = again
	f.want("job/a", "content")
}

func TestAFileIsReadFromAnyPlace(t *testing.T) {
	f := newFolder(t)
	f.put("job/a", "0123456789")
	r, err := f.Open(t.Context(), "job/a")
	f.ok(err)
	_, err = r.Seek(-3, io.SeekEnd)
	f.ok(err)
	got, err := io.ReadAll(r)
	f.ok(err)
	if string(got) != "789" {
		t.Errorf("%s", got)
	}
	f.ok(r.Close())
}

func TestCommitReplacesAnOlderFile(t *testing.T) {
	f := newFolder(t)
	f.put("job/a", "the old one, which is longer")
	w := f.begin("job/a", "new")
	f.want("job/a", "the old one, which is longer")
	f.ok(w.Commit())
	f.want("job/a", "new")
	f.wantDisk("job/", "job/a")
}

// A process that died left a begun file; the next attempt begins anew.
func TestWhatACrashLeftIsNoPartOfTheNextAttempt(t *testing.T) {
	f := newFolder(t)
	left := f.begin("job/a", "left behind by the first attempt")
	f.put("job/a", "second")
	f.want("job/a", "second")
	left.Abort()
	f.want("job/a", "second")
}

func TestAbortLeavesNothing(t *testing.T) {
	f := newFolder(t)
	f.put("job/old", "old")
	w := f.begin("job/old", "new")
	other := f.begin("job/other", "other")
	w.Abort()
	other.Abort()
	other.Abort()
	f.want("job/old", "old")
	f.wantAbsent("job/other")
	f.wantDisk("job/", "job/old")
}

func TestAbortOfAnOldAttemptDoesNotTouchTheNext(t *testing.T) {
	f := newFolder(t)
	old := f.begin("job/a", "old")
	old.Abort()
	w := f.begin("job/a", "new")
	old.Abort()
	f.ok(w.Commit())
	f.want("job/a", "new")
}

func TestAbortAfterCommitDoesNothing(t *testing.T) {
	f := newFolder(t)
	w := f.begin("job/a", "content")
	f.ok(w.Commit())
	w.Abort()
	f.want("job/a", "content")
}

func TestACommitThatFailsIsAborted(t *testing.T) {
	f := newFolder(t)
	w := f.begin("job/a", "content")
	f.ok(f.RemoveFolder(t.Context(), "job"))
	if err := w.Commit(); err == nil {
		t.Error("committed into a folder that is gone")
	}
	w.Abort()
	f.wantDisk()
}

func TestNamesThatCouldLeadElsewhereAreRefused(t *testing.T) {
	f := newFolder(t)
	beside := filepath.Join(filepath.Dir(f.root), "beside")
	f.ok(os.WriteFile(beside, []byte("not ours"), 0o600))
	f.put("job/a", "content")
	parts := []string{
		"", ".", "..", ".a", "...", "a b", "a/b", "/", "a/", "/a", "../a", `a\b`, "a\x00", "a\nb", "a:b", "a~", "*", "%2e%2e", "é", "\xff",
		"a.begun", ".begun", strings.Repeat("a", 201),
	}
	names := []string{"", "/", "a", "job", "/job/a", "job//a", "job/./a", "job/../a", "../beside", "../files/job/a", "job/a/", beside, "job/../../beside", "job/a/b"}
	for _, p := range parts {
		names = append(names, "job/"+p, p+"/a")
	}
	for _, name := range names {
		if w, err := f.Create(t.Context(), name); err == nil {
			t.Errorf("Create of %q is not refused", name)
			w.Abort()
		}
		if r, err := f.Open(t.Context(), name); err == nil || errors.Is(err, files.ErrNotFound) {
			t.Errorf("Open of %q is not refused: %v", name, err)
			if err == nil {
				f.ok(r.Close())
			}
		}
		if err := f.Remove(t.Context(), name); err == nil {
			t.Errorf("Remove of %q is not refused", name)
		}
	}
	for _, p := range parts {
		if err := f.RemoveFolder(t.Context(), p); err == nil {
			t.Errorf("RemoveFolder of %q is not refused", p)
		}
	}
	f.wantDisk("job/", "job/a")
	if got, err := os.ReadFile(beside); string(got) != "not ours" {
		t.Error(string(got), err)
	}
}

func TestNamesOfLettersDigitsAndThreeMarksAreTaken(t *testing.T) {
	f := newFolder(t)
	for _, name := range []string{
		"01JD0000000000000000000000/1-scan-000001.2.Patient.1.ndjson", "a/b", "A-z_0.9/x..y", "a/-", "_/_", "a/begun",
		"f/" + strings.Repeat("a", 200), strings.Repeat("b", 200) + "/a",
	} {
		f.put(name, name)
		f.want(name, name)
	}
}

func TestRemoveOfWhatIsNotThereIsNoError(t *testing.T) {
	f := newFolder(t)
	f.put("job/a", "a")
	f.put("job/b", "b")
	for range 2 {
		f.ok(f.Remove(t.Context(), "job/a", "job/absent", "absent/a"))
		f.wantAbsent("job/a")
		f.want("job/b", "b")
	}
	f.ok(f.Remove(t.Context()))
}

func TestRemoveGoesOnAfterAnError(t *testing.T) {
	f := newFolder(t)
	f.put("job/a", "a")
	if err := f.Remove(t.Context(), "../x", "job/a"); err == nil {
		t.Error("a bad name is no error")
	}
	f.wantAbsent("job/a")
}

func TestRemoveFolderRemovesBegunFilesToo(t *testing.T) {
	f := newFolder(t)
	f.put("job/a", "a")
	w := f.begin("job/b", "b")
	f.put("other/a", "a")
	for range 2 {
		f.ok(f.RemoveFolder(t.Context(), "job"))
		f.wantDisk("other/", "other/a")
	}
	f.ok(f.RemoveFolder(t.Context(), "never-there"))
	w.Abort()
	f.wantDisk("other/", "other/a")
}

func TestOpenOfWhatIsNotThereIsErrNotFound(t *testing.T) {
	f := newFolder(t)
	f.put("job/a", "a")
	f.wantAbsent("job/b")
	f.wantAbsent("absent/a")
	f.ok(f.RemoveFolder(t.Context(), "job"))
	f.wantAbsent("job/a")
}

// A download goes on with the file that it has opened.
func TestAFileThatIsOpenIsReadToItsEndThoughItIsRemoved(t *testing.T) {
	f := newFolder(t)
	f.put("job/a", "content")
	r, err := f.Open(t.Context(), "job/a")
	f.ok(err)
	f.ok(f.RemoveFolder(t.Context(), "job"))
	got, err := io.ReadAll(r)
	if string(got) != "content" || err != nil {
		t.Error(string(got), err)
	}
	f.ok(r.Close())
}

func TestOthersOnTheMachineCannotRead(t *testing.T) {
	f := newFolder(t)
	w := f.begin("job/begun", "a")
	f.put("job/a", "a")
	modes := map[string]fs.FileMode{}
	for _, name := range append([]string{"."}, onDisk(t, f.root)...) {
		info, err := os.Stat(filepath.Join(f.root, name))
		f.ok(err)
		modes[name] = info.Mode().Perm()
	}
	w.Abort()
	want := map[string]fs.FileMode{".": 0o700, "job/": 0o700, "job/a": 0o600, "job/begun.begun": 0o600}
	if diff := cmp.Diff(want, modes); diff != "" {
		t.Error(diff)
	}
}

func TestManyWriteIntoOneNewFolderAtOnce(t *testing.T) {
	f := newFolder(t)
	names := []string{"job/a", "job/b", "job/c", "job/d", "job/e", "job/f", "job/g", "job/h"}
	errs := make([]error, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			w, err := f.Create(t.Context(), name)
			if err == nil {
				_, err = io.WriteString(w, name)
			}
			if err == nil {
				err = w.Commit()
			}
			errs[i] = err
		})
	}
	all.Wait()
	f.ok(errors.Join(errs...))
	for _, name := range names {
		f.want(name, name)
	}
}

func TestADirectoryThatCannotBeMadeIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := files.NewDir(filepath.Join(file, "files")); err == nil {
		t.Error("made below a file")
	}
}

// A limit on the size of files stands in for a full disk. It holds for a whole
// process, so the test is run again in one of its own.
func TestAFullDiskIsAnErrorThatLeavesNothing(t *testing.T) {
	if root := os.Getenv(fullDisk); root != "" {
		writeToFullDisk(t, root)
		return
	}
	root := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "GOCOVERDIR=") }), fullDisk+"="+root)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := onDisk(t, root); !slices.Equal(got, []string{"job/", "job/small"}) {
		t.Errorf("on disk: %v", got)
	}
}

func writeToFullDisk(t *testing.T, root string) {
	const limit = 64 << 10
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		t.Fatal(err)
	}
	d, err := files.NewDir(root)
	if err != nil {
		t.Fatal(err)
	}
	f := folder{t, d, root}
	w, err := f.Create(context.Background(), "job/large")
	f.ok(err)
	n, err := w.Write(make([]byte, limit+1))
	if n > limit || !errors.Is(err, syscall.EFBIG) {
		t.Errorf("%d bytes were written; %v", n, err)
	}
	w.Abort()
	f.wantAbsent("job/large")
	f.put("job/small", "there is room for this")
	f.want("job/small", "there is room for this")
}
