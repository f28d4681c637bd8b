package store_test

import (
	"testing"

	"firebreak/store"
)

func TestUUIDsComeBackAsTheyWere(t *testing.T) {
	for _, id := range []string{
		"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "8f14e45f-ceea-467f-a8f5-0e8a1d2c3b4d",
	} {
		u, ok := store.PackUUID(id)
		if got := store.UnpackUUID(u[:]); !ok || got != id {
			t.Errorf("%s comes back as %s, %v", id, got, ok)
		}
	}
}

// Ids differ by case and by every hyphen, so only one form may be packed.
func TestOtherFormsOfAUUIDAreNotPacked(t *testing.T) {
	for _, id := range []string{
		"", "1", "8F14E45F-CEEA-467F-A8F5-0E8A1D2C3B4D", "8f14e45fceea467fa8f50e8a1d2c3b4d", "8f14e45f-ceea-467f-a8f5-0e8a1d2c3b4",
		"8f14e45f-ceea-467f-a8f5-0e8a1d2c3b4d0", "8f14e45fc-eea-467f-a8f5-0e8a1d2c3b4d", "8f14e45f-ceea-467f-a8f5-0e8a1d2c3b4g",
		"-8f14e45-ceea-467f-a8f5-0e8a1d2c3b4d", "8f14e45f-ceea-467f-a8f5-0e8a1d2c-b4d",
	} {
		if _, ok := store.PackUUID(id); ok {
			t.Errorf("%q was packed", id)
		}
	}
}
