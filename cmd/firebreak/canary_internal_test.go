package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// foundIn are the places of texts in some bytes, that are read in pieces.
func foundIn(t *testing.T, data string, piece int, texts ...string) (places []string) {
	t.Helper()
	var all []sought
	for _, text := range texts {
		all = append(all, newSought(text))
	}
	size, err := scan(t.Context(), bytes.NewReader([]byte(data)), piece, all, func(c sought, f finding) {
		places = append(places, fmt.Sprint(f.offset, " ", f.how))
	})
	if err != nil || size != int64(len(data)) {
		t.Fatalf("%d of %d bytes: %v", size, len(data), err)
	}
	return places
}

func TestACanaryIsFoundWhereverItStands(t *testing.T) {
	const text = `Zoë "Kestrel" O/Neil 🐦`
	ascii := `Zo\u00eb \u0022Kestrel\" O\/Neil \ud83D\uDC26`
	marshalled, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, before := range []int{0, 1, 2, 3, 64, 100, 127, 128, 129} {
		pad := strings.Repeat("x", before)
		for name, c := range map[string]struct{ written, how string }{
			"plain":               {text, "as it is"},
			"JSON":                {strings.Trim(string(marshalled), `"`), "with escapes of JSON"},
			"JSON of ASCII alone": {ascii, "with escapes of JSON"},
		} {
			if diff := cmp.Diff([]string{fmt.Sprint(before, " ", c.how)}, foundIn(t, pad+c.written+pad, 128, text)); diff != "" {
				t.Errorf("%s after %d bytes (- want, + got)\n%s", name, before, diff)
			}
		}
	}
}

func TestACanaryIsFoundInBase64OfWhateverHasIt(t *testing.T) {
	for _, text := range []string{"Kestrel", "Kestrel1", "Kestrel12", "Zoë Kestrel", "???>>>???"} {
		for before := range 7 {
			for after := range 4 {
				whole := strings.Repeat("\xff", before) + text + strings.Repeat("\xfe", after)
				for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
					data := strings.Repeat("=", 60) + enc.EncodeToString([]byte(whole)) + `"`
					if got := foundIn(t, data, 64, text); len(got) != 1 || !strings.HasSuffix(got[0], " in base64") {
						t.Errorf("%q with %d bytes before and %d after: found %q in %s", text, before, after, got, data)
					}
				}
			}
		}
	}
}

func TestACanaryThatIsAUUIDIsFoundInBinary(t *testing.T) {
	raw := "\x6c\x5d\x9c\xa9\x54\xd7\x42\xf5\xbf\xae\xa7\xc1\x9c\xd2\x17\xf2"
	if diff := cmp.Diff([]string{"10 as 16 bytes"}, foundIn(t, strings.Repeat(".", 10)+raw, 16, "6c5d9ca9-54d7-42f5-bfae-a7c19cd217f2")); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsNoCanaryIsNotFound(t *testing.T) {
	for _, data := range []string{"", "Kestre", "kestrel", `Kestre\u006d`, `Kestrel\`, `\u004bestre`, `\u004`, `K\estrel.`, strings.Repeat(`\`, 500), `Kestre\`, `KestreKestre\u00`} {
		if got := foundIn(t, data, 8, "Kestrel.", `Kestrel\n`); len(got) > 0 {
			t.Errorf("%q: found %q", data, got)
		}
	}
	if got := foundIn(t, `a \u004bestrel, Kestrel and Kestrel`, 9, "Kestrel", "estrel,"); len(got) != 4 {
		t.Errorf("found %q", got)
	}
}

func TestEveryFileOfAFolderIsLookedAt(t *testing.T) {
	dir := t.TempDir()
	for name, body := range map[string]string{"a": "no", "sub/b.db": strings.Repeat("-", 5<<20) + "Kestrel", "sub/deep/.c": "Kestrel", "empty": ""} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	found := map[string]int64{}
	sum, err := scanFolder(t.Context(), dir, []sought{newSought("Kestrel")}, func(path string, _ sought, f finding) {
		rel, _ := filepath.Rel(dir, path)
		found[rel] = f.offset
	})
	if err != nil || sum.files != 4 || sum.bytes != 2+5<<20+14 {
		t.Errorf("%+v, %v", sum, err)
	}
	if diff := cmp.Diff(map[string]int64{"sub/b.db": 5 << 20, "sub/deep/.c": 0}, found); diff != "" {
		t.Error(diff)
	}
	if _, err := scanFolder(t.Context(), filepath.Join(dir, "never"), nil, nil); err == nil {
		t.Error("a folder that is not there is clean")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := scanFolder(ended, dir, nil, nil); err == nil {
		t.Error("a look that was broken off is a clean one")
	}
}
