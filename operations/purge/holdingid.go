package purge

import (
	"encoding/hex"
	"strings"

	"github.com/oklog/ulid/v2"
)

// UUID is the id of a job, a ULID, in the form of a UUID: both are 128 bits.
// What is no ULID is given back as it is.
func UUID(id string) string {
	u, err := ulid.ParseStrict(id)
	if err != nil {
		return id
	}
	s := hex.EncodeToString(u[:])
	return strings.Join([]string{s[:8], s[8:12], s[12:16], s[16:20], s[20:]}, "-")
}

// JobID is the id of the job that UUID shows so, in letters of either case; ""
// if it shows none so.
func JobID(uuid string) string {
	var u ulid.ULID
	plain := strings.ReplaceAll(uuid, "-", "")
	if len(plain) != hex.EncodedLen(len(u)) {
		return ""
	}
	if _, err := hex.Decode(u[:], []byte(plain)); err != nil || UUID(u.String()) != strings.ToLower(uuid) {
		return ""
	}
	return u.String()
}
