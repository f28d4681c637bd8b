package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"firebreak/fhir"
	"firebreak/store/sqlite"

	"github.com/google/go-cmp/cmp"
	driver "zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

func TestAClientOwnsTheRecordsOfSomePatientsUnderIDsOfItsOwn(t *testing.T) {
	s, err := readSet(writeSample(t, 40))
	if err != nil {
		t.Fatal(err)
	}
	h := holding{bench: &bench{set: s, opts: options{Copies: 2}}}
	if o, ok, err := h.chooseOwned(); err != nil || !ok {
		t.Fatal(ok, err)
	} else {
		h.owned = o
	}
	others := identities(t, s.paths[0])
	for id := range identities(t, copyOf(t, s)) {
		others[id] = true
	}
	own, patients := map[string]bool{}, map[string]bool{}
	if err := h.eachOwned(func(body []byte) error {
		id := identity(body)
		if own[id.String()] || others[id.String()] {
			t.Errorf("there is another %s", id)
		}
		own[id.String()], patients[id.ID] = true, patients[id.ID] || id.Type == "Patient"
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	meant := slices.Concat(h.owned.full, h.owned.there)
	if left := len(h.owned.of) - len(meant); len(h.owned.there) == 0 || left < 1 || len(own) < 10*len(h.owned.of) {
		t.Errorf("of %d patients %d are for other purges, and there are %d resources", len(h.owned.of), len(meant), len(own))
	}
	for _, id := range meant {
		if !patients[id] {
			t.Errorf("%s is no patient of the client", id)
		}
	}
}

// copyOf writes the second copy of a set, which the client is not to meet.
func copyOf(t *testing.T, s set) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy.ndjson")
	b := bench{set: s}
	if err := b.writeCopy(path, 1); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAnOwnedResourceIsAboutAPatientOfTheClientOrNobody(t *testing.T) {
	o := owned{of: map[string]bool{"a": true}}
	tests := map[string]bool{
		`{"resourceType":"Patient","id":"a"}`:                                                                           true,
		`{"resourceType":"Patient","id":"b","link":[{"other":{"reference":"Patient/a"}}]}`:                              false,
		`{"resourceType":"Observation","id":"1","subject":{"reference":"Patient/a"}}`:                                   true,
		`{"resourceType":"Observation","id":"2","subject":{"reference":"Patient/b"}}`:                                   false,
		`{"resourceType":"Observation","id":"3","subject":{"reference":"Patient/b"},"focus":{"reference":"Patient/a"}}`: true,
		`{"resourceType":"Practitioner","id":"4"}`:                                                                      true,
		`{"resourceType":"Group","id":"5","member":[{"entity":{"reference":"Patient/a"}}]}`:                             false,
	}
	for line, want := range tests {
		if got := o.has([]byte(line)); got != want {
			t.Errorf("%s: %v", line, got)
		}
	}
}

func TestASetOfFewPatientsHasNoHolding(t *testing.T) {
	s, err := readSet(writeSample(t, 2))
	if err != nil {
		t.Fatal(err)
	}
	b := bench{set: s, opts: options{Copies: 1}}
	if o, ok, err := b.chooseOwned(); ok || err != nil {
		t.Errorf("it has %+v, %v", o, err)
	}
}

func TestAListNamesAFewWhoAreThereAndManyWhoAreNot(t *testing.T) {
	o := owned{there: []string{"a", "b"}}
	for _, n := range []int{1, 2, 3, 10_000} {
		list := o.listed(n)
		seen := map[string]bool{}
		for _, id := range list {
			if err := fhir.CheckID(id); err != nil {
				t.Fatal(err)
			}
			seen[id] = true
		}
		if len(list) != n || len(seen) != n {
			t.Errorf("of %d there are %d, %d different ones", n, len(list), len(seen))
		}
		if diff := cmp.Diff(o.there[:min(n, 2)], list[:min(n, 2)]); diff != "" {
			t.Errorf("of %d, who are there (-want +got):\n%s", n, diff)
		}
	}
	if diff := cmp.Diff([]string{"a", "b"}, o.there); diff != "" {
		t.Errorf("a list has changed who are there (-want +got):\n%s", diff)
	}
}

func TestBatchesAreDoneWhenThereAreAsManyAsInAll(t *testing.T) {
	const batches = `{"parameter":[{"name":"status","valueCode":"running"},
		{"name":"batches","part":[{"name":"completed","valueInteger":2},{"name":"failed","valueInteger":0},{"name":"total","valueInteger":3}]}]}`
	tests := map[string]bool{
		`{"parameter":[{"name":"status","valueCode":"running"}]}`: false, // nobody knows how many there are
		batches: false,
		strings.Replace(batches, `"completed","valueInteger":2`, `"completed","valueInteger":3`, 1): true,
	}
	for progress, want := range tests {
		if got := batchesDone([]byte(progress)); got != want {
			t.Errorf("%s: %v", progress, got)
		}
	}
}

func TestAClientSendsItsHeadersWithEachRequest(t *testing.T) {
	p := product{path: buildProduct(t), err: t.Output()}
	file := filepath.Join(t.TempDir(), "clients.json")
	as, err := p.addClient(t.Context(), file, "bench")
	if err != nil || as.Get("client_id") != "bench" || len(as.Get("client_secret")) < 32 || len(as) != 2 {
		t.Fatalf("the headers are %d, of %q, %v", len(as), as.Get("client_id"), err)
	}
	got := make(chan http.Header, 2)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header }))
	defer srv.Close()
	client := asClient(as, 1)
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := send(client, req); err != nil {
			t.Fatal(err)
		}
		sent := <-got
		for name := range as {
			if diff := cmp.Diff(as[name], sent[name]); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	}
	if len(req.Header) > 0 {
		t.Errorf("the request itself was changed: %v", req.Header)
	}
}

func TestAScanReadsEveryBody(t *testing.T) {
	b := bench{product: product{path: buildProduct(t), err: t.Output()}, db: database{engine: sqliteEngine{}}}
	b.home = b.db.place(t.TempDir(), "data")
	if _, err := b.product.load(t.Context(), b.home, writeSample(t, 5)); err != nil {
		t.Fatal(err)
	}
	var want int64
	conn, err := driver.OpenConn(filepath.Join(b.home.data, sqlite.File), driver.OpenReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := sqlitex.ExecuteTransient(conn, `SELECT sum(length(body)) FROM version`, &sqlitex.ExecOptions{
		ResultFunc: func(s *driver.Stmt) error { want = s.ColumnInt64(0); return nil },
	}); err != nil {
		t.Fatal(err)
	}
	if got, took, err := b.scanned(t.Context()); err != nil || got != want || want < 10_000 || took <= 0 {
		t.Errorf("it has read %d bytes of %d in %v, %v", got, want, took, err)
	}
	if took, err := b.readingTook(t.Context(), "none"); err == nil {
		t.Errorf("a job that is none has read everything in %v", took)
	}
}
