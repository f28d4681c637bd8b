package files_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"

	"firebreak/store/files"
)

// story is what was done with a Dir until the power was cut, and what must be
// true of it whatever happens then.
type story struct {
	t     *testing.T
	dir   files.Dir
	wants map[string]string   // committed: the content
	gone  map[string]bool     // removed
	open  map[string][]string // what may be, where an operation had not returned
	id    string              // of the directory, when it had one
}

func (s *story) identify(fresh string) (err error) {
	s.id, err = s.dir.Identity(s.t.Context(), func() string { return fresh })
	return err
}

func (s *story) put(name, content string) error {
	s.open[name] = []string{s.wants[name], content}
	w, err := s.dir.Create(s.t.Context(), name)
	if err != nil {
		return err
	}
	defer w.Abort()
	for _, half := range []string{content[:len(content)/2], content[len(content)/2:]} {
		if _, err := io.WriteString(w, half); err != nil {
			return err
		}
	}
	if err := w.Commit(); err != nil {
		return err
	}
	s.wants[name] = content
	delete(s.open, name)
	delete(s.gone, name)
	return nil
}

func (s *story) remove(names ...string) error {
	for _, name := range names {
		s.open[name] = []string{s.wants[name], ""}
		delete(s.wants, name)
	}
	if err := s.dir.Remove(s.t.Context(), names...); err != nil {
		return err
	}
	s.away(names)
	return nil
}

func (s *story) removeFolder(folder string, names ...string) error {
	for _, name := range names {
		s.open[name] = []string{s.wants[name], ""}
		delete(s.wants, name)
	}
	if err := s.dir.RemoveFolder(s.t.Context(), folder); err != nil {
		return err
	}
	s.away(names)
	return nil
}

func (s *story) away(names []string) {
	for _, name := range names {
		s.gone[name] = true
		delete(s.open, name)
	}
}

// tell does everything that is done with files, until the power is cut.
func (s *story) tell(on files.Disk, root string) (err error) {
	if s.dir, err = files.NewDirOn(on, root); err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return s.put("a/1", "the first") },
		func() error { return s.put("a/2", "the second") },
		func() error { return s.put("b/1", "of another folder") },
		func() error { return s.remove("a/1", "b/none") },
		func() error { return s.identify("the-id") },
		func() error { return s.put("a/2", "the second, anew") },
		func() error { return s.removeFolder("a", "a/1", "a/2") },
		func() error { return s.put("a/1", "in a folder of an old name") },
		func() error { return s.put("c/1", "") },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// check looks at what is there when the power is on again.
func (s *story) check(root string) {
	s.t.Helper()
	d, err := files.NewDir(root)
	if err != nil {
		s.t.Fatal(err)
	}
	s.dir = d
	want := s.id
	if err := s.identify("another"); err != nil || want != "" && s.id != want {
		s.t.Errorf("the id was %q, and is %q, %v", want, s.id, err)
	}
	for name, want := range s.wants {
		if may, ok := s.open[name]; ok {
			s.oneOf(d, name, may)
			continue
		}
		if got, err := content(d, name); err != nil || got != want {
			s.t.Errorf("%s was committed as %q; it is %q, %v", name, want, got, err)
		}
	}
	for name := range s.gone {
		if _, ok := s.open[name]; ok {
			continue
		}
		if got, err := content(d, name); !errors.Is(err, files.ErrNotFound) {
			s.t.Errorf("%s was removed; it is %q, %v", name, got, err)
		}
	}
	for name, may := range s.open {
		s.oneOf(d, name, may)
	}
}

// oneOf wants of a file under way one whole content or the other.
func (s *story) oneOf(d files.Dir, name string, may []string) {
	s.t.Helper()
	got, err := content(d, name)
	if err != nil && !errors.Is(err, files.ErrNotFound) {
		s.t.Error(err)
	}
	for _, m := range may {
		if got == m {
			return
		}
	}
	s.t.Errorf("%s may be one of %q; it is %q", name, may, got)
}

func content(d files.Dir, name string) (string, error) {
	f, err := d.Open(context.Background(), name)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(f)
	return string(b), errors.Join(err, f.Close())
}

// The power is cut at each operation in turn; the directory is in another that
// is new too.
func TestAPowerCutLosesNoFileThatWasCommittedAndBringsNoneBack(t *testing.T) {
	for fate := range fates(0) {
		t.Run(fate, func(t *testing.T) {
			for cutAt, over := 1, false; !over; cutAt++ {
				t.Run(fmt.Sprint(cutAt), func(t *testing.T) {
					base := t.TempDir()
					m := newMortal(base, cutAt)
					close(m.off)
					s := &story{t: t, wants: map[string]string{}, gone: map[string]bool{}, open: map[string][]string{}}
					err := s.tell(m, filepath.Join(base, "new", "files"))
					over = err == nil
					if err != nil && !errors.Is(err, errOff) {
						t.Fatal(err)
					}
					if err := m.powerOn(fates(uint64(cutAt))[fate]); err != nil {
						t.Fatal(err)
					}
					s.check(filepath.Join(base, "new", "files"))
				})
			}
		})
	}
}
