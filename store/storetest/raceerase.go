package storetest

import (
	"errors"
	"fmt"
	"sync/atomic"

	"firebreak/operations/job"
	"firebreak/store"
)

func eraseRaces() []testCase {
	return []testCase{
		{"of many that erase the same versions each is counted once", raceErasers},
		{"a resource that is written while it is erased is whole or new", raceErase},
		{"no part of an announced patient ends beside Void", raceVoid},
		{"a job that begins anew keeps no end from beside that", raceAnew},
		{"barriers hold against writers while versions are erased", raceEraseBarrier},
	}
}

// tryErase erases all that there is of a resource now. What is refused because
// it was written meanwhile is left.
func (e *env) tryErase(f store.Fence, ref string) error {
	var vs []store.VersionRef
	err := e.Versions(e.ctx, f.Tenant, idsOf(ref), func(v *store.Version) error {
		vs = append(vs, store.VersionRef{Key: v.Key, ID: v.ID, N: v.N})
		return nil
	})
	if err != nil {
		return err
	}
	if _, err = e.Erase(e.ctx, f, vs); errors.Is(err, store.ErrConflict) {
		return nil
	}
	return err
}

func raceErasers(e *env) {
	var vs []store.VersionRef
	for i := range 40 {
		ref := fmt.Sprint("Patient/", i)
		e.commit(write(ref, "a"))
		e.commit(write(ref, "b"))
		vs = append(vs, e.refsTo(ref)...)
	}
	us := manyUnits(racers, 0)
	j := e.create("purge", us...)
	by := e.claimedOf("purge")
	var versions, resources atomic.Int64
	e.together(func(i int) error {
		got, err := e.Erase(e.ctx, by[us[i].ID], vs)
		versions.Add(got.Versions)
		resources.Add(got.Resources)
		return err
	})
	e.same("erased", job.Erased{Versions: versions.Load(), Resources: resources.Load()}, job.Erased{Versions: 80, Resources: 40})
	e.same("the tally", e.tally(j).Erased, job.Erased{Versions: 80, Resources: 40})
}

// raceErase counts at the end: what was written was erased, or is there.
func raceErase(e *env) {
	us := manyUnits(racers, 0)
	j := e.create("purge", us...)
	by := e.claimedOf("purge")
	var written atomic.Int64
	e.together(func(i int) error {
		for n := range rounds {
			if i%4 == 0 {
				if err := e.tryErase(by[us[i].ID], "Patient/1"); err != nil {
					return err
				}
				continue
			}
			if _, err := e.try(north, write("Patient/1", fmt.Sprint(n, " by ", i), "2")); err != nil {
				return err
			}
			written.Add(1)
		}
		return nil
	})
	left := e.history("Patient/1")
	e.same("versions", e.tally(j).Erased.Versions+int64(len(left)), written.Load())
	next := store.Version{From: store.Forever, N: 1 << 30}
	for _, v := range left {
		e.that(v.To == next.From && v.From < v.To && v.N < next.N, "%s is current over [%d, %d), %s from %d", label(v), v.From, v.To, label(next), next.From)
		next = v
	}
	e.ok("Erase", e.tryErase(by[us[0].ID], "Patient/1"))
	e.same("who mentions the patient", e.mentions("Patient/1", "Patient/2"), nil)
	e.same("residue", e.residue(store.Gone{IDs: idsOf("Patient/1", "Patient/2"), Patients: []string{"1", "2"}}), nil)
}

// raceVoid has units that were claimed before an announcement end beside it.
// Each is refused, or its part is voided.
func raceVoid(e *env) {
	for n := range rounds / 2 {
		kind, patient := fmt.Sprint("export-", n), fmt.Sprint("p", n)
		us := manyUnits(racers-1, 0)
		j := e.create(kind, us...)
		by := e.claimedOf(kind)
		_, purge := e.eraser()
		var ended, voided atomic.Int64
		e.together(func(i int) error {
			if i < len(us) {
				err := e.ends(by[us[i].ID], us[i].ID, patient, "other")
				if errors.Is(err, store.ErrErased) {
					return nil
				}
				ended.Add(1)
				return err
			}
			if err := e.Announce(e.ctx, purge, []string{patient}); err != nil {
				return err
			}
			ps, err := e.Void(e.ctx, purge, []string{patient})
			voided.Add(int64(len(ps)))
			return err
		})
		e.same("voided", voided.Load(), ended.Load())
		e.same("parts that hold the patient", e.holding(patient), nil)
		e.same("parts", e.parts(j), nil)
	}
}

// raceEraseBarrier erases what no writer touches, beside writers and barriers.
func raceEraseBarrier(e *env) {
	e.loadCrowd(300)
	_, f := e.eraser()
	var vs []store.VersionRef
	for _, v := range e.scan(store.Selection{At: e.barrier()}) {
		vs = append(vs, store.VersionRef{Key: v.Key, ID: v.ID, N: v.N})
	}
	w := e.writers(north)
	for range rounds {
		n := len(vs) / rounds
		_, err := e.Erase(e.ctx, f, vs[:n])
		e.ok("Erase", err)
		vs = vs[n:]
		_, _, err = e.fence(w)
		e.ok("a barrier under writers", err)
	}
	e.ok("the writers", w.end())
	_, _, err := e.fence(w)
	e.ok("the last barrier", err)
}

// raceAnew has units end beside a Void that has their job begin anew. Those
// that ended before are to be done again, and no other ends.
func raceAnew(e *env) {
	for n := range rounds / 2 {
		kind, patient := fmt.Sprint("export-", n), fmt.Sprint("p", n)
		us := manyUnits(racers-1, 1)
		j := e.create(kind, append(us, unit("plan", 0))...)
		_, f := e.claim(kind)
		e.succeed(f)
		by := e.claimedOf(kind)
		_, purge := e.eraser()
		e.holds(by[us[0].ID], 0, patient)
		e.together(func(i int) error {
			if i == 0 {
				return drop(e.Void(e.ctx, purge, []string{patient}))
			}
			if i == len(us) {
				return nil
			}
			err := e.ends(by[us[i].ID], us[i].ID, "other")
			if errors.Is(err, store.ErrFenced) {
				return nil
			}
			return err
		})
		e.same("units", e.states(j), []int{len(us), 0, 1, 0, 0})
		e.same("parts", e.parts(j), nil)
		e.same("parts of another", e.holding("other"), nil)
		e.clock.advance(store.AnewAfter)
		e.same("claimed", len(e.claimedOf(kind)), len(us))
	}
}
