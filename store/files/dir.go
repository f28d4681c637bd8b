package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Dir is a directory of files: a local one, or one that several machines share.
type Dir struct {
	root   string
	disk   disk
	synced *sync.Map // folders whose entry in root is on disk, by path
}

var _ Place = Dir{}

// disk is what a Dir changes by the operating system. Tests put one in its
// place that forgets, as a power cut does, what was not synced.
type disk interface {
	Mkdir(path string) error
	Create(path string) (handle, error)
	Rename(from, to string) error
	Link(from, to string) error
	Remove(path string) error
	RemoveAll(path string) error
	SyncDir(path string) error
}

// handle is an open file that is written.
type handle interface {
	io.WriteCloser
	Sync() error
}

// NewDir uses a directory; it is made if it is not there, and so are those
// above it.
func NewDir(root string) (Dir, error) { return newDir(osDisk{}, root) }

func newDir(on disk, root string) (Dir, error) {
	if err := makeAll(on, root); err != nil {
		return Dir{}, fmt.Errorf("files: make the directory: %w", err)
	}
	// Whoever made it may have ended before this.
	return Dir{root, on, &sync.Map{}}, on.SyncDir(filepath.Dir(root))
}

// makeAll makes a directory and those above it so that they survive a power cut.
func makeAll(on disk, path string) error {
	info, err := os.Stat(path)
	switch parent := filepath.Dir(path); {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("%s is no directory", path)
	case parent != path:
		if err := makeAll(on, parent); err != nil {
			return err
		}
	}
	if err := on.Mkdir(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return on.SyncDir(filepath.Dir(path))
}

func (d Dir) path(name string) (string, error) {
	folder, file, err := split(name)
	if err != nil {
		return "", err
	}
	return filepath.Join(d.root, folder, file), nil
}

// Create is Files.
func (d Dir) Create(_ context.Context, name string) (Writer, error) {
	path, err := d.path(name)
	if err != nil {
		return nil, err
	}
	if err := d.folder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	f, err := d.disk.Create(path + begun)
	if err != nil {
		return nil, fmt.Errorf("files: create: %w", err)
	}
	return &dirWriter{handle: f, disk: d.disk, path: path}, nil
}

// folder makes a folder that survives a power cut. Whoever finds that another
// has made it does not rely on the other's having synced it. One that is made
// again was removed, perhaps by another process.
func (d Dir) folder(path string) error {
	made := d.disk.Mkdir(path)
	if made != nil && !errors.Is(made, fs.ErrExist) {
		return fmt.Errorf("files: make a folder: %w", made)
	}
	if _, ok := d.synced.Load(path); ok && made != nil {
		return nil
	}
	if err := d.disk.SyncDir(d.root); err != nil {
		return err
	}
	d.synced.Store(path, true)
	return nil
}

type dirWriter struct {
	handle
	disk disk
	path string
	done bool
}

// Commit is Writer.
func (w *dirWriter) Commit() error {
	if err := w.Sync(); err != nil {
		return fmt.Errorf("files: sync: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("files: close: %w", err)
	}
	if err := w.disk.Rename(w.path+begun, w.path); err != nil {
		return fmt.Errorf("files: rename: %w", err)
	}
	w.done = true
	return w.disk.SyncDir(filepath.Dir(w.path))
}

// Abort is Writer.
func (w *dirWriter) Abort() {
	if w.done {
		return
	}
	w.done = true
	_ = w.Close()                     // its content is not wanted
	_ = w.disk.Remove(w.path + begun) // what stays goes with the folder
}

// Open is Files.
func (d Dir) Open(_ context.Context, name string) (File, error) {
	path, err := d.path(name)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("files: open: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("files: open: %w", err), f.Close())
	}
	return dirFile{f, info.Size()}, nil
}

type dirFile struct {
	*os.File
	size int64
}

// Size is File.
func (f dirFile) Size() int64 { return f.size }

// Remove is Files.
func (d Dir) Remove(_ context.Context, names ...string) error {
	var errs []error
	folders := map[string]bool{}
	for _, name := range names {
		path, err := d.path(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, p := range []string{path + begun, path} {
			switch err := d.disk.Remove(p); {
			case err == nil:
				folders[filepath.Dir(path)] = true
			case !errors.Is(err, fs.ErrNotExist):
				errs = append(errs, fmt.Errorf("files: remove: %w", err))
			}
		}
	}
	for folder := range folders {
		errs = append(errs, absentIsFine(d.disk.SyncDir(folder)))
	}
	return errors.Join(errs...)
}

func absentIsFine(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Folders is Files.
func (d Dir) Folders(_ context.Context) ([]string, error) { return list(d.root, fs.DirEntry.IsDir) }

// Names is Files.
func (d Dir) Names(_ context.Context, folder string) ([]string, error) {
	if err := checkFolder(folder); err != nil {
		return nil, err
	}
	names, err := list(filepath.Join(d.root, folder), func(e fs.DirEntry) bool { return !e.IsDir() })
	for i := range names {
		names[i] = folder + "/" + strings.TrimSuffix(names[i], begun)
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// list names the wanted entries of a folder, those with a plain name.
func list(path string, wanted func(fs.DirEntry) bool) ([]string, error) {
	entries, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("files: list: %w", err)
	}
	var names []string
	for _, e := range entries {
		if wanted(e) && plain(strings.TrimSuffix(e.Name(), begun)) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// RemoveFolder is Files.
func (d Dir) RemoveFolder(_ context.Context, folder string) error {
	if err := checkFolder(folder); err != nil {
		return err
	}
	path := filepath.Join(d.root, folder)
	d.synced.Delete(path)
	if err := d.disk.RemoveAll(path); err != nil {
		return fmt.Errorf("files: remove a folder: %w", err)
	}
	return d.disk.SyncDir(d.root)
}
