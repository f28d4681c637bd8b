package sqlite

import (
	"iter"
	"math/bits"
)

// pageSet is a set of numbers of pages: a bit each. The zero value is empty.
type pageSet struct {
	words []uint64
	count int
}

func (s *pageSet) add(no int64) {
	for int(no>>6) >= len(s.words) {
		s.words = append(s.words, make([]uint64, 1+len(s.words))...)
	}
	if !s.has(no) {
		s.words[no>>6] |= 1 << (no & 63)
		s.count++
	}
}

func (s *pageSet) remove(no int64) {
	if s.has(no) {
		s.words[no>>6] &^= 1 << (no & 63)
		s.count--
	}
}

func (s *pageSet) has(no int64) bool {
	return int(no>>6) < len(s.words) && s.words[no>>6]&(1<<(no&63)) != 0
}

// all are the numbers in order. One that is yielded may be removed.
func (s *pageSet) all() iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for i, word := range s.words {
			for ; word != 0; word &= word - 1 {
				if !yield(int64(i)<<6 | int64(bits.TrailingZeros64(word))) {
					return
				}
			}
		}
	}
}
