package search

import "bytes"

// stringEnd gives the index after the closing quote of the string at i.
func stringEnd(b []byte, i int) int {
	for j := i + 1; ; {
		n := bytes.IndexByte(b[j:], '"')
		if n < 0 {
			return len(b)
		}
		j += n + 1
		if b[j-2] != '\\' || !escaped(b, i, j-1) {
			return j
		}
	}
}

// escaped tells whether the byte at j, in a string from i, has an odd number
// of backslashes before it.
func escaped(b []byte, i, j int) bool {
	k := j
	for k > i+1 && b[k-1] == '\\' {
		k--
	}
	return (j-k)%2 == 1
}

// scalarEnd gives the index after the number, true, false or null at i, which
// is at least one byte.
func scalarEnd(b []byte, i int) int {
	for i++; i < len(b); i++ {
		if c := b[i]; c == ',' || c == '}' || c == ']' {
			return i
		}
	}
	return i
}

// valueEnd gives the index after the value at i.
func valueEnd(b []byte, i int) int {
	for depth := 0; i < len(b); {
		switch b[i] {
		case '"':
			i = stringEnd(b, i)
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			depth--
			i++
		case ',', ':':
			i++
			continue
		default:
			i = scalarEnd(b, i)
		}
		if depth <= 0 {
			return i
		}
	}
	return i
}
