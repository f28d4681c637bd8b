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

// template is a place with data, and an instant in the midst of what happened
// in it.
type template struct {
	ground
	storage
	since string
}

// newTemplate loads patients, and then changes some of what they have and
// deletes some.
func newTemplate(t *testing.T, g ground, patients int) template {
	t.Helper()
	tpl := template{ground: g, storage: g.fresh(t)}
	st, _, done := opened(t, tpl.storage)
	defer done()
	s := newService(st, 1<<20)
	var all []fhir.Resource
	err := sample.Write(func(b []byte) error {
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
	request = strings.ReplaceAll(request, "SINCE", url.QueryEscape(tpl.since))
	return &killed{T: t, storage: tpl.copied(t, tpl.storage), request: request}
}

func TestAnExportGoesOnAfterAKillAtAnyCall(t *testing.T) { killedAtAnyCall(t, onSQLite()) }

func TestAnExportOnMongoGoesOnAfterAKillAtAnyCall(t *testing.T) { killedAtAnyCall(t, onMongo(t)) }

func killedAtAnyCall(t *testing.T, g ground) {
	for name, request := range map[string]string{
		"of all":                 "/$export",
		"of a group":             "/Group/" + sample.GroupAll + "/$export",
		"of a group's changes":   "/Group/" + sample.GroupAll + "/$export?_since=SINCE",
		"of changes, some types": "/$export?_since=SINCE&_type=Observation,Claim,Patient,Encounter",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tpl := newTemplate(t, g, 2)
			k := tpl.export(t, request)
			points := 2 * k.disturb(strike{}).calls
			want := k.recover()
			if len(want) < 2 || points == 0 {
				t.Fatalf("%d points, %d kinds of lines", points, len(want))
			}
			for _, p := range steps(t, points, g.points) {
				k := tpl.export(t, request)
				c := k.disturb(strike{point: p})
				t.Logf("point %d: the child died %q", p, strings.TrimSpace(c.died))
				if diff := cmp.Diff(want, k.recover()); diff != "" {
					t.Errorf("after point %d (- undisturbed, + got)\n%s", p, diff)
				}
			}
		})
	}
}

func TestAnExportGoesOnAfterKillsAtRandomMoments(t *testing.T) { killedAtRandom(t, onSQLite()) }

func TestAnExportOnMongoGoesOnAfterKillsAtRandomMoments(t *testing.T) {
	t.Parallel()
	killedAtRandom(t, onMongo(t))
}

// In a larger export processes die again and again, at calls of their own or
// from outside.
func killedAtRandom(t *testing.T, g ground) {
	patients, rounds := 2, 3
	if torture() {
		patients, rounds = 6, 200
	}
	tpl := newTemplate(t, g, patients)
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
	}
}

// versionsOf reads the current versions of a type from a place.
func versionsOf(t *testing.T, place storage, typ string) (all []store.Version) {
	t.Helper()
	st, _, done := opened(t, place)
	defer done()
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
