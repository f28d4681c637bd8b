package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"firebreak/store"

	"github.com/tidwall/gjson"
)

// manyPatients is an ndjson file that is loaded in four batches.
func manyPatients(t *testing.T) (path string, n int) {
	t.Helper()
	var b bytes.Buffer
	for n = range 7000 {
		_, _ = fmt.Fprintf(&b, "{\"resourceType\":\"Patient\",\"id\":\"p%d\",\"name\":[{\"family\":\"f%d\"}]}\n", n, n)
	}
	return inFolder(t, "patients.ndjson", b.Bytes()), n + 1
}

// loading is a load into a new place that is killed.
type loading struct {
	*testing.T
	storage
	path         string
	n            int // resources in the file
	acknowledged int // of them, when it was killed
}

// kill loads in a child until it dies at its point, or from outside once it
// has acknowledged so many batches; 0 is never.
func (l *loading) kill(point int64, batches int) (c *victim) {
	l.Helper()
	c = startVictim(l.T, order{storage: l.storage, Load: []string{l.path}, Point: point})
	defer c.end()
	for seen := 0; ; {
		word, rest, ok := c.next()
		if !ok {
			return c
		}
		if word == "committed" {
			n, err := strconv.Atoi(strings.TrimSpace(rest))
			if err != nil {
				l.Fatal(err)
			}
			l.acknowledged += n
			if seen++; seen == batches {
				c.kill()
			}
		}
	}
}

// again loads again, and wants everything there once.
func (l *loading) again() {
	l.Helper()
	there := len(versionsOf(l.T, l.storage, "Patient"))
	if there < l.acknowledged {
		l.Errorf("%d of %d resources that were acknowledged are there", there, l.acknowledged)
	}
	var out bytes.Buffer
	cmd := loadCommand{storage: l.storage, MaxResource: 1 << 20, Paths: []string{l.path}}
	if err := cmd.Run(l.Context(), streams{&out, io.Discard}); err != nil {
		l.Fatal(err)
	}
	want := fmt.Sprintf("%s resources: %s created, 0 updated, %s unchanged; 0 not loaded", count(int64(l.n)), count(int64(l.n-there)), count(int64(there)))
	if !strings.HasPrefix(out.String(), want) {
		l.Errorf("loading again says\n%s, want\n%s", &out, want)
	}
	ids := map[string]bool{}
	for _, v := range versionsOf(l.T, l.storage, "Patient") {
		if v.N != 1 || "f"+v.ID.ID[1:] != gjson.GetBytes(v.Body, "name.0.family").String() {
			l.Errorf("%s is version %d: %s", v.ID, v.N, v.Body)
		}
		ids[v.ID.ID] = true
	}
	if len(ids) != l.n {
		l.Errorf("%d of %d resources are there", len(ids), l.n)
	}
}

func TestALoadThatWasKilledIsMadeGoodByLoadingAgain(t *testing.T) { killedLoads(t, onSQLite()) }

func TestALoadIntoMongoThatWasKilledIsMadeGoodByLoadingAgain(t *testing.T) {
	t.Parallel()
	killedLoads(t, onMongo(t))
}

func killedLoads(t *testing.T, g ground) {
	path, n := manyPatients(t)
	load := func() *loading { return &loading{T: t, storage: g.fresh(t), path: path, n: n} }
	for _, p := range steps(t, 2*load().kill(0, 0).calls, 3) {
		l := load()
		c := l.kill(p, 0)
		t.Logf("point %d: the child died %q, after %d", p, strings.TrimSpace(c.died), l.acknowledged)
		l.again()
	}
	for batches := 1; batches <= 3; batches++ {
		l := load()
		l.kill(0, batches) // in the midst of the next batch
		l.again()
	}
}

// burst is many clients who create until the server is gone.
type burst struct {
	*testing.T
	mu    sync.Mutex
	sent  map[string]bool   // what was asked for
	there map[string]string // what was acknowledged: the path of each
}

// run creates resources with names of their own.
func (b *burst) run(base string, clients int) {
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for n := 0; b.create(&http.Client{Transport: transport}, base, fmt.Sprintf("f%d-%d", i, n)); n++ {
			}
		})
	}
	all.Wait()
}

// create creates one resource; false when the server is gone.
func (b *burst) create(client *http.Client, base, family string) bool {
	b.mu.Lock()
	b.sent[family] = true
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(b.Context(), killPatience)
	defer cancel()
	body := `{"resourceType":"Patient","name":[{"family":"` + family + `"}]}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/Patient", strings.NewReader(body))
	if err != nil {
		b.Error(err)
		return false
	}
	req.Header.Set("Content-Type", "application/fhir+json")
	res, err := client.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body) // the status is the acknowledgement
	if res.StatusCode != http.StatusCreated {
		b.Errorf("create: %s", res.Status)
		return false
	}
	_, below, _ := strings.Cut(res.Header.Get("Location"), "/Patient/")
	b.mu.Lock()
	b.there[family] = "/Patient/" + below
	b.mu.Unlock()
	return true
}

// check wants everything that was acknowledged from a new server, and nothing
// twice or in part.
func (b *burst) check(place storage) {
	b.Helper()
	c := startVictim(b.T, order{storage: place})
	base, ok := c.await("serves")
	if !ok {
		c.end()
		b.Fatalf("no server comes up over what was left\n%s", c.stderr)
	}
	for family, below := range b.there {
		res, err := http.Get(strings.TrimSpace(base) + below)
		if err != nil {
			b.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err := errors.Join(err, res.Body.Close()); err != nil {
			b.Fatal(err)
		}
		if res.StatusCode != http.StatusOK || gjson.GetBytes(body, "name.0.family").String() != family || gjson.GetBytes(body, "meta.versionId").String() != "1" {
			b.Errorf("%s was created as %s; now it is %s %s", family, below, res.Status, body)
		}
	}
	c.end()
	seen := map[string]bool{}
	for _, v := range versionsOf(b.T, place, "Patient") {
		b.once(seen, v)
	}
}

func (b *burst) once(seen map[string]bool, v store.Version) {
	b.Helper()
	family := gjson.GetBytes(v.Body, "name.0.family").String()
	if !json.Valid(v.Body) || !b.sent[family] || seen[family] || v.N != 1 {
		b.Errorf("version %d of %s: %s", v.N, v.ID, v.Body)
	}
	seen[family] = true
}

func TestACreateThatWasAcknowledgedIsThereAfterAKill(t *testing.T) { killedCreates(t, onSQLite()) }

func TestACreateOnMongoThatWasAcknowledgedIsThereAfterAKill(t *testing.T) {
	t.Parallel()
	killedCreates(t, onMongo(t))
}

func killedCreates(t *testing.T, g ground) {
	rounds := 4
	if torture() {
		rounds = 60
	}
	for range rounds {
		// Beside creates, an idle engine makes a few calls.
		point := 100 + rand.Int64N(1500)
		b := &burst{T: t, sent: map[string]bool{}, there: map[string]string{}}
		place := g.fresh(t)
		c := startVictim(t, order{storage: place, Point: point})
		base, _ := c.await("serves")
		b.run(strings.TrimSpace(base), 16)
		if !c.end() {
			t.Error("the child was not killed")
		}
		t.Logf("point %d: the child died %q, when %d of %d creates were acknowledged", point, strings.TrimSpace(c.died), len(b.there), len(b.sent))
		b.check(place)
	}
}
