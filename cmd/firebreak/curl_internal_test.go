package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"firebreak/auth/authtest"

	"github.com/rogpeppe/go-internal/testscript"
)

// What clients of 1upHealth's bulk purge do, call by call, with the real curl
// and a server in a process of its own.
func TestAPurgeByCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no curl on the path; CI is set, so this is a failure")
		}
		t.Skip("there is no curl on the path")
	}
	issuer := authtest.New(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/curl", RequireExplicitExec: true, RequireUniqueNames: true,
		Deadline: time.Now().Add(5 * time.Minute),
		Setup:    func(e *testscript.Env) error { return toCurl(e, issuer) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": serveInScript, "interrupt": interruptInScript,
			"operator": operatorInScript, "grab": grabInScript, "until": untilInScript,
		},
	})
}

// toCurl gives a script an OpenID provider (ISSUER, AUDIENCE), files of headers
// with tokens of it, and many.ndjson, which a server purges for seconds.
func toCurl(e *testscript.Env, issuer *authtest.Issuer) error {
	e.Setenv("ISSUER", issuer.URL)
	e.Setenv("AUDIENCE", authtest.Audience)
	for _, client := range []string{"web", "app"} {
		token := issuer.Token(authtest.Claims{Client: client, Scope: everything})
		if err := os.WriteFile(filepath.Join(e.WorkDir, client+".token"), []byte("Authorization: Bearer "+token+"\n"), 0o600); err != nil {
			return err
		}
	}
	var many strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&many, `{"resourceType":"Observation","id":"many-%d","status":"final","code":{"text":"x"}}`+"\n", i)
	}
	return os.WriteFile(filepath.Join(e.WorkDir, "many.ndjson"), []byte(many.String()), 0o600)
}

// operatorInScript sets OPERATOR to where the server serves its operator.
func operatorInScript(ts *testscript.TestScript, _ bool, _ []string) {
	pid, err := strconv.Atoi(ts.Getenv("SERVER"))
	ts.Check(err)
	c, _ := children.Load(pid)
	served := regexp.MustCompile(`the operator is served" at=(\S+)`)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if found := served.FindStringSubmatch(c.(*process).stderr.String()); found != nil { // it comes just after the server does
			ts.Setenv("OPERATOR", found[1])
			return
		}
	}
	ts.Fatalf("the operator is not served")
}

// grabInScript keeps what the last program printed: grab NAME PATTERN, with one
// group.
func grabInScript(ts *testscript.TestScript, _ bool, args []string) {
	found := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if found == nil {
		ts.Fatalf("%s is not in what was printed", args[1])
	}
	ts.Setenv(args[0], found[1])
}

// untilInScript runs a program until it prints what matches: until PATTERN
// PROGRAM ARGUMENTS.
func untilInScript(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile(args[0])
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		ts.Check(ts.Exec(args[1], args[2:]...))
		if want.MatchString(ts.ReadFile("stdout")) {
			return
		}
	}
	ts.Fatalf("%s is not printed within a minute", args[0])
}
