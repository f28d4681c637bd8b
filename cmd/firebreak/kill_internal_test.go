package main

import (
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/interaction"
	"firebreak/fhir/sample"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
)

// torture asks for the long forms of these tests.
func torture() bool { return os.Getenv("FIREBREAK_TORTURE") != "" }

// shortKills is at how many points the short form of each export dies.
const shortKills = 20

// template is a data directory to copy, and an instant in the midst of what
// happened in it.
type template struct{ data, since string }

// newTemplate loads patients, and then changes some of what they have and
// deletes some.
func newTemplate(t *testing.T, patients int) template {
	t.Helper()
	tpl := template{data: t.TempDir()}
	st, err := openStore(t.Context(), storage{Data: tpl.data})
	if err != nil {
		t.Fatal(err)
	}
	s := newService(st, 1<<20)
	var all []fhir.Resource
	err = sample.Write(func(b []byte) error {
		r, err := s.Reader().Read(b)
		all = append(all, r)
		return err
	}, patients, 7)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutAll(t.Context(), auth.Local(), all); err != nil {
		t.Fatal(err)
	}
	at, err := st.Barrier(t.Context(), auth.DefaultTenant, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	tpl.since = string(fhir.FormatInstant(nil, int64(at)))
	change(t, s, all)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	return tpl
}

// change deletes every tenth Observation and Claim and changes every third
// resource of a type that is easily changed.
func change(t *testing.T, s *interaction.Service, all []fhir.Resource) {
	t.Helper()
	for i, r := range all {
		var err error
		switch deletable := r.ID.Type == "Observation" || r.ID.Type == "Claim"; {
		case deletable && i%10 == 0:
			_, err = s.Delete(t.Context(), auth.Local(), r.ID, interaction.Condition{})
		case i%3 == 0:
			body := strings.Replace(string(r.Body), `{"resourceType":`, `{"language":"en","resourceType":`, 1)
			if r, err = s.Reader().Read([]byte(body)); err == nil {
				_, err = s.PutAll(t.Context(), auth.Local(), []fhir.Resource{r})
			}
		}
		if err != nil {
			t.Fatal(r.ID.Type, err)
		}
	}
}

// export begins in a copy of the template.
func (tpl template) export(t *testing.T, request string) *killed {
	t.Helper()
	k := &killed{T: t, data: t.TempDir(), request: request}
	k.ok(os.CopyFS(k.data, os.DirFS(tpl.data)))
	return k
}

// requests are those that the tests are about.
func (tpl template) requests() map[string]string {
	since := "?_since=" + url.QueryEscape(tpl.since)
	return map[string]string{
		"of all":                 "/$export",
		"of a group":             "/Group/" + sample.GroupAll + "/$export",
		"of a group's changes":   "/Group/" + sample.GroupAll + "/$export" + since,
		"of changes, some types": "/$export" + since + "&_type=Observation,Claim,Patient,Encounter",
	}
}

func TestAnExportGoesOnAfterAKillAtAnyCall(t *testing.T) {
	tpl := newTemplate(t, 2)
	for name, request := range tpl.requests() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := tpl.export(t, request)
			points := 2 * k.disturb(strike{}).calls
			want := k.recover()
			if len(want) < 2 || points == 0 {
				t.Fatalf("%d points, %d kinds of lines", points, len(want))
			}
			first, step := int64(1), int64(1)
			if !torture() {
				step = max(1, points/shortKills) | 1 // odd: before and after calls in turn
				first += rand.Int64N(step)
			}
			t.Logf("%d points; every %dth from %d", points, step, first)
			for p := first; p <= points; p += step {
				k := tpl.export(t, request)
				c := k.disturb(strike{point: p})
				t.Logf("point %d: the child died %q", p, strings.TrimSpace(c.died))
				if diff := cmp.Diff(want, k.recover()); diff != "" {
					t.Errorf("after point %d (- undisturbed, + got)\n%s", p, diff)
				}
				k.ok(os.RemoveAll(k.data))
			}
		})
	}
}

// In a larger export processes die again and again, at calls of their own or
// from outside.
func TestAnExportGoesOnAfterKillsAtRandomMoments(t *testing.T) {
	patients, rounds := 2, 3
	if torture() {
		patients, rounds = 6, 200
	}
	tpl := newTemplate(t, patients)
	k := tpl.export(t, "/$export")
	calls := k.disturb(strike{}).calls
	want := k.recover()
	seed := rand.Uint64()
	t.Logf("%d calls, seed %d", calls, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range rounds {
		k := tpl.export(t, "/$export")
		for range 1 + random.IntN(3) {
			s := strike{units: 1 + random.IntN(40)}
			if random.IntN(2) == 0 {
				s = strike{point: 1 + random.Int64N(2*calls)}
			}
			c := k.disturb(s)
			t.Logf("round %d: the child died %q", round, strings.TrimSpace(c.died))
		}
		if diff := cmp.Diff(want, k.recover()); diff != "" {
			t.Errorf("round %d (- undisturbed, + got)\n%s", round, diff)
		}
		k.ok(os.RemoveAll(k.data))
	}
}

// versionsOf reads the current versions of a type from a data directory.
func versionsOf(t *testing.T, data, typ string) (all []store.Version) {
	t.Helper()
	st, err := openStore(t.Context(), storage{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	at, err := st.Barrier(t.Context(), auth.DefaultTenant, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	sel := store.Selection{At: at, Types: []string{typ}}
	ranges, err := st.Split(t.Context(), auth.DefaultTenant, sel, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range ranges {
		err := st.Scan(t.Context(), auth.DefaultTenant, sel, r, "", func(v *store.Version) error {
			kept := *v
			kept.Body = append([]byte(nil), v.Body...)
			all = append(all, kept)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	return all
}

// inFolder is a file in a new folder.
func inFolder(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
