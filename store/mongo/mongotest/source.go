package mongotest

import (
	"os"
	"os/exec"
	"testing"
)

// The variables of the environment that say where engines come from.
const (
	uriVariable     = "FIREBREAK_TEST_MONGODB_URI"
	controlVariable = "FIREBREAK_TEST_MONGODB_CTL"
)

// source says where engines come from: the first that is not empty.
type source struct {
	uri     string // of an engine that runs
	mongod  string // the path of the program
	control string // a program that starts and ends engines
	// strict makes a failure of what would be a skip.
	strict bool
}

// environment is the source that a test process was given.
func environment() source {
	mongod, err := exec.LookPath("mongod")
	if err != nil {
		mongod = ""
	}
	return source{
		uri: os.Getenv(uriVariable), mongod: mongod, control: os.Getenv(controlVariable),
		strict: os.Getenv("CI") != "",
	}
}

func (s source) none() bool { return s.uri == "" && s.mongod == "" && s.control == "" }

// launcher starts and ends engines in a folder. It must not be asked of a
// source that has none.
func (s source) launcher(dir string) launcher {
	if s.mongod != "" {
		return &mongod{program: s.mongod, dir: dir}
	}
	return control{program: s.control, dir: dir}
}

// refuse ends a test for which there is no engine.
func (s source) refuse(t testing.TB, need string) {
	t.Helper()
	const reason = "%s needs %s, and there is none: " + uriVariable + " is for one that runs (not for a test that kills it), " +
		controlVariable + " for a program that starts one, and a mongod on PATH would do"
	if s.strict {
		t.Fatalf(reason+"; CI is set, so this is a failure", t.Name(), need)
	}
	t.Skipf("SKIPPED: "+reason, t.Name(), need)
}
