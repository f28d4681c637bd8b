package ledger_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"firebreak/operations/ledger"
)

func TestWhatWasEnteredIsThereAfterTheFileWasOpenedAgain(t *testing.T) {
	t.Parallel()
	path, content := made(t)
	if len(content) != headerSize+3*recordSize {
		t.Errorf("the file has %d bytes", len(content))
	}
	for _, text := range []string{"Patient", "north"} {
		if strings.Contains(string(content), text) {
			t.Errorf("the file has %q", text)
		}
	}
	l := opened(t, path)
	lastIs(t, l, 3)
	has(t, l, 4, func(i int) ledger.Entry {
		if i == 3 {
			return ledger.Entry{}
		}
		return ledger.Entry{Erased: 7}
	})
}

func TestAnEntryIsOfOneTenantTypeAndID(t *testing.T) {
	t.Parallel()
	path, _ := made(t)
	x, err := opened(t, path).Lookup()
	ok(t, err)
	other := patient(1)
	other.Type = "Observation"
	if x.Of("south", patient(1)) != (ledger.Entry{}) || x.Of("north", other) != (ledger.Entry{}) || x.Len() != 3 {
		t.Error("the ledger has what was not entered")
	}
}

func TestOfOneResourceTheLatestEntryOfEachSortCounts(t *testing.T) {
	t.Parallel()
	l := joined(t, filepath.Join(t.TempDir(), "ledger"), newStore(t, t.TempDir()))
	enter(t, l, 9, patient(0))
	enter(t, l, 5, patient(0), patient(1))
	ok(t, tryEnter(t, l, 12, patients(0, 1), false))
	ok(t, tryEnter(t, l, 11, patients(0, 1), false))
	has(t, l, 2, func(i int) ledger.Entry { return []ledger.Entry{{Erased: 9, Detached: 12}, {Erased: 5}}[i] })
	lastIs(t, l, 5)
}

func TestATornTailIsCutAtEveryByte(t *testing.T) {
	t.Parallel()
	path, content := made(t)
	for size := headerSize; size <= len(content); size++ {
		ok(t, os.WriteFile(path, content[:size], 0o600))
		l := opened(t, path)
		whole := (size - headerSize) / recordSize
		lastIs(t, l, int64(whole))
		ok(t, l.Close())
		if info, err := os.Stat(path); err != nil || info.Size() != int64(headerSize+whole*recordSize) {
			t.Errorf("of %d bytes %d are left, %v", size, info.Size(), err)
		}
	}
}

func TestRoomThatWasNeverWrittenIsCut(t *testing.T) {
	t.Parallel()
	path, content := made(t)
	for _, n := range []int{1, recordSize, 3*recordSize + 7} {
		ok(t, os.WriteFile(path, append(slices.Clone(content), make([]byte, n)...), 0o600))
		l := opened(t, path)
		lastIs(t, l, 3)
		ok(t, l.Close())
	}
}

func TestAHeaderThatWasNotWrittenWholeIsWrittenAnew(t *testing.T) {
	t.Parallel()
	path, content := made(t)
	for size := range headerSize {
		ok(t, os.WriteFile(path, content[:size], 0o600))
		l := opened(t, path)
		lastIs(t, l, 0)
		ok(t, l.Close())
	}
}

func TestEachFlippedByteIsFound(t *testing.T) {
	t.Parallel()
	path, content := made(t)
	for at := range content {
		damaged := slices.Clone(content)
		damaged[at] ^= 0x40
		ok(t, os.WriteFile(path, damaged, 0o600))
		l, err := ledger.Open(path, ledger.MayMake)
		var damage *ledger.DamageError
		switch {
		case err == nil:
			t.Errorf("byte %d was flipped, and nobody saw it", at)
			ok(t, l.Close())
		case at >= headerSize:
			number := int64(at-headerSize)/recordSize + 1
			if !errors.As(err, &damage) || damage.Number != number || damage.Offset != headerSize+(number-1)*recordSize {
				t.Errorf("byte %d was flipped: %v", at, err)
			}
		case at >= 8 && !errors.As(err, &damage):
			t.Errorf("byte %d of the header was flipped: %v", at, err)
		}
		if after, err := os.ReadFile(path); err != nil || !slices.Equal(after, damaged) {
			t.Fatalf("the damaged file was changed, %v", err)
		}
	}
}

