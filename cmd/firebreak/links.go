package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"firebreak/operations/opshttp"
	"firebreak/store"
)

// linkKey is the file in the data directory that has the key of signed links.
// Without it, a new one is made, and links that were given out end. Instances
// that share a database have the key in it.
const linkKey = "link.key"

const linkKeySize = 32 // bytes

// links is how the URLs of files are signed; nil if they are not.
func (o serving) links(ctx context.Context, st store.Store) (*opshttp.Links, error) {
	if o.SignedLinks <= 0 {
		return nil, nil //nolint:nilnil // no links is not an error
	}
	key, at, err := o.keyOfLinks(ctx, st)
	if err == nil && len(key) != linkKeySize {
		err = fmt.Errorf("%s has not %d bytes; remove it to have a new one made", at, linkKeySize)
	}
	if err != nil {
		return nil, err
	}
	return &opshttp.Links{Key: key, Lifetime: o.SignedLinks}, nil
}

// keyOfLinks is the key, made if there is none, and where it is kept.
func (o serving) keyOfLinks(ctx context.Context, st store.Store) (key []byte, at string, err error) {
	fresh := make([]byte, linkKeySize)
	_, _ = rand.Read(fresh) // it never fails
	if s, ok := st.(shared); ok {
		key, err = s.LinkKey(ctx, fresh)
		return key, "the document links of the collection meta", err
	}
	at = filepath.Join(o.Data, linkKey)
	if key, err = os.ReadFile(at); errors.Is(err, fs.ErrNotExist) {
		key, err = fresh, os.WriteFile(at, fresh, 0o600)
	}
	return key, at, err
}
