package mongo_test

import (
	"fmt"
	"testing"

	"firebreak/store"
	"firebreak/store/mongo"
	"firebreak/store/mongo/mongotest"
)

// doers are the commands that change something.
func doers() []string {
	return []string{"findAndModify", "update", "insert", "delete", "commitTransaction"}
}

func TestACommitIsAppliedOnceThoughAnswersAreLost(t *testing.T) {
	t.Parallel()
	e := mongotest.Own(t)
	w := wireTo(t, e)
	s := open(t, mongo.Config{URI: w.uri(e.Database(t))})
	hit := 0
	for _, command := range doers() {
		for times := 1; times <= 4; times++ {
			var l ledger
			id := fmt.Sprint(command, times)
			for i, says := range []string{"first", "second", ""} {
				a, b := patient(t, "a"+id, says), patient(t, "b"+id, says)
				if says == "" {
					a, b = deleted("a"+id), deleted("b"+id)
				}
				w.lose(times, command)
				if err := l.commit(t.Context(), s, a, b); err != nil {
					t.Errorf("%d answers of %s are lost: commit %d: %v", times, command, i, err)
				}
				hit += times - w.left()
				w.lose(0)
			}
			l.holds(t, s)
		}
	}
	if hit < 30 {
		t.Errorf("only %d answers were lost", hit)
	}
}

func TestAJobIsDoneOnceThoughAnswersAreLost(t *testing.T) {
	t.Parallel()
	e := mongotest.Own(t)
	w := wireTo(t, e)
	s := open(t, mongo.Config{URI: w.uri(e.Database(t))})
	for _, command := range doers() {
		for times := 1; times <= 4; times++ {
			b := &broken{t: t, s: s, kind: fmt.Sprint(command, times), breaks: func() { w.lose(times, command) }}
			b.job(func() { w.lose(0) })
			if t.Failed() {
				t.Fatalf("%d answers of %s are lost", times, command)
			}
		}
	}
}

func TestABarrierIsRightThoughAnswersAreLost(t *testing.T) {
	t.Parallel()
	e := mongotest.Own(t)
	w := wireTo(t, e)
	name := e.Database(t)
	s := open(t, mongo.Config{URI: w.uri(name)})
	other := open(t, mongo.Config{URI: wireTo(t, e).uri(name)})
	var l ledger
	for _, command := range doers() {
		for times := 1; times <= 3; times++ {
			if err := l.commit(t.Context(), other, patient(t, fmt.Sprint(command, times), "a")); err != nil {
				t.Fatal(err)
			}
			w.lose(times, command)
			var at store.Tick
			if _, err := again(t, "Barrier", func() (err error) { at, err = s.Barrier(t.Context(), north, 0); return err }); err != nil {
				t.Fatalf("%d answers of %s are lost: %v", times, command, err)
			}
			w.lose(0)
			covers(t, other, &l, at)
		}
	}
}
