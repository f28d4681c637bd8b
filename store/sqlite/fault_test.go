package sqlite_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/r4"
	"firebreak/fhir/search"
	"firebreak/store"
	"firebreak/store/sqlite"

	"github.com/oklog/ulid/v2"
	driver "zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

const tenant = store.Tenant("t")

func at(t testing.TB, dir string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: dir, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// patient is a Put of a Patient with so many bytes of text.
func patient(t *testing.T, id string, bytes int) store.Put {
	t.Helper()
	body := fmt.Sprintf(`{"resourceType":"Patient","id":%q,"text":{"status":"generated","div":%q}}`, id, strings.Repeat("x", bytes))
	r, err := fhir.Reader{Known: r4.IsType}.Read([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return store.Put{Resource: r, Terms: search.Terms(r.ID.Type, r.ID.ID, r.Body), Owner: store.Owner{Client: "c"}}
}

func commit(t *testing.T, s store.Store, puts ...store.Put) error {
	t.Helper()
	_, err := s.Commit(t.Context(), tenant, store.Batch{ID: ulid.Make(), Puts: puts})
	return err
}

func TestAFullDiskLosesNothingThatWasAcknowledged(t *testing.T) {
	s := at(t, t.TempDir())
	if err := s.LimitPages(t.Context(), 600); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	acknowledged, refused := map[string]bool{}, 0
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := range 40 {
				id := fmt.Sprintf("p%d-%d", w, i)
				err := commit(t, s, patient(t, id, 10_000))
				mu.Lock()
				switch {
				case err == nil:
					acknowledged[id] = true
				case errors.Is(err, store.ErrFull):
					refused++
				default:
					t.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	writers.Wait()
	if len(acknowledged) == 0 || refused == 0 {
		t.Fatalf("%d acknowledged, %d refused: the disk was not filled in between", len(acknowledged), refused)
	}
	if err := s.LimitPages(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := commit(t, s, patient(t, "after", 10)); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	acknowledged["after"] = true
	for w := range 8 {
		for i := range 40 {
			id := fmt.Sprintf("p%d-%d", w, i)
			got, err := s.Get(t.Context(), tenant, fhir.ID{Type: "Patient", ID: id})
			if err != nil || (got[0].N == 1) != acknowledged[id] {
				t.Fatalf("%s: acknowledged %v, there %v, %v", id, acknowledged[id], got[0].N == 1, err)
			}
		}
	}
}

func TestASecondHolderOfTheDataDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := at(t, dir)
	if _, err := sqlite.Open(t.Context(), sqlite.Config{Dir: dir, Now: time.Now}); !errors.Is(err, sqlite.ErrHeld) {
		t.Errorf("got %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	at(t, dir)
}

func TestADatabaseThatIsNotOursOrNewerIsRefusedUntouched(t *testing.T) {
	for name, c := range map[string]struct{ pragma, says string }{
		"newer":      {"user_version=99", "schema 99"},
		"not ours":   {"application_id=7", "not a database of Firebreak"},
		"not at all": {"", "not a database"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, sqlite.File)
			if err := at(t, dir).Close(); err != nil {
				t.Fatal(err)
			}
			spoil(t, path, c.pragma)
			before := read(t, path)
			_, err := sqlite.Open(t.Context(), sqlite.Config{Dir: dir, Now: time.Now})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
			if read(t, path) != before {
				t.Error("the file was changed")
			}
		})
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// spoil sets a pragma of the database, or with none overwrites it.
func spoil(t *testing.T, path, pragma string) {
	t.Helper()
	if pragma == "" {
		if err := os.WriteFile(path, []byte(strings.Repeat("patient ", 1000)), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	conn, err := driver.OpenConn(path, driver.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	if err := sqlitex.ExecuteScript(conn, "PRAGMA "+pragma+";", nil); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
}

// full is synchronous=FULL.
const full = 2

func TestThePowerCutSettingOfTheWriterIsFull(t *testing.T) {
	if level, err := at(t, t.TempDir()).Synchronous(t.Context()); err != nil || level != full {
		t.Errorf("synchronous is %d, %v", level, err)
	}
}

func TestThePowerCutSettingOfEveryReaderIsFull(t *testing.T) {
	levels, err := at(t, t.TempDir()).ReadersSynchronous(t.Context())
	if err != nil || len(levels) != 8 || slices.ContainsFunc(levels, func(l int) bool { return l != full }) {
		t.Errorf("synchronous is %d, %v", levels, err)
	}
}

func TestThePowerCutSettingOfTheWALCopierIsFull(t *testing.T) {
	if level, err := at(t, t.TempDir()).CopierSynchronous(); err != nil || level != full {
		t.Errorf("synchronous is %d, %v", level, err)
	}
}

func TestABatchOverTheLimitIsRefused(t *testing.T) {
	s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir(), Now: time.Now, MaxBatch: 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := commit(t, s, patient(t, "1", 2000)); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if err := commit(t, s, patient(t, "1", 200)); err != nil {
		t.Error(err)
	}
}
