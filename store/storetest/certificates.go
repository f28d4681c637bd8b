package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
)

func certificateCases() []testCase {
	return []testCase{
		{"certificates are numbered from 1 without gaps, and listed the latest first", certificatesInOrder},
		{"a certificate of any number but the next one is a conflict", certificatesNext},
		{"a job has one certificate, however often it is certified", certificatesOnce},
		{"each tenant has a chain of its own", certificatesApart},
		{"Certify goes through under a fence that holds, and no other", certificatesFenced},
		{"certificates stay when their jobs are removed", certificatesStay},
		{"a certificate is kept byte for byte", certificatesAsTheyAre},
		{"certificates are there, and their numbers go on, after the store was opened again", certificatesDurable},
	}
}

func certificateRaces() []testCase {
	return []testCase{
		{"of many who certify at once each job has one certificate, and the chain no gap", raceCertify},
		{"of many who take one number one goes through", raceNumber},
	}
}

// certify certifies the job of a fence.
func (e *env) certify(f store.Fence, number int64, doc string) store.Certificate {
	e.Helper()
	c, err := e.Certify(e.ctx, f, number, []byte(doc))
	e.ok("Certify", err)
	return c
}

// chain lists what the certificates of a tenant say, in pages of n. Their
// numbers have no gap.
func (e *env) chain(t store.Tenant, n int) (docs []string) {
	e.Helper()
	for before := int64(0); ; {
		page, err := e.Certificates(e.ctx, t, before, n)
		e.ok("Certificates", err)
		e.that(len(page) <= n, "%d certificates in a page of %d", len(page), n)
		if len(page) == 0 {
			e.that(before <= 1, "the first number is %d", before)
			return docs
		}
		for _, c := range page {
			e.that(before == 0 || c.Number == before-1, "number %d before %d", c.Number, before)
			docs, before = append(docs, string(c.Doc)), c.Number
		}
	}
}

func certificatesInOrder(e *env) {
	e.same("a chain of none", e.chain(north, 9), nil)
	var want []string
	for i := range int64(12) {
		j, f := e.planner(north)
		doc := fmt.Sprint("of ", i)
		want = append(want, doc)
		e.same("what Certify returns", e.certify(f, i+1, doc), store.Certificate{Number: i + 1, Job: j.ID, Doc: []byte(doc)})
		got, err := e.Certificate(e.ctx, north, j.ID)
		e.ok("Certificate", err)
		e.same("the certificate", got, store.Certificate{Number: i + 1, Job: j.ID, Doc: []byte(doc)})
	}
	slices.Reverse(want)
	for _, n := range []int{1, 5, 12, 100} {
		e.same(fmt.Sprintf("the chain in pages of %d", n), e.chain(north, n), want)
	}
	none, err := e.Certificates(e.ctx, north, 0, 0)
	e.ok("Certificates", err)
	e.same("none", none, nil)
	none, err = e.Certificates(e.ctx, north, 1, 9)
	e.ok("Certificates", err)
	e.same("before the first", none, nil)
}

func certificatesNext(e *env) {
	_, f := e.planner(north)
	refused := func(numbers ...int64) {
		e.Helper()
		for _, n := range numbers {
			_, err := e.Certify(e.ctx, f, n, []byte("wrong"))
			e.is(fmt.Sprint("Certify as number ", n), err, store.ErrConflict)
		}
	}
	refused(0, -1, 2, 1<<40)
	_, first := e.planner(north)
	e.certify(first, 1, "first")
	refused(0, 1, 3)
	e.certify(f, 2, "second")
	e.same("the chain", e.chain(north, 9), []string{"second", "first"})
}

func certificatesOnce(e *env) {
	e.clock.stop()
	j := e.create("purge", unit("a", 0))
	_, lost := e.claim("purge")
	first := e.certify(lost, 1, "first")
	e.same("certified again", e.certify(lost, 1, "again"), first)
	_, other := e.planner(north)
	e.certify(other, 2, "other")
	e.clock.advance(lease + time.Millisecond)
	_, f := e.claim("purge")
	for _, n := range []int64{1, 2, 3, 9} {
		e.same(fmt.Sprint("by the next attempt as number ", n), e.certify(f, n, "late"), first)
	}
	got, err := e.Certificate(e.ctx, north, j.ID)
	e.ok("Certificate", err)
	e.same("the certificate", got, first)
	e.same("the chain", e.chain(north, 9), []string{"other", "first"})
}

