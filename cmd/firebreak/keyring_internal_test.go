package main

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func openedKeys(t *testing.T, path string) *keyring {
	t.Helper()
	k, err := openKeyring(path, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// kids are the names of the present keys.
func (k *keyring) kids() []string { return k.now().IDs() }

func TestSigningKeysAreMadeOnceAndForTheirOwnerAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), signingKeys)
	var all sync.WaitGroup
	made, errs := make([]*keyring, 8), make([]error, 8)
	for i := range made {
		all.Go(func() { made[i], errs[i] = openKeyring(path, quiet()) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	first := made[0].kids()
	for _, k := range append(made, openedKeys(t, path)) {
		if diff := cmp.Diff(first, k.kids()); diff != "" || len(first) != 1 {
			t.Errorf("two instances have different keys\n%s", diff)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if names, err := os.ReadDir(filepath.Dir(path)); err != nil || len(names) != 1 {
		t.Errorf("left beside it: %v, %v", names, err)
	}
}

func TestARunningServerTakesRotatedKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	k := openedKeys(t, path)
	before := k.kids()
	var out bytes.Buffer
	if code := run(t.Context(), []string{"keys", "rotate", "--file", path}, &out, &out); code != exitOK {
		t.Fatal(code, out.String())
	}
	after := k.kids()
	if len(after) != 2 || after[0] != before[0] || !strings.Contains(out.String(), after[1]) {
		t.Errorf("keys %v, then %v\n%s", before, after, out.String())
	}
	out.Reset()
	if code := run(t.Context(), []string{"keys", "list", "--file", path}, &out, &out); code != exitOK {
		t.Fatal(code, out.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || !strings.HasSuffix(strings.TrimSpace(lines[1]), "verifies") || !strings.HasSuffix(strings.TrimSpace(lines[2]), "signs") || !strings.Contains(lines[2], after[1]) {
		t.Errorf("listed\n%s", out.String())
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestOfManyThatRotateAtOnceEachAddsItsKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	before := openedKeys(t, path).kids()
	link := filepath.Join(t.TempDir(), "link.json")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	const many = 16
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			var out bytes.Buffer
			if code := run(t.Context(), []string{"keys", "rotate", "--file", []string{path, link}[i%2]}, &out, &out); code != exitOK {
				t.Error(code, out.String())
			}
		})
	}
	all.Wait()
	kids := openedKeys(t, path).kids()
	if len(kids) != 1+many || kids[0] != before[0] {
		t.Errorf("after %d rotations there are %d keys: %v", many, len(kids), kids)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info, err)
	}
}

func TestKeysThatCannotBeReadLeaveThoseOfBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	k := openedKeys(t, path)
	before := k.kids()
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, k.kids()); diff != "" {
		t.Error(diff)
	}
	if _, err := openKeyring(path, quiet()); err == nil {
		t.Error("a server starts with a file that has no keys")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, k.kids()); diff != "" {
		t.Error(diff)
	}
}

func TestOnMongoThereAreNoKeysUnlessTheyAreNamed(t *testing.T) {
	for _, c := range []struct {
		o    serving
		want string
	}{
		{serving{storage: storage{Data: "d"}}, filepath.Join("d", signingKeys)},
		{serving{storage: storage{Data: "d"}, SigningKeys: "k"}, "k"},
		{serving{storage: storage{Data: "d", Store: "mongodb://h/d"}}, ""},
		{serving{storage: storage{Data: "d", Store: "mongodb://h/d"}, SigningKeys: "k"}, "k"},
	} {
		if got := c.o.keysFile(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.o.storage, got, c.want)
		}
	}
}
