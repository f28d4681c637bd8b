package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Dir is a local directory of files.
type Dir struct {
	root   string
	synced *sync.Map // folders whose entry in root is on disk, by path
}

var _ Files = Dir{}

// NewDir uses a directory; it is made if it is not there.
func NewDir(root string) (Dir, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return Dir{}, fmt.Errorf("files: make the directory: %w", err)
	}
	return Dir{root, &sync.Map{}}, syncDir(filepath.Dir(root))
}

// begun marks a file that was not committed.
const begun = ".begun"

func (d Dir) path(name string) (string, error) {
	folder, file, ok := strings.Cut(name, "/")
	if !ok || !plain(folder) || !plain(file) {
		return "", fmt.Errorf("files: %q is no name of a file", name)
	}
	return filepath.Join(d.root, folder, file), nil
}

// plain tells whether s is a name without any power: no separators, no dot first.
func plain(s string) bool {
	if s == "" || len(s) > 200 || s[0] == '.' || strings.HasSuffix(s, begun) {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(".-_", r)
	}) < 0
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
	f, err := os.OpenFile(path+begun, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("files: create: %w", err)
	}
	return &dirWriter{File: f, path: path}, nil
}

// folder makes a folder that survives a power cut. Whoever finds that another
// has made it does not rely on the other's having synced it.
func (d Dir) folder(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("files: make a folder: %w", err)
	}
	if _, ok := d.synced.Load(path); ok {
		return nil
	}
	if err := syncDir(d.root); err != nil {
		return err
	}
	d.synced.Store(path, true)
	return nil
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("files: sync a folder: %w", err)
	}
	return errors.Join(f.Sync(), f.Close())
}

type dirWriter struct {
	*os.File
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
	if err := os.Rename(w.path+begun, w.path); err != nil {
		return fmt.Errorf("files: rename: %w", err)
	}
	w.done = true
	return syncDir(filepath.Dir(w.path))
}

// Abort is Writer.
func (w *dirWriter) Abort() {
	if w.done {
		return
	}
	w.done = true
	_ = w.Close()                 // its content is not wanted
	_ = os.Remove(w.path + begun) // what stays goes with the folder
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
		if err == nil {
			err = os.Remove(path)
		}
		switch {
		case err == nil:
			folders[filepath.Dir(path)] = true
		case !errors.Is(err, fs.ErrNotExist):
			errs = append(errs, fmt.Errorf("files: remove: %w", err))
		}
	}
	for folder := range folders {
		errs = append(errs, syncDir(folder))
	}
	return errors.Join(errs...)
}

// RemoveFolder is Files.
func (d Dir) RemoveFolder(_ context.Context, folder string) error {
	if !plain(folder) {
		return fmt.Errorf("files: %q is no name of a folder", folder)
	}
	path := filepath.Join(d.root, folder)
	d.synced.Delete(path)
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("files: remove a folder: %w", err)
	}
	return syncDir(d.root)
}
