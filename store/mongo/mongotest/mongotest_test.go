package mongotest_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"firebreak/store/mongo/mongotest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(mongotest.Main(m)) }

// tests are the tests of a process, as testing.M runs them.
type tests func() int

func (run tests) Run() int { return run() }

// inProcess runs a test in a process that has an engine to share, and returns
// what the process exits with.
func inProcess(test func(*mongotest.Process)) int {
	p := new(mongotest.Process)
	return p.Main(tests(func() int {
		test(p)
		return 0
	})).Run()
}

// program writes a shell script that can be called like a control command. It
// notes what it is called with in the file returned beside it.
func program(t *testing.T, script string) (path, calls string) {
	t.Helper()
	dir := t.TempDir()
	path, calls = filepath.Join(dir, "program"), filepath.Join(dir, "calls")
	text := "#!/bin/sh\necho \"$@\" >>'" + calls + "'\n" + script
	// A child that another test starts meanwhile would hold the file open for
	// writing, and then it cannot be run.
	syscall.ForkLock.RLock()
	err := os.WriteFile(path, []byte(text), 0o700)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	return path, calls
}

const controlURI = "mongodb://127.0.0.1:1/?replicaSet=rs0"

// control is a control command whose engines are not there.
func control(t *testing.T) (path, calls string) {
	t.Helper()
	return program(t, `[ "$1" != start ] || echo '`+controlURI+`'`)
}

// commands are the calls of a program without their folder, and the folders.
func commands(t *testing.T, calls string) (names, folders []string) {
	t.Helper()
	text, err := os.ReadFile(calls)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, folder, _ := strings.Cut(strings.TrimSpace(line), " --dir ")
		names, folders = append(names, name), append(folders, folder)
	}
	return names, folders
}

func TestAGivenURIComesFirst(t *testing.T) {
	t.Parallel()
	ctl, calls := control(t)
	const given = "mongodb://db.example.org/?replicaSet=rs1"
	src := mongotest.Source{URI: given, Mongod: ctl, Control: ctl}
	inProcess(func(p *mongotest.Process) {
		e := p.Start(t, src)
		if e.URI() != given || e.CanKill() {
			t.Errorf("the engine is %s, to be killed: %v", e.URI(), e.CanKill())
		}
		for name, f := range map[string]func(testing.TB){"kill": e.Kill, "restart": e.Restart} {
			if got := observe(t, f); !strings.Contains(got.failed, "may not "+name) {
				t.Errorf("%s ended in %+v", name, got)
			}
		}
	})
	if names, _ := commands(t, calls); names != nil {
		t.Errorf("programs were called: %q", names)
	}
}

func TestAMongodComesBeforeAControlCommand(t *testing.T) {
	t.Parallel()
	ctl, controlled := control(t)
	mongod, calls := program(t, "exit 1")
	got := observe(t, func(t testing.TB) { mongotest.Source{Mongod: mongod, Control: ctl}.Own(t) })
	if !strings.Contains(got.failed, mongod) {
		t.Errorf("a mongod that ends at once ended in %+v", got)
	}
	if names, _ := commands(t, calls); len(names) != 1 || !strings.Contains(names[0], "--replSet rs0 --setParameter enableTestCommands=1") {
		t.Errorf("it was called with %q", names)
	}
	if names, _ := commands(t, controlled); names != nil {
		t.Errorf("the control command was called: %q", names)
	}
}

func TestTheSharedEngineIsStartedOnceAndStoppedAtTheEnd(t *testing.T) {
	t.Parallel()
	ctl, calls := control(t)
	src := mongotest.Source{Control: ctl}
	code := inProcess(func(p *mongotest.Process) {
		first, second := p.Start(t, src), p.Start(t, src)
		if first != second || first.URI() != controlURI || !first.CanKill() {
			t.Errorf("the engines are %+v and %+v", first, second)
		}
		first.Kill(t)
		first.Restart(t)
	})
	names, folders := commands(t, calls)
	if diff := cmp.Diff([]string{"start", "kill", "start", "stop"}, names); diff != "" || code != 0 {
		t.Errorf("exit code %d, calls (-want +got):\n%s", code, diff)
	}
	if _, err := os.Stat(folders[0]); !os.IsNotExist(err) {
		t.Errorf("its folder is still there: %v", err)
	}
}

