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
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": filestest.AccessKey, "AWS_SECRET_ACCESS_KEY": filestest.SecretKey, "AWS_SESSION_TOKEN": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_PROFILE": "", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}
