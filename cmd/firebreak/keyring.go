package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"firebreak/operations/certificate"
)

// signingKeys is the file in the data directory that has the keys of
// certificates.
const signingKeys = "signing-keys.json"

// keyring is a file of keys, which is read again when it has changed.
type keyring struct {
	path string
	log  *slog.Logger

	mu   sync.Mutex
	seen fs.FileInfo // of the file that the keys are from
	keys certificate.Keys
}

// keysFile is the file of the keys; "" if there is none.
func (o serving) keysFile() string {
	if o.SigningKeys == "" && o.Store == "" {
		return filepath.Join(o.Data, signingKeys)
	}
	return o.SigningKeys
}

// openKeyring reads the keys, and makes them if there is no file.
func openKeyring(path string, log *slog.Logger) (*keyring, error) {
	k := &keyring{path: path, log: log}
	err := k.read()
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeKeys(path); err == nil {
			err = k.read()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the signing keys: %w", err)
	}
	return k, nil
}

func (k *keyring) read() error {
	info, err := os.Stat(k.path)
	if err != nil {
		return err
	}
	keys, err := readKeys(k.path)
	if err == nil {
		k.keys, k.seen = keys, info
	}
	return err
}

func readKeys(path string) (certificate.Keys, error) {
	doc, err := os.ReadFile(path)
	if err != nil {
		return certificate.Keys{}, err
	}
	keys, err := certificate.ReadKeys(doc)
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return keys, err
}

// now are the present keys. While the file cannot be read, they are the last
// that could be: a purge does not fail for that.
func (k *keyring) now() certificate.Keys {
	k.mu.Lock()
	defer k.mu.Unlock()
	info, err := os.Stat(k.path)
	if err == nil && os.SameFile(info, k.seen) && info.ModTime().Equal(k.seen.ModTime()) && info.Size() == k.seen.Size() {
		return k.keys
	}
	if err == nil {
		err = k.read()
	}
	if err != nil {
		k.log.Warn("the signing keys have changed and cannot be read; those of before are used", "error", err)
	}
	return k.keys
}

// makeKeys makes a file of new keys. Of several that do so at once, one does,
// and the others leave it as it is.
func makeKeys(path string) error {
	keys, err := certificate.NewKeys()
	if err != nil {
		return err
	}
	return writeKeys(path, keys, func(fresh string) error {
		if err := os.Link(fresh, path); !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	})
}

// rotateKeys adds a key to those of a file. Nobody else does so meanwhile: each
// waits for the lock beside the file.
func rotateKeys(path string) (certificate.Keys, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return certificate.Keys{}, err
	}
	release, err := lockFile(path + ".lock")
	if err != nil {
		return certificate.Keys{}, err
	}
	defer release()
	keys, err := readKeys(path)
	if err == nil {
		keys, err = keys.Rotated()
	}
	if err == nil {
		err = writeKeys(path, keys, func(fresh string) error { return os.Rename(fresh, path) })
	}
	return keys, err
}

// writeKeys has place put a file with the keys, which is on disk, where it is to
// be. Nobody else may read it.
func writeKeys(path string, keys certificate.Keys, place func(fresh string) error) (err error) {
	doc, err := keys.JSON()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // its mode is 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it may have been renamed
	if _, err = f.Write(append(doc, '\n')); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := place(f.Name()); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
