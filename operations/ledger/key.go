package ledger

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"firebreak/fhir"
	"firebreak/store"
)

const (
	keySuffix = ".key"
	keySize   = 32
)

// readKey reads a key, or makes one if there is none and it may.
func readKey(path string, make bool) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if make {
			return newKey(path)
		}
		return nil, fmt.Errorf("%w: %s", ErrNoKey, path)
	}
	if err != nil {
		return nil, fmt.Errorf("ledger: read the key: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != keySize {
		return nil, fmt.Errorf("%w: %s is no key", ErrOtherKey, path)
	}
	return key, nil
}

// newKey makes a key, which is there whole or not at all.
func newKey(path string) ([]byte, error) {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // it never fails
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return nil, fmt.Errorf("ledger: make the key: %w", err)
	}
	_, err = f.WriteString(hex.EncodeToString(key) + "\n")
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return nil, fmt.Errorf("ledger: make the key: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return key, syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("ledger: sync the folder: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("ledger: sync the folder: %w", err)
	}
	return nil
}

// mac is what an entry has in the place of an id. No tenant, type or id has a
// NUL.
func mac(key []byte, t store.Tenant, id fhir.ID) (out [macSize]byte) {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(string(t) + "\x00" + id.Type + "/" + id.ID)) // it never fails
	h.Sum(out[:0])
	return out
}

// keyCheck tells whether a key is a ledger's.
func keyCheck(key []byte, salt [idSize]byte) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write(append([]byte("a ledger of Firebreak\x00"), salt[:]...)) // it never fails
	return h.Sum(nil)[:checkSize]
}
