package files_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"firebreak/store/files"
	"firebreak/store/files/filestest"

	"github.com/google/go-cmp/cmp"
)

// fullDisk is the environment by which a test process that is run again is
// told to meet a full disk, in the folder that it names.
const fullDisk = "FIREBREAK_TEST_FULL_DISK"

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

func TestADirKeepsWhatFilesPromises(t *testing.T) {
	filestest.Run(t, func(t testing.TB) filestest.Opener {
		root := filepath.Join(t.TempDir(), "files")
		return func() files.Place {
			d, err := files.NewDir(root)
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
	})
}

func TestOnDiskIsWhatWasCommittedAndNoMore(t *testing.T) {
	f := newFolder(t)
	f.put("job/a", "old")
	f.begin("job/a", "new").Abort()
	f.begin("job/b", "b").Abort()
	f.put("job/a", "newer")
	f.put("job/c", "c")
	f.ok(f.Remove(t.Context(), "job/c"))
	f.put("other/a", "a")
	w := f.begin("other/b", "b")
	f.ok(f.RemoveFolder(t.Context(), "other"))
	w.Abort()
	_, err := f.Identity(t.Context(), rand.Text)
	f.ok(err)
	f.wantDisk(".instance-id", "job/", "job/a")
}

func TestNoNameLeadsOutOfTheDirectory(t *testing.T) {
	f := newFolder(t)
	beside := filepath.Join(filepath.Dir(f.root), "beside")
	f.ok(os.WriteFile(beside, []byte("not ours"), 0o600))
	for _, name := range []string{"../beside", "..", "a/../../beside", beside} {
		_, created := f.Create(t.Context(), name)
		_, opened := f.Open(t.Context(), name)
		_, listed := f.Names(t.Context(), name)
		for _, err := range []error{created, opened, listed, f.Remove(t.Context(), name), f.RemoveFolder(t.Context(), name)} {
			if err == nil || errors.Is(err, files.ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if got, err := os.ReadFile(beside); string(got) != "not ours" {
		t.Error(string(got), err)
	}
	f.wantDisk()
}

func TestAnIDThatIsDamagedIsAnError(t *testing.T) {
	f := newFolder(t)
	f.ok(os.WriteFile(filepath.Join(f.root, ".instance-id"), nil, 0o600))
	if id, err := f.Identity(t.Context(), rand.Text); err == nil {
		t.Errorf("the id is %q", id)
	}
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