func TestAProcessThatStartsNoEngineStopsNone(t *testing.T) {
	t.Parallel()
	if code := inProcess(func(*mongotest.Process) {}); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestAnEngineThatCannotBeStoppedFailsTheProcess(t *testing.T) {
	t.Parallel()
	ctl, _ := program(t, `[ "$1" = start ] && echo '`+controlURI+`'`)
	if code := inProcess(func(p *mongotest.Process) { p.Start(t, mongotest.Source{Control: ctl}) }); code != 1 {
		t.Errorf("exit code %d", code)
	}
}

func TestAnEngineOfOnesOwnEndsWithTheTest(t *testing.T) {
	t.Parallel()
	ctl, calls := control(t)
	src := mongotest.Source{URI: "mongodb://db.example.org/", Control: ctl}
	got := observe(t, func(t testing.TB) {
		one, two := src.Own(t), src.Own(t)
		if !one.CanKill() || one == two || one.URI() != controlURI {
			t.Errorf("the engines are %+v and %+v", one, two)
		}
	})
	names, folders := commands(t, calls)
	if diff := cmp.Diff([]string{"start", "start", "stop", "stop"}, names); diff != "" || got.failed != "" {
		t.Errorf("ended in %+v, calls (-want +got):\n%s", got, diff)
	}
	if folders[0] == folders[1] {
		t.Errorf("two engines share %s", folders[0])
	}
}

func TestWithoutAnEngineATestIsSkippedByName(t *testing.T) {
	t.Parallel()
	got := observe(t, func(t testing.TB) { mongotest.Source{}.Own(t) })
	inProcess(func(p *mongotest.Process) {
		shared := observe(t, func(t testing.TB) { p.Start(t, mongotest.Source{}) })
		for _, o := range []outcome{got, shared} {
			for _, word := range []string{"SKIPPED", t.Name(), "FIREBREAK_TEST_MONGODB_URI", "FIREBREAK_TEST_MONGODB_CTL", "mongod"} {
				if !strings.Contains(o.skipped, word) || o.failed != "" {
					t.Errorf("%q is missing in %+v", word, o)
				}
			}
		}
	})
}

func TestInCIATestWithoutAnEngineFails(t *testing.T) {
	t.Parallel()
	for name, got := range map[string]outcome{
		"shared": observe(t, func(t testing.TB) { new(mongotest.Process).Start(t, mongotest.Source{Strict: true}) }),
		"own":    observe(t, func(t testing.TB) { mongotest.Source{URI: "mongodb://db.example.org/", Strict: true}.Own(t) }),
	} {
		if !strings.Contains(got.failed, "CI is set") || got.skipped != "" {
			t.Errorf("%s: ended in %+v", name, got)
		}
	}
}

func TestAnEngineThatDoesNotStartFailsEveryTest(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ script, want string }{
		"a failure": {"echo no room >&2; exit 3", "no room"},
		"no URI":    {"echo started", `printed "started"`},
	} {
		ctl, calls := program(t, tt.script)
		inProcess(func(p *mongotest.Process) {
			for range 2 {
				if got := observe(t, func(t testing.TB) { p.Start(t, mongotest.Source{Control: ctl}) }); !strings.Contains(got.failed, tt.want) {
					t.Errorf("%s: ended in %+v", name, got)
				}
			}
		})
		names, _ := commands(t, calls)
		if diff := cmp.Diff([]string{"start", "stop"}, names); diff != "" {
			t.Errorf("%s: calls (-want +got):\n%s", name, diff)
		}
	}
}

func TestAnEngineThatComesBackElsewhereFailsTheTest(t *testing.T) {
	t.Parallel()
	ctl, _ := program(t, `[ "$1" != start ] || echo mongodb://127.0.0.1:$$/`)
	got := observe(t, func(t testing.TB) { mongotest.Source{Control: ctl}.Own(t).Restart(t) })
	if !strings.Contains(got.failed, "came back as") {
		t.Errorf("ended in %+v", got)
	}
}

func TestSharingNeedsMain(t *testing.T) {
	t.Parallel()
	ctl, calls := control(t)
	got := observe(t, func(t testing.TB) { new(mongotest.Process).Start(t, mongotest.Source{Control: ctl}) })
	if names, _ := commands(t, calls); !strings.Contains(got.failed, "mongotest.Main") || names != nil {
		t.Errorf("ended in %+v, calls %q", got, names)
	}
}

func TestTheEnvironmentSaysWhereEnginesComeFrom(t *testing.T) {
	bin := t.TempDir()
	mongod := filepath.Join(bin, "mongod")
	if err := os.WriteFile(mongod, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"FIREBREAK_TEST_MONGODB_URI": "mongodb://db.example.org/", "FIREBREAK_TEST_MONGODB_CTL": "/opt/ctl", "PATH": bin, "CI": "true",
	} {
		t.Setenv(name, value)
	}
	want := mongotest.Source{URI: "mongodb://db.example.org/", Mongod: mongod, Control: "/opt/ctl", Strict: true}
	if diff := cmp.Diff(want, mongotest.Environment()); diff != "" {
		t.Errorf("all set (-want +got):\n%s", diff)
	}
	for _, name := range []string{"FIREBREAK_TEST_MONGODB_URI", "FIREBREAK_TEST_MONGODB_CTL", "PATH", "CI"} {
		t.Setenv(name, "")
	}
	if diff := cmp.Diff(mongotest.Source{}, mongotest.Environment()); diff != "" {
		t.Errorf("none set (-want +got):\n%s", diff)
	}
}
