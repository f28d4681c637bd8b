package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/operations/export"
	"firebreak/operations/job"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
)

// killPatience is how long a child is given for what takes it a second.
const killPatience = time.Minute

// killed is an export that is asked for once, whatever becomes of the
// processes that work at it.
type killed struct {
	*testing.T
	storage
	request string // the kick-off, below the base
	job     string // its id, once the kick-off was acknowledged
	unheard bool   // a kick-off was sent that nobody answered
	key     string // the Idempotency-Key, where there are several exports
}

// told is what a child answered.
type told struct {
	status int
	at     string // Content-Location
	body   []byte
}

// ask gets something from a child; false when the child did not answer.
func (k *killed) ask(url string) (told, bool) {
	k.Helper()
	ctx, cancel := context.WithTimeout(k.Context(), killPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		k.Fatal(err)
	}
	req.Header.Set("Prefer", "respond-async")
	req.Header.Set("Idempotency-Key", "the one export"+k.key)
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return told{}, false
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return told{res.StatusCode, res.Header.Get("Content-Location"), body}, err == nil
}

// kickoff asks for the export; again, if it is not known to have begun.
func (k *killed) kickoff(base string) bool {
	k.Helper()
	res, ok := k.ask(base + k.request)
	if !ok {
		k.unheard = true
		return false
	}
	if res.status != http.StatusAccepted {
		k.Fatalf("kick-off: %d\n%s", res.status, res.body)
	}
	id := path.Base(res.at)
	if k.job != "" && id != k.job {
		k.Errorf("the same key gave job %s, and now %s", k.job, id)
	}
	k.job = id
	return true
}

// poll asks once; false while the job is under way, or when the child died.
func (k *killed) poll(base string) (manifest []byte, answered, ready bool) {
	k.Helper()
	res, ok := k.ask(base + "/$export/" + k.job)
	switch {
	case !ok:
		return nil, false, false
	case res.status == http.StatusAccepted:
		return nil, true, false
	case res.status != http.StatusOK:
		k.Fatalf("poll: %d\n%s", res.status, res.body)
	}
	return res.body, true, true
}

// strike is where a child is killed: at a point of its own, or from outside
// when it has ended so many units. The zero strike is none.
type strike struct {
	call  string // after which the child dies; "": none
	point int64
	units int
}

// disturb has a child work at the export until it is killed or done.
func (k *killed) disturb(s strike) *victim {
	k.Helper()
	c := startVictim(k.T, order{storage: k.storage, Point: s.point})
	defer c.end()
	base, ok := c.await("serves")
	base = strings.TrimSpace(base)
	if !ok || !k.kickoff(base) {
		return c
	}
	if _, answered, ready := k.poll(base); !answered || ready {
		return c // it may have ended under an earlier child
	}
	for units := 0; ; {
		word, _, ok := c.next()
		switch {
		case !ok:
			return c
		case word == "unit":
			if units++; units == s.units {
				c.kill()
			}
		case word == "ended":
			k.poll(base)
			return c
		}
	}
}

// exported is what an export came to: its lines by category and type.
type exported map[string][]string

// recover has a child end the export that others were killed at, and gives
// what it came to, when everything about it was found to be in order.
func (k *killed) recover() exported {
	k.Helper()
	c := startVictim(k.T, order{storage: k.storage})
	base, ok := c.await("serves")
	if !ok {
		c.end()
		k.Fatalf("no server comes up over what was left\n%s", c.stderr)
	}
	base = strings.TrimSpace(base)
	before := k.jobs(base)
	switch {
	case len(before) > 1, k.job != "" && !slices.Equal(before, []string{k.job}):
		k.Errorf("job %q was acknowledged; there are %q", k.job, before)
	case len(before) == 1:
		k.job = before[0]
	}
	if !k.kickoff(base) {
		k.Fatalf("no answer\n%s", c.stderr)
	}
	if after := k.jobs(base); !slices.Equal(after, []string{k.job}) {
		k.Errorf("the same key again: there are jobs %q", after)
	}
	got := k.download(k.manifest(base))
	if k.unheard {
		// The AuditEvent of a kick-off that came to nothing is there, and the
		// next one, whose instant is later, exports it.
		delete(got, "output AuditEvent")
	}
	if c.end() || strings.Contains(c.stderr.String(), "level=ERROR") {
		k.Errorf("the child says\n%s", c.stderr)
	}
	k.nothingLeftOver()
	if k.Store == "" {
		k.ok(os.RemoveAll(k.Data)) // it was a copy for this export only
	}
	return got
}

