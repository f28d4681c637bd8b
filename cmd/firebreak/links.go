package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"firebreak/operations/opshttp"
)

// linkKey is the file in the data directory that has the key of signed links.
// Without it, a new one is made, and links that were given out end.
const linkKey = "link.key"

const linkKeySize = 32 // bytes

// links is how the URLs of files are signed; nil if they are not.
func (o serving) links() (*opshttp.Links, error) {
	if o.SignedLinks <= 0 {
		return nil, nil //nolint:nilnil // no links is not an error
	}
	path := filepath.Join(o.Data, linkKey)
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key = make([]byte, linkKeySize)
		_, _ = rand.Read(key) // it never fails
		err = os.WriteFile(path, key, 0o600)
	}
	if err == nil && len(key) != linkKeySize {
		err = fmt.Errorf("%s has not %d bytes; remove it to have a new one made", path, linkKeySize)
	}
	if err != nil {
		return nil, err
	}
	return &opshttp.Links{Key: key, Lifetime: o.SignedLinks}, nil
}
