package mongo_test

import (
	"strings"
	"testing"

	"firebreak/store/mongo"
)

func TestADatabaseBesideAnotherHasTheSameServersOptionsAndUser(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 60)
	for uri, want := range map[string]string{
		"mongodb://a,b:2/ehr?replicaSet=rs0":                         "mongodb://a,b:2/ehr-demo?replicaSet=rs0",
		"mongodb://a/?replicaSet=rs0":                                "mongodb://a/firebreak-demo?replicaSet=rs0",
		"mongodb://a":                                                "mongodb://a/firebreak-demo?",
		"mongodb://u:p@a/ehr?replicaSet=rs0":                         "mongodb://u:p@a/ehr-demo?replicaSet=rs0&authSource=ehr",
		"mongodb://u:p@a":                                            "mongodb://u:p@a/firebreak-demo?authSource=admin",
		"mongodb://u:p@a/ehr?authsource=x":                           "mongodb://u:p@a/ehr-demo?authsource=x",
		"mongodb://u@a/ehr?authMechanism=MONGODB-X509":               "mongodb://u@a/ehr-demo?authMechanism=MONGODB-X509",
		"mongodb+srv://u:p@a.example/ehr":                            "mongodb+srv://u:p@a.example/ehr-demo?",
		"mongodb://a/" + long:                                        "mongodb://a/" + long[:58] + "-demo?",
		"mongodb://u:p@a/ehr?authMechanism=SCRAM-SHA-256&appName=f%": "mongodb://u:p@a/ehr-demo?authMechanism=SCRAM-SHA-256&appName=f%&authSource=ehr",
	} {
		if got := mongo.Beside(uri, "-demo"); got != want {
			t.Errorf("beside %s is %s", uri, got)
		}
	}
}
