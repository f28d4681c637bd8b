package ledger

import (
	"bytes"
	"slices"

	"firebreak/fhir"
	"firebreak/store"
)

// Entry is what a ledger has of a resource; 0: nothing.
type Entry struct {
	Erased   store.Tick // nothing up to here is to be left
	Detached store.Tick // nothing up to here that is of, or names, what was erased
}

// Lookup is all entries of a ledger that were not revoked, as they were when it
// was made. Its methods
// may be called from many goroutines at once.
type Lookup struct {
	key []byte
	all []known // in order of mac, each once
}

type known struct {
	mac [macSize]byte
	Entry
}

// Lookup reads all entries. It takes 48 bytes of memory for each.
func (l *Ledger) Lookup() (*Lookup, error) {
	n := l.Last()
	all := make([]known, n) // by number; zero: nothing
	err := l.each(n, func(number int64, b []byte) error {
		e, ok := l.record(b, number)
		if !ok {
			return &DamageError{l.path, number, offsetOf(number)}
		}
		switch e.kind {
		case erased:
			all[number-1] = known{e.mac, Entry{Erased: e.at}}
		case detached:
			all[number-1] = known{e.mac, Entry{Detached: e.at}}
		case revoking:
			from, to := e.revoked()
			clear(all[from-1 : to])
		case empty:
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(k known) bool { return k.Entry == Entry{} })
	slices.SortFunc(all, func(a, b known) int { return bytes.Compare(a.mac[:], b.mac[:]) })
	return &Lookup{l.key, merged(all)}, nil
}

// merged has one for each mac, with the latest ticks.
func merged(all []known) []known {
	out := all[:0]
	for _, k := range all {
		if n := len(out); n > 0 && out[n-1].mac == k.mac {
			out[n-1].Erased = max(out[n-1].Erased, k.Erased)
			out[n-1].Detached = max(out[n-1].Detached, k.Detached)
			continue
		}
		out = append(out, k)
	}
	return out
}

// Len is of how many resources there is an entry.
func (x *Lookup) Len() int { return len(x.all) }

// Of is what the ledger has of a resource.
func (x *Lookup) Of(t store.Tenant, id fhir.ID) Entry {
	m := mac(x.key, t, id)
	i, ok := slices.BinarySearchFunc(x.all, m, func(k known, m [macSize]byte) int { return bytes.Compare(k.mac[:], m[:]) })
	if !ok {
		return Entry{}
	}
	return x.all[i].Entry
}