func certificatesApart(e *env) {
	for i := range int64(3) {
		for _, t := range []store.Tenant{north, south} {
			_, f := e.planner(t)
			e.certify(f, i+1, fmt.Sprint(i, " in ", t))
		}
	}
	e.same("north", e.chain(north, 9), []string{"2 in north", "1 in north", "0 in north"})
	e.same("south", e.chain(south, 9), []string{"2 in south", "1 in south", "0 in south"})
	e.same("an unknown tenant's", e.chain("nowhere", 9), nil)
	j, f := e.planner(north)
	e.certify(f, 4, "3 in north")
	for _, t := range []store.Tenant{south, "nowhere"} {
		_, err := e.Certificate(e.ctx, t, j.ID)
		e.is("another tenant's", err, store.ErrNotFound)
	}
	_, err := e.Certificate(e.ctx, north, "never")
	e.is("an unknown job's", err, store.ErrNotFound)
}

func certificatesFenced(e *env) {
	e.clock.stop()
	j := e.create("purge", unit("a", 0))
	_, lost := e.claim("purge")
	e.clock.advance(lease + time.Millisecond)
	_, f := e.claim("purge")
	refused := func(what string, f store.Fence) {
		e.Helper()
		_, err := e.Certify(e.ctx, f, 1, []byte("wrong"))
		e.is(what, err, store.ErrFenced)
	}
	refused("Certify of an attempt that is lost", lost)
	e.end(f, job.UnitEnd{State: job.Succeeded})
	refused("Certify of one that has ended", f)
	_, err := e.Certificate(e.ctx, north, j.ID)
	e.is("Certificate", err, store.ErrNotFound)
	e.same("the chain", e.chain(north, 9), nil)
}

func certificatesStay(e *env) {
	j, f := e.planner(north)
	first := e.certify(f, 1, "first")
	e.ok("Remove", e.Remove(e.ctx, north, j.ID))
	got, err := e.Certificate(e.ctx, north, j.ID)
	e.ok("Certificate", err)
	e.same("the certificate", got, first)
	_, err = e.Certify(e.ctx, f, 2, []byte("late"))
	e.is("Certify", err, store.ErrFenced)
	_, next := e.planner(north)
	e.certify(next, 2, "second")
	e.same("the chain", e.chain(north, 9), []string{"second", "first"})
}

func certificatesAsTheyAre(e *env) {
	for i, doc := range []string{"\x00\xff\xfe{}", strings.Repeat("eyJ.", 300_000)} {
		j, f := e.planner(north)
		e.certify(f, int64(i+1), doc)
		got, err := e.Certificate(e.ctx, north, j.ID)
		e.ok("Certificate", err)
		e.that(string(got.Doc) == doc, "a document of %d bytes is another", len(doc))
	}
}

func certificatesDurable(e *env) {
	e.needReopen()
	j, f := e.planner(north)
	first := e.certify(f, 1, "first")
	e.reopen()
	got, err := e.Certificate(e.ctx, north, j.ID)
	e.ok("Certificate", err)
	e.same("the certificate", got, first)
	_, next := e.planner(north)
	_, err = e.Certify(e.ctx, next, 1, []byte("a fork"))
	e.is("Certify of a number that is taken", err, store.ErrConflict)
	e.certify(next, 2, "second")
	e.reopen()
	e.same("the chain", e.chain(north, 9), []string{"second", "first"})
}

// raceCertify has each racer certify jobs of its own, always after the last
// one that it sees, until it goes through.
func raceCertify(e *env) {
	fences := make([][]store.Fence, racers)
	for i := range fences {
		for range rounds / 3 {
			_, f := e.planner(north)
			fences[i] = append(fences[i], f)
		}
	}
	e.together(func(i int) error {
		for n, f := range fences[i] {
			if err := e.appendTo(f, fmt.Sprint(n, " by ", i)); err != nil {
				return err
			}
		}
		return nil
	})
	docs := e.chain(north, 7)
	slices.Sort(docs)
	e.same("certificates", len(slices.Compact(docs)), racers*(rounds/3))
}

// appendTo certifies from a goroutine: it returns errors.
func (e *env) appendTo(f store.Fence, doc string) error {
	for {
		last, err := e.Certificates(e.ctx, f.Tenant, 0, 1)
		if err != nil {
			return err
		}
		next := int64(1)
		if len(last) > 0 {
			next = last[0].Number + 1
		}
		if _, err = e.Certify(e.ctx, f, next, []byte(doc)); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

func raceNumber(e *env) {
	for n := range int64(rounds) / 2 {
		fences := make([]store.Fence, racers)
		for i := range fences {
			_, fences[i] = e.planner(north)
		}
		won := e.wins(func(i int) error {
			_, err := e.Certify(e.ctx, fences[i], n+1, []byte(fmt.Sprint(n, " by ", i)))
			return err
		})
		e.same("winners", won, int64(1))
		e.same("certificates", len(e.chain(north, 9)), int(n+1))
	}
}
