package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"firebreak/auth"
)

// clientFile is the file of clients as "firebreak client" keeps it.
type clientFile struct {
	Clients string `help:"File of the clients." required:"" type:"path" placeholder:"FILE"`
}

// read gives the clients.
func (c clientFile) read() (auth.Clients, error) {
	f, err := os.Open(c.Clients)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	clients, err := readClients(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Clients, err)
	}
	return clients, nil
}

// change has f change the clients, and writes them if f gives no error. Nobody
// else changes them meanwhile: each waits for the lock beside the file. Whoever
// reads the file finds all of the old one or all of the new one.
func (c clientFile) change(isNew bool, f func(auth.Clients) error) error {
	path, err := filepath.EvalSymlinks(c.Clients)
	switch {
	case isNew && errors.Is(err, fs.ErrNotExist):
		path = c.Clients
	case err != nil:
		return err
	}
	release, err := lockFile(path + ".lock")
	if err != nil {
		return err
	}
	defer release()
	clients, err := clientFile{path}.read()
	if isNew && errors.Is(err, fs.ErrNotExist) {
		clients, err = auth.Clients{}, nil
	}
	if err != nil {
		return err
	}
	if err := f(clients); err != nil {
		return err
	}
	text, err := clients.Format()
	if err != nil {
		return err
	}
	return replaceFile(path, text)
}

// lockFile waits until it has the lock that the file stands for. The file
// stays: if it went, two could hold it, each a file of the same name.
func lockFile(path string) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for err = syscall.EINTR; errors.Is(err, syscall.EINTR); {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return func() { _ = f.Close() }, nil // which gives the lock back; nothing was written
}

// replaceFile puts a file that its owner alone may read in the place of another,
// at once: after a power cut it is the one or the other.
func replaceFile(path string, text []byte) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, filepath.Base(path)+".*") // of mode 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(text)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
