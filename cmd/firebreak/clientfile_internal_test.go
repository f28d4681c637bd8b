package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWritersOfTheFileDoNotLoseEachOthersClients(t *testing.T) {
	r := newRegistry(t)
	link := filepath.Join(t.TempDir(), "link.json")
	r.client("add", "--id", "first", "--scope", everything)
	if err := os.Symlink(r.path, link); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	want := []string{"first"}
	for i := range 12 {
		id := fmt.Sprintf("client-%02d", i)
		want = append([]string{id}, want...)
		path := []string{r.path, link}[i%2]
		all.Go(func() {
			if code, _, wrong := program(t, "client", "add", "--clients", path, "--id", id, "--method", "bearer"); code != exitOK {
				t.Error(wrong)
			}
		})
	}
	all.Wait()
	clients, err := clientFile{r.path}.read()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range clients.Sorted() {
		got = append(got, c.ID)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	left, err := filepath.Glob(r.path + "*")
	if err != nil || len(left) != 2 { // itself, and the lock
		t.Errorf("%q, %v", left, err)
	}
	info, err := os.Stat(r.path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestAFileOfClientsThatCannotBeUsedLeavesThemAsTheyWere(t *testing.T) {
	r, log := newRegistry(t), &lines{}
	r.client("add", "--id", "app", "--method", "bearer")
	now := time.Now()
	w, err := newClientWatch(r.path, func() time.Time { return now }, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	has := func(what string, ids ...string) {
		t.Helper()
		var got []string
		for _, c := range w.clients().Sorted() {
			got = append(got, c.ID)
		}
		if diff := cmp.Diff(ids, got); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	write := func(text string) {
		if err := os.WriteFile(r.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good, err := os.ReadFile(r.path)
	if err != nil {
		t.Fatal(err)
	}
	has("at first", "app")
	write(`{"clients":[{"id":"secret"`)
	has("within the second", "app")
	for range 3 {
		now = now.Add(time.Second)
		has("half a file", "app")
	}
	if text := log.String(); strings.Count(text, "level=WARN") != 1 || strings.Contains(text, "secret") || !strings.Contains(text, "line 1") {
		t.Errorf("the log: %s", text)
	}
	if err := os.Remove(r.path); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Second)
	has("no file", "app")
	write(string(good))
	r.client("add", "--id", "other", "--method", "bearer")
	now = now.Add(time.Second)
	has("a good one", "app", "other")
	if text := log.String(); strings.Count(text, "level=WARN") != 2 || strings.Count(text, "level=INFO") != 1 {
		t.Errorf("the log: %s", text)
	}
}

func TestOptionsOfClientsThatDoNotGoTogetherAreRefused(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.json")
	if err := os.WriteFile(broken, []byte("{\n\"clients\": [\n{\"secret\": 1}]}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		authentication
		says []string
	}{
		"clients without authentication": {authentication{Auth: "off", Clients: broken}, []string{"--clients", "--auth=clients"}},
		"clients of no file":             {authentication{Auth: "clients"}, []string{"--auth=clients", "--clients"}},
		"clients of a broken file":       {authentication{Auth: "clients", Clients: broken}, []string{"--clients", broken, "line 3"}},
		"clients of a file that is not":  {authentication{Auth: "clients", Clients: broken + "x"}, []string{"--clients", broken + "x"}},
		"clients of a folder":            {authentication{Auth: "clients", Clients: dir}, []string{"--clients", "directory"}},
		"clients with an issuer":         {authentication{Auth: "clients", Clients: broken, OIDCIssuer: "https://id.example.org"}, []string{"--oidc-issuer", "--auth=oidc"}},
	} {
		o := onData(t.TempDir())
		o.authentication = c.authentication
		srv, err := NewServer(t.Context(), o, slog.New(slog.DiscardHandler))
		if err == nil {
			t.Errorf("%s: it serves", name)
			_ = srv.Close()
			continue
		}
		for _, word := range c.says {
			if !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