func (k *killed) jobs(base string) (ids []string) {
	k.Helper()
	res, ok := k.ask(base + "/jobs")
	var page struct{ Jobs []struct{ ID string } }
	if !ok || res.status != http.StatusOK || json.Unmarshal(res.body, &page) != nil {
		k.Fatalf("list of jobs: %s", res.body)
	}
	for _, j := range page.Jobs {
		ids = append(ids, j.ID)
	}
	return ids
}

// manifest polls until there is one. A poll waits in the server.
func (k *killed) manifest(base string) fhir.Manifest {
	k.Helper()
	for until := time.Now().Add(killPatience); time.Now().Before(until); {
		body, answered, ready := k.poll(base)
		var m fhir.Manifest
		switch {
		case !answered:
			k.Fatal("the child does not answer")
		case ready && json.Unmarshal(body, &m) != nil:
			k.Fatalf("not a manifest: %s", body)
		case ready:
			return m
		}
	}
	state, _ := k.ask(base + "/jobs/" + k.job)
	k.Fatalf("the job does not end\n%s", state.body)
	return fhir.Manifest{}
}

// lostItsGroup tells whether the export of a Group failed as a purge had changed
// that before the export had read it.
func (k *killed) lostItsGroup(base string) bool {
	k.Helper()
	for until := time.Now().Add(killPatience); time.Now().Before(until); {
		res, ok := k.ask(base + "/$export/" + k.job)
		if !ok || res.status != http.StatusAccepted {
			return ok && res.status == http.StatusInternalServerError && strings.Contains(string(res.body), "changed by a purge")
		}
	}
	return false
}

// download gets every file, and holds it to what the manifest says.
func (k *killed) download(m fhir.Manifest) exported {
	k.Helper()
	got := exported{}
	for category, list := range map[string][]fhir.ManifestFile{"output": m.Output, "deleted": m.Deleted, "error": m.Error} {
		for _, f := range list {
			res, ok := k.ask(f.URL)
			if !ok || res.status != http.StatusOK {
				k.Errorf("%s of the manifest cannot be had: %s", f.URL, res.body)
				continue
			}
			sum := sha256.Sum256(res.body)
			stated := f.Extension.Integrity
			if int64(len(res.body)) != stated.Size || hex.EncodeToString(sum[:]) != stated.SHA256 || int64(bytes.Count(res.body, []byte("\n"))) != *f.Count {
				k.Errorf("%s is not what the manifest says of it", f.URL)
			}
			key := category + " " + f.Type
			got[key] = append(got[key], strings.Split(strings.TrimSuffix(string(res.body), "\n"), "\n")...)
		}
	}
	for _, lines := range got {
		slices.Sort(lines)
	}
	return got
}

// nothingLeftOver sweeps once, and then finds of files those that parts name. It
// leaves the place without the job. The store is opened once only: another test
// that starts a process holds what is open here until that runs.
func (k *killed) nothingLeftOver() {
	k.Helper()
	ctx := k.Context()
	st, dir, done := opened(k.T, k.storage)
	defer done()
	k.ok(export.New(export.Config{Store: st, Files: dir, Now: time.Now, NewID: newID}).Sweep(ctx))
	tenant := store.Tenant(auth.DefaultTenant)
	var named []string
	for after := ""; ; {
		parts, err := st.PartsOf(ctx, tenant, k.job, after, 100)
		k.ok(err)
		if len(parts) == 0 {
			break
		}
		for _, p := range parts {
			after = p.ID
			named = append(named, p.Name)
		}
	}
	j, err := st.Peek(ctx, tenant, k.job)
	k.ok(err)
	if j.State != job.Succeeded {
		k.Errorf("the job is %s", j.State)
	}
	slices.Sort(named)
	if diff := cmp.Diff(named, filesOf(k.T, k.Data)); diff != "" {
		k.Errorf("files on disk (- named by parts, + there)\n%s", diff)
	}
	k.leave(st, dir, j)
}

func (k *killed) ok(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

// filesOf lists the files of a data directory's exports, begun ones too.
func filesOf(t *testing.T, data string) (names []string) {
	t.Helper()
	root := filepath.Join(data, "files")
	folders, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if !folder.IsDir() {
			continue // what says which place this is
		}
		entries, err := os.ReadDir(filepath.Join(root, folder.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, folder.Name()+"/"+e.Name())
		}
	}
	return names
}
