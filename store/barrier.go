package store

import "time"

// BarrierAt is the T of a barrier where the machine's clock is at now and the
// tenant's at clock: a multiple of round, no less than either. early > 0: it
// would come too early, and is to be asked for again after that time.
//
// Barriers that wait keep the tenant's clock within one round of the machine's.
// If it is further, the machine's was set back, and there is no waiting for
// that.
func BarrierAt(now, clock Tick, round time.Duration) (at Tick, early time.Duration) {
	step := Tick(max(round.Milliseconds(), 1))
	at = (max(now, clock) + step - 1) / step * step
	if ahead := at - step - now; ahead > 0 && clock <= now+2*step {
		return 0, time.Duration(min(ahead, step)) * time.Millisecond
	}
	return at, 0
}
