package sqlite_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/r4"
	"firebreak/fhir/search"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/sqlite"

	"github.com/oklog/ulid/v2"
	driver "zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// canaries is a store to which resources are written and erased at random.
// Each version says something that no other says, and each resource names
// something that no other names.
type canaries struct {
	*testing.T
	s     *sqlite.Store
	dir   string
	rand  *rand.Rand
	fence store.Fence
	there []string            // ids
	live  map[string][]string // what each resource says and names, all versions
	dead  []string
}

func cages(t *testing.T, seed uint64) *canaries {
	t.Helper()
	c := &canaries{T: t, dir: t.TempDir(), rand: rand.New(rand.NewPCG(seed, 1)), live: map[string][]string{}}
	c.s = at(t, c.dir)
	c.fence = running(t, c.s)
	return c
}

// running is the fence of a unit of a new job.
func running(t testing.TB, s store.Store) store.Fence {
	t.Helper()
	j := job.Job{ID: ulid.Make().String(), Kind: "purge", Tenant: string(tenant), State: job.Queued, Lifetime: time.Hour, Created: time.Now()}
	if _, err := s.Create(t.Context(), j, []job.Unit{{Job: j.ID, Tenant: j.Tenant, Kind: "purge", ID: "a", State: job.Queued}}, store.Limit{}); err != nil {
		t.Fatal(err)
	}
	_, f, err := s.Claim(t.Context(), []string{"purge"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (c *canaries) canary() string { return fmt.Sprintf("canary%016x", c.rand.Uint64()) }

// put writes a version with a canary in its body and one that it names.
func (c *canaries) put(ids ...string) {
	c.Helper()
	var puts []store.Put
	for _, id := range ids {
		says, names := c.canary(), c.canary()
		uuid := c.uuid()
		text := strings.Repeat(says, 1+c.rand.IntN(6))
		if c.rand.IntN(8) == 0 {
			text = strings.Repeat(says, 100+c.rand.IntN(600)) // on pages of its own
		}
		body := fmt.Sprintf(`{"resourceType":"Observation","id":%q,"valueString":%q,"subject":{"reference":"Patient/%s"},"focus":[{"reference":"Device/%s"}]}`, id, text, names, uuid)
		r, err := fhir.Reader{Known: r4.IsType}.Read([]byte(body))
		if err != nil {
			c.Fatal(err)
		}
		packed, _ := hex.DecodeString(strings.ReplaceAll(uuid, "-", ""))
		c.live[id] = append(c.live[id], says, names, uuid, string(packed))
		puts = append(puts, store.Put{Resource: r, Terms: search.Terms("Observation", id, r.Body), Owner: store.Owner{Client: "c"}})
	}
	if err := commit(c.T, c.s, puts...); err != nil {
		c.Fatal(err)
	}
}

func (c *canaries) uuid() string {
	b := make([]byte, 16)
	for i := range b {
		b[i] = byte(c.rand.Uint32())
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (c *canaries) remove(id string) {
	c.Helper()
	if err := commit(c.T, c.s, store.Put{Resource: fhir.Resource{ID: fhir.ID{Type: "Observation", ID: id}}, Delete: true}); err != nil {
		c.Fatal(err)
	}
}

// erase erases resources with all their versions.
func (c *canaries) erase(ids ...string) {
	c.Helper()
	var vs []store.VersionRef
	for _, id := range ids {
		if err := c.s.Versions(c.Context(), tenant, []fhir.ID{{Type: "Observation", ID: id}}, func(v *store.Version) error {
			vs = append(vs, store.VersionRef{Key: v.Key, ID: v.ID, N: v.N})
			return nil
		}); err != nil {
			c.Fatal(err)
		}
		c.dead = append(append(c.dead, id), c.live[id]...)
		delete(c.live, id)
	}
	if _, err := c.s.Erase(c.Context(), c.fence, vs); err != nil {
		c.Fatal(err)
	}
}

// play writes, updates, deletes and erases.
func (c *canaries) play(steps int) {
	for range steps {
		var ids []string
		for range 1 + c.rand.IntN(40) {
			id := c.canary()
			ids, c.there = append(ids, id), append(c.there, id)
		}
		c.put(ids...)
		c.rand.Shuffle(len(c.there), func(i, j int) { c.there[i], c.there[j] = c.there[j], c.there[i] })
		some := func(n int) []string { return slices.Clone(c.there[:min(c.rand.IntN(n), len(c.there))]) }
		c.put(some(20)...)
		for _, id := range some(3) {
			c.remove(id)
		}
		gone := some(30)
		c.erase(gone...)
		c.there = slices.DeleteFunc(c.there, func(id string) bool { return slices.Contains(gone, id) })
	}
}

// raw is all bytes of the database's files.
func (c *canaries) raw() []byte {
	c.Helper()
	var all []byte
	for _, name := range []string{sqlite.File, sqlite.File + "-wal"} {
		b, err := os.ReadFile(filepath.Join(c.dir, name))
		if err != nil && !os.IsNotExist(err) {
			c.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

// tail is how many bytes of a canary are looked for, its last ones: the rest
// may have been overwritten.
const tail = 12

// found counts the canaries whose tails are in the files.
func found(raw []byte, canaries []string) int {
	tails, seen := map[string]bool{}, map[string]bool{}
	for _, one := range canaries {
		tails[one[len(one)-tail:]] = true
	}
	for i := 0; i+tail <= len(raw); i++ {
		if tails[string(raw[i:i+tail])] {
			seen[string(raw[i:i+tail])] = true
		}
	}
	return len(seen)
}

func TestAScrubLeavesNoErasedByteInTheFiles(t *testing.T) {
	left := 0
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			c := cages(t, seed)
			for range 2 {
				c.play(15)
				left += found(c.raw(), c.dead)
				if _, err := c.s.Scrub(t.Context()); err != nil {
					t.Fatal(err)
				}
				raw := c.raw()
				if n := found(raw, c.dead); n > 0 {
					t.Errorf("%d of %d erased canaries are in the files", n, len(c.dead))
				}
				// And that it looks where they would be.
				said := slices.Concat(slices.Collect(maps.Values(c.live))...)
				if n := found(raw, said); n < len(said)/2 {
					t.Errorf("%d of %d living canaries are in the files", n, len(said))
				}
			}
			c.intact()
		})
	}
	if left == 0 {
		t.Error("no erased canary was ever in the files before a scrub: this shows nothing")
	}
}

// intact closes the store and has SQLite check the file.
func (c *canaries) intact() {
	c.Helper()
	for id := range c.live {
		vs, err := c.s.Get(c.Context(), tenant, fhir.ID{Type: "Observation", ID: id})
		if err != nil || vs[0].N == 0 {
			c.Fatalf("%s is not there: %v", id, err)
		}
	}
	if err := c.s.Close(); err != nil {
		c.Fatal(err)
	}
	conn, err := driver.OpenConn(filepath.Join(c.dir, sqlite.File), driver.OpenReadOnly)
	if err != nil {
		c.Fatal(err)
	}
	defer conn.Close()
	if err := sqlitex.ExecuteTransient(conn, "PRAGMA integrity_check", &sqlitex.ExecOptions{ResultFunc: func(s *driver.Stmt) error {
		if got := s.ColumnText(0); got != "ok" {
			c.Errorf("integrity_check: %s", got)
		}
		return nil
	}}); err != nil {
		c.Fatal(err)
	}
}

// Before each round of a scrub others write and erase, which moves what was left
// of the erased to other pages.
func TestAScrubLeavesNoErasedByteThoughOthersWriteMeanwhile(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			c := cages(t, seed)
			for range 3 {
				c.play(15)
				c.scrubAbreast()
			}
			c.intact()
		})
	}
}

// scrubAbreast scrubs in small rounds, and plays before some of them.
func (c *canaries) scrubAbreast() {
	c.Helper()
	dead, rounds := slices.Clone(c.dead), 0
	if err := sqlite.ScrubInRounds(c.Context(), c.s, 2, func() {
		if rounds++; rounds < 5 {
			c.play(3)
		}
	}); err != nil {
		c.Fatal(err)
	}
	if n := found(c.raw(), dead); n > 0 {
		c.Errorf("%d of %d erased canaries are in the files after %d rounds", n, len(dead), rounds)
	}
	// Nor is anything where nothing should be, be it of whom it may.
	if pages, left, err := c.s.Unscrubbed(c.Context()); err != nil || left > 0 || pages < 20 || rounds < 2 {
		c.Errorf("%d of %d pages have something to be overwritten after %d rounds: %v", left, pages, rounds, err)
	}
}

func TestAScrubThatIsBrokenOffHarmsNothing(t *testing.T) {
	c := cages(t, 1)
	c.play(25)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := c.s.Scrub(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a scrub of a context that has ended: %v", err)
	}
	for after := range 12 {
		ctx, stop := context.WithTimeout(t.Context(), time.Duration(after)*time.Millisecond)
		if err := sqlite.ScrubInRounds(ctx, c.s, 3, func() {}); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a scrub that is broken off: %v", err)
		}
		stop()
		c.play(1)
	}
	c.intact()
}
