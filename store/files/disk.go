package files

import (
	"errors"
	"fmt"
	"os"
)

// osDisk is the disk of the operating system.
type osDisk struct{}

// Mkdir is disk.
func (osDisk) Mkdir(path string) error { return os.Mkdir(path, 0o700) }

// Create is disk.
func (osDisk) Create(path string) (handle, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
}

// Rename is disk.
func (osDisk) Rename(from, to string) error { return os.Rename(from, to) }

// Link is disk: it never replaces.
func (osDisk) Link(from, to string) error { return os.Link(from, to) }

// Remove is disk.
func (osDisk) Remove(path string) error { return os.Remove(path) }

// RemoveAll is disk.
func (osDisk) RemoveAll(path string) error { return os.RemoveAll(path) }

// SyncDir is disk: the entries of the directory are kept from now on.
func (osDisk) SyncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("files: sync a folder: %w", err)
	}
	return errors.Join(f.Sync(), f.Close())
}
