package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// idName is where the id of a place is kept. No name of a file or a folder
// begins with a dot.
const idName = ".instance-id"

// idFile is the file of an id.
type idFile struct {
	at string // for people
	// get reads the file; what it gives is durable. ErrNotFound.
	get func() ([]byte, error)
	// put makes the file if it is not there. It never replaces one, and that
	// another was first is no error.
	put func(content, suffix string) error
}

// identity is Place.
func (f idFile) identity(fresh func() string) (string, error) {
	b, err := f.get()
	if errors.Is(err, ErrNotFound) {
		if b, err = f.make(fresh()); err != nil {
			return "", fmt.Errorf("files: %s has no id of the place, and it cannot be made: %w", f.at, err)
		}
	}
	if err != nil {
		return "", fmt.Errorf("files: read the id of the place in %s: %w", f.at, err)
	}
	id := string(bytes.TrimSpace(b))
	if !plain(id) {
		return "", fmt.Errorf("files: %s holds no id; put back what it held, or remove it if no instance uses the place", f.at)
	}
	return id, nil
}

func (f idFile) make(id string) ([]byte, error) {
	if !plain(id) {
		return nil, fmt.Errorf("%q is no id", id)
	}
	if err := f.put(id+"\n", id); err != nil {
		return nil, err
	}
	return f.get()
}

// Identity is Place. The disk must have hard links.
func (d Dir) Identity(_ context.Context, fresh func() string) (string, error) {
	path := filepath.Join(d.root, idName)
	return idFile{
		at: path,
		get: func() ([]byte, error) {
			b, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				return nil, ErrNotFound
			}
			return b, errors.Join(err, d.disk.SyncDir(d.root)) // whoever made it may have ended before this
		},
		put: func(content, suffix string) error { return d.putOnce(path, content, suffix) },
	}.identity(fresh)
}

// putOnce writes a small file beside path, and gives it that name if it is free.
func (d Dir) putOnce(path, content, suffix string) (err error) {
	beside := path + "." + suffix
	f, err := d.disk.Create(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, absentIsFine(d.disk.Remove(beside))) }()
	_, err = f.Write([]byte(content))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := d.disk.Link(beside, path); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// Identity is Place. The server must heed If-None-Match; this is tried when the
// id is made.
func (b *Bucket) Identity(ctx context.Context, fresh func() string) (string, error) {
	key := b.prefix + idName
	return idFile{
		at: "s3://" + b.name + "/" + key,
		get: func() ([]byte, error) {
			f, err := b.open(ctx, key)
			if err != nil {
				return nil, err
			}
			content, err := io.ReadAll(f)
			return content, errors.Join(err, f.Close())
		},
		put: func(content, _ string) error { return b.putOnce(ctx, key, content) },
	}.identity(fresh)
}

// putOnce writes a small object if there is none. It does so twice, as a server
// that writes the second one too would have done the same to another's.
func (b *Bucket) putOnce(ctx context.Context, key, content string) error {
	for range 2 {
		switch err := b.write(ctx, key, []byte(content), true); {
		case said(err, "PreconditionFailed", "ConditionalRequestConflict"):
			return nil
		case err != nil:
			return err
		}
	}
	return errors.New("the server replaces objects in spite of If-None-Match, so two instances could have different ids; " +
		"there is one now: start the instances again, one first and then the others")
}
