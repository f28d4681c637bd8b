package store

import "encoding/hex"

// PackUUID packs a logical id that is a UUID in its usual form (lower case,
// four hyphens) into 16 bytes; ok is false for anything else. Most ids are
// UUIDs, and each is in several indexes.
func PackUUID(id string) (u [16]byte, ok bool) {
	if len(id) != 36 {
		return u, false
	}
	at := 0
	for i := 0; i < len(id); {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if id[i] != '-' {
				return u, false
			}
			i++
			continue
		}
		a, b := nibble(id[i]), nibble(id[i+1])
		if a > 15 || b > 15 {
			return u, false
		}
		u[at] = a<<4 | b
		i, at = i+2, at+1
	}
	return u, true
}

func nibble(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}

// UnpackUUID is the id of the 16 bytes that PackUUID made of it.
func UnpackUUID(u []byte) string {
	var b [36]byte
	hex.Encode(b[:], u[:4])
	b[8] = '-'
	hex.Encode(b[9:], u[4:6])
	b[13] = '-'
	hex.Encode(b[14:], u[6:8])
	b[18] = '-'
	hex.Encode(b[19:], u[8:10])
	b[23] = '-'
	hex.Encode(b[24:], u[10:16])
	return string(b[:])
}
