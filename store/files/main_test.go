package files_test

import (
	"os"
	"testing"

	"firebreak/store/files/filestest"

	"go.uber.org/goleak"
)

// TestMain gives buckets the credentials of the tests' server, and none of the
// machine's. Tests that run beside each other cannot do so themselves.
func TestMain(m *testing.M) {
	for name, value := range filestest.Environment() {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}
