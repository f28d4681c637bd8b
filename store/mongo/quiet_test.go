package mongo_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"firebreak/fhir"
	"firebreak/store"
	"firebreak/store/mongo"
	"firebreak/store/mongo/mongotest"

	"go.mongodb.org/mongo-driver/v2/event"
)

// lines is a log.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// text is all of it, and begins a new one.
func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.buf.Reset()
	return l.buf.String()
}

// line is one about a slow command.
type line struct {
	Command    string        `json:"command"`
	Collection string        `json:"collection"`
	Took       time.Duration `json:"took"`
}

func TestASlowCommandIsLoggedAndNothingThatWasInIt(t *testing.T) {
	t.Parallel()
	e := mongotest.Own(t)
	f := faultsOf(t, e)
	log := &lines{}
	s := open(t, mongo.Config{URI: named(fresh(t, e)), Log: slog.New(slog.NewJSONHandler(log, nil))})
	many := make([]store.Put, 1500) // more than come in one answer
	for i := range many {
		many[i] = patient(t, fmt.Sprint("canary-", i), "canary")
	}
	if _, err := commit(t.Context(), s, many...); err != nil {
		t.Fatal(err)
	}
	at, err := s.Barrier(t.Context(), north, 0)
	if err != nil {
		t.Fatal(err)
	}
	log.text() // a busy machine may have been slow
	for command, do := range map[string]func() error{
		"find":   func() error { return drop(s.Get(t.Context(), north, fhir.ID{Type: "Patient", ID: "canary-1"})) },
		"insert": func() error { return drop(commit(t.Context(), s, patient(t, "canary", "canary"))) },
		"getMore": func() error {
			return drop(scanned(t.Context(), s, store.Selection{At: at}))
		},
	} {
		f.hit(1, blocked(1200*time.Millisecond), command)
		if err := do(); err != nil {
			t.Fatal(err)
		}
		found, text := false, log.text()
		for one := range strings.Lines(text) {
			var l line
			if err := json.Unmarshal([]byte(one), &l); err != nil {
				t.Fatal(err)
			}
			found = found || l.Command == command && l.Collection == "version" && l.Took >= time.Second && l.Took < time.Minute
		}
		if !found {
			t.Errorf("%s: the log has no line of it: %s", command, text)
		}
		if strings.Contains(text, "canary") {
			t.Errorf("%s: the log has what was in a command: %s", command, text)
		}
	}
}

func TestAStoreThatDoesNothingOnlySaysThatItIsThere(t *testing.T) {
	t.Parallel()
	beats, others := make(chan struct{}, 100), make(chan string, 100)
	h := &hook{}
	s := open(t, mongo.Config{URI: fresh(t, mongotest.Start(t))}.Watching(h.see))
	if _, err := commit(t.Context(), s, patient(t, "1", "a")); err != nil {
		t.Fatal(err)
	}
	s.Watch(t.Context())
	h.set(func(e *event.CommandStartedEvent) {
		if name, _ := e.Command.Lookup("update").StringValueOK(); name == "instance" {
			beats <- struct{}{}
			return
		}
		if name, _ := e.Command.Lookup("aggregate").StringValueOK(); name == "instance" {
			return // who is silent
		}
		if ofStream(e) {
			return
		}
		select {
		case others <- e.CommandName:
		default:
		}
	})
	began := time.Now()
	for range 10 {
		<-beats
	}
	h.set(func(*event.CommandStartedEvent) {})
	if took := time.Since(began); took < 9*time.Second {
		t.Errorf("ten heartbeats took %v", took)
	}
	for len(others) > 0 {
		t.Errorf("it also sent %s", <-others)
	}
}
