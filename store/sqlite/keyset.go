package sqlite

import (
	"iter"
	"math/bits"
)

// segment is a range of rowids within one segment of the link index.
type segment struct{ from, to int64 }

// segments cuts [from, to) at the bounds of segments.
func segments(from, to int64) iter.Seq[segment] {
	return func(yield func(segment) bool) {
		for from < to {
			end := min((from>>segmentBits+1)<<segmentBits, to)
			if !yield(segment{from, end}) {
				return
			}
			from = end
		}
	}
}

// keySet is a set of keys of one segment: a bit each, so that its size has a
// bound however many are added however often, and it is in order.
type keySet struct {
	segment
	words []uint64
}

func newKeySet(from, to int64) *keySet {
	return &keySet{segment{from, to}, make([]uint64, (to-from+63)/64)}
}

// add adds a key, or does nothing if it is outside the segment.
func (k *keySet) add(key int64) {
	if k.from <= key && key < k.to {
		i := key - k.from
		k.words[i/64] |= 1 << (i % 64)
	}
}

func (k *keySet) has(key int64) bool {
	i := key - k.from
	return key >= k.from && key < k.to && k.words[i/64]&(1<<(i%64)) != 0
}

// keep removes what is not in the other set, which is of the same segment.
func (k *keySet) keep(other *keySet) {
	for i := range k.words {
		k.words[i] &= other.words[i]
	}
}

func (k *keySet) len() int {
	n := 0
	for _, w := range k.words {
		n += bits.OnesCount64(w)
	}
	return n
}

// after lists the keys after the given one, in order.
func (k *keySet) after(key int64) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for i, w := range k.words {
			for ; w != 0; w &= w - 1 {
				at := k.from + int64(i)*64 + int64(bits.TrailingZeros64(w))
				if at > key && !yield(at) {
					return
				}
			}
		}
	}
}
