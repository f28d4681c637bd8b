package fetch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// The names that are ours in a directory beside those of the files.
const (
	// ManifestName is the manifest of a finished export.
	ManifestName = "manifest.json"
	// StateName is there while an export is under way.
	StateName = "export-state.json"
)

// tempSuffix is of a file that is being written and will be moved into place.
const tempSuffix = ".tmp"

// The data is patients': nobody but the user reads it.
const (
	fileMode = 0o600
	dirMode  = 0o700
)

// folder is the directory of an export. No name leads out of it, whatever it is.
type folder struct {
	*os.Root
}

func openFolder(dir string) (folder, error) {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return folder{}, err
	}
	root, err := os.OpenRoot(dir)
	return folder{root}, err
}

// read returns nil if there is no such file.
func (f folder) read(name string) ([]byte, error) {
	data, err := f.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// readJSON leaves v as it is if there is no such file.
func (f folder) readJSON(name string, v any) error {
	data, err := f.read(name)
	if err != nil || data == nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s cannot be read: %w", name, err)
	}
	return nil
}

// write puts all of the data in place, or leaves what was there. It is synced.
func (f folder) write(name string, data []byte) error {
	file, err := f.OpenFile(name+tempSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return f.move(name+tempSuffix, name)
}

func (f folder) writeJSON(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return f.write(name, append(data, '\n'))
}

// move renames a file that has been synced, and syncs the directory.
func (f folder) move(from, to string) error {
	if err := f.Rename(from, to); err != nil {
		return err
	}
	return f.sync()
}

// drop removes files, those that are not there included.
func (f folder) drop(names ...string) error {
	for _, name := range names {
		if err := f.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (f folder) sync() error {
	dir, err := f.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// exists is true for anything of that name, be it a file or not.
func (f folder) exists(name string) (bool, error) {
	_, err := f.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