func TestARecordThatIsBlankBeforeOthersIsDamage(t *testing.T) {
	t.Parallel()
	path, content := made(t)
	copy(content[headerSize+recordSize:], make([]byte, recordSize))
	ok(t, os.WriteFile(path, content, 0o600))
	_, err := ledger.Open(path, ledger.MayMake)
	var damage *ledger.DamageError
	if !errors.As(err, &damage) || damage.Number != 2 || !strings.Contains(err.Error(), "byte 112") {
		t.Errorf("the error is %v", err)
	}
}

func TestRecordsThatChangedPlacesAreDamage(t *testing.T) {
	t.Parallel()
	path, content := made(t)
	one, two := slices.Clone(content[headerSize:headerSize+recordSize]), content[headerSize+recordSize:headerSize+2*recordSize]
	copy(content[headerSize:], two)
	copy(content[headerSize+recordSize:], one)
	ok(t, os.WriteFile(path, content, 0o600))
	_, err := ledger.Open(path, ledger.MayMake)
	var damage *ledger.DamageError
	if !errors.As(err, &damage) || damage.Number != 1 {
		t.Errorf("the error is %v", err)
	}
}

func TestAKeyIsNeededAndNoOtherDoes(t *testing.T) {
	t.Parallel()
	path, _ := made(t)
	other, _ := made(t)
	info, err := os.Stat(path + ".key")
	ok(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %v", info.Mode())
	}
	ok(t, os.Rename(other+".key", path+".key"))
	_, err = ledger.Open(path, ledger.MayMake)
	is(t, err, ledger.ErrOtherKey)
	ok(t, os.WriteFile(path+".key", []byte("abc"), 0o600))
	_, err = ledger.Open(path, ledger.MayMake)
	is(t, err, ledger.ErrOtherKey)
	ok(t, os.Remove(path+".key"))
	_, err = ledger.Open(path, ledger.MayMake)
	is(t, err, ledger.ErrNoKey)
}

func TestAFileOfAnotherKindIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"n", "notes of mine", strings.Repeat("notes of mine ", 20)} {
		path := filepath.Join(t.TempDir(), "ledger")
		ok(t, os.WriteFile(path, []byte(text), 0o600))
		ok(t, os.WriteFile(path+".key", []byte(strings.Repeat("ab", 32)), 0o600))
		_, err := ledger.Open(path, ledger.MayMake)
		is(t, err, ledger.ErrNotALedger)
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("the file is %q, %v", got, err)
		}
	}
}

func TestOneHolderHasALedgerAtATime(t *testing.T) {
	t.Parallel()
	path, _ := made(t)
	l := opened(t, path)
	_, err := ledger.Open(path, ledger.MayMake)
	is(t, err, ledger.ErrHeld)
	ok(t, l.Close())
	lastIs(t, opened(t, path), 3)
}

func TestALedgerThatMustExistIsNotMade(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger")
	_, err := ledger.Open(path, ledger.MustExist)
	is(t, err, fs.ErrNotExist)
	if names, err := os.ReadDir(filepath.Dir(path)); err != nil || len(names) > 0 {
		t.Errorf("there is %v, %v", names, err)
	}
}

func BenchmarkOpenAMillionEntries(b *testing.B) {
	path := filepath.Join(b.TempDir(), "ledger")
	l, err := ledger.Open(path, ledger.MayMake)
	if err != nil {
		b.Fatal(err)
	}
	if err := l.Join(b.Context(), noStore{}, false); err != nil {
		b.Fatal(err)
	}
	if err := errors.Join(tryEnter(b, l, 1, patients(0, 1_000_000), true), l.Close()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		l, err := ledger.Open(path, ledger.MustExist)
		if err != nil {
			b.Fatal(err)
		}
		if l.Last() != 1_000_000 {
			b.Fatal(l.Last())
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
