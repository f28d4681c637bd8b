package engine_test

import (
	"fmt"
	"testing"

	"firebreak/operations/job"
)

func TestAUnitIsOneWriteOfProgress(t *testing.T) {
	b := newBench(t)
	const units = 20
	var us []job.Unit
	for i := range units {
		us = append(us, unit(fmt.Sprintf("0-%02d", i)))
	}
	id := b.create(us...)
	stop := b.start(handler{})
	b.awaitState(id, job.Succeeded)
	stop()
	if ends, renewals := b.store.count("end"), b.store.count("renew"); ends != units || renewals != 0 {
		t.Errorf("%d units were ended by %d writes, and there were %d renewals", units, ends, renewals)
	}
	// Workers that begin at once may each start the job, and settle it.
	if n := b.store.count("update"); n < 2 || n > 4 {
		t.Errorf("the job was written %d times: its start and its end are 2", n)
	}
}
