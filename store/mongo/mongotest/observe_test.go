package mongotest_test

import (
	"fmt"
	"slices"
	"testing"
)

// outcome is how an observed test ended.
type outcome struct{ skipped, failed string }

// observed is a test whose end is looked at by another, whose name it has.
type observed struct {
	testing.TB
	outcome

	cleanups []func()
}

func (o *observed) Helper() {}

func (o *observed) Cleanup(f func()) { o.cleanups = append(o.cleanups, f) }

func (o *observed) Error(args ...any) { o.failed += fmt.Sprint(args...) + "\n" }

func (o *observed) Errorf(format string, args ...any) { o.Error(fmt.Sprintf(format, args...)) }

func (o *observed) Fatal(args ...any) {
	o.Error(args...)
	panic(o)
}

func (o *observed) Fatalf(format string, args ...any) { o.Fatal(fmt.Sprintf(format, args...)) }

func (o *observed) Skipf(format string, args ...any) {
	o.skipped = fmt.Sprintf(format, args...)
	panic(o)
}

// observe runs a test to its end, with what it left to be cleaned up.
func observe(t testing.TB, test func(testing.TB)) outcome {
	t.Helper()
	o := &observed{TB: t}
	o.run(func() { test(o) })
	for _, f := range slices.Backward(o.cleanups) {
		o.run(f)
	}
	return o.outcome
}

// run calls f, which may end the test.
func (o *observed) run(f func()) {
	defer func() {
		if end := recover(); end != nil && end != o {
			panic(end)
		}
	}()
	f()
}
