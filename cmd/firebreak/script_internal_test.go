package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"firebreak/fhir/fhirhttp"
	"firebreak/operations/fetch"
	"firebreak/store/mongo/mongotest"

	"github.com/rogpeppe/go-internal/testscript"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

func TestMain(m *testing.M) {
	testscript.Main(mongotest.Main(m), map[string]func(){"firebreak": main})
}

// The program, as it is used: each script is a session at a shell.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true,
		Deadline: time.Now().Add(2 * time.Minute), // for a server that comes up where it must not
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": serveInScript, "interrupt": interruptInScript, "sql": sqlInScript, "status": statusInScript,
		},
	})
}

// serveInScript takes a server up, as "firebreak serve" with the options, and
// sets BASE to where it serves, and API to that without the FHIR base.
// "interrupt" ends it.
func serveInScript(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("use 'exec firebreak serve' for a server that must not come up")
	}
	dir := ts.Getenv("WORK")
	c, err := serveProcess(dir, append([]string{"--listen", "127.0.0.1:0"}, args...)...)
	ts.Check(err)
	ts.Setenv("BASE", c.base)
	ts.Setenv("API", strings.TrimSuffix(c.base, fhirhttp.Root))
	ts.Setenv("SERVER", strconv.Itoa(c.cmd.Process.Pid))
	ts.Defer(func() { _ = c.end(syscall.SIGKILL) }) // it may have been stopped
	children.Store(c.cmd.Process.Pid, c)
}

// interruptInScript ends the server as Ctrl-C does, and checks that it ended well.
func interruptInScript(ts *testscript.TestScript, _ bool, _ []string) {
	pid, err := strconv.Atoi(ts.Getenv("SERVER"))
	ts.Check(err)
	c, _ := children.Load(pid)
	ts.Check(c.(*process).end(os.Interrupt))
}

// statusInScript runs a program that must end with a status: status 2 firebreak x
func statusInScript(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	exit := (*exec.ExitError)(nil)
	if code := strconv.Itoa(exitOf(err)); code != args[0] || err != nil && !errors.As(err, &exit) {
		ts.Fatalf("the status is %s, want %s: %v", code, args[0], err)
	}
}

func exitOf(err error) int {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// sqlInScript runs a statement on a database.
func sqlInScript(ts *testscript.TestScript, _ bool, args []string) {
	conn, err := sqlite.OpenConn(ts.MkAbs(args[0]), sqlite.OpenReadWrite, sqlite.OpenCreate)
	ts.Check(err)
	ts.Check(errors.Join(sqlitex.ExecuteScript(conn, args[1], nil), conn.Close()))
}

// process is a server in a process of its own.
type process struct {
	cmd    *exec.Cmd
	base   string
	stderr *lines
	out    *bufio.Reader
}

// children are those that scripts started, by process.
var children sync.Map

// serveProcess starts a server and waits until it serves.
func serveProcess(dir string, options ...string) (*process, error) {
	c := &process{cmd: exec.Command("firebreak", append([]string{"serve", "--operator-listen", "off"}, options...)...), stderr: &lines{}}
	c.cmd.Dir, c.cmd.Stderr = dir, c.stderr
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	line, err := c.out.ReadString('\n')
	_, rest, ok := strings.Cut(line, " serves ")
	if err != nil || !ok {
		return nil, errors.Join(fmt.Errorf("it does not serve: %q, %s", line, c.stderr), err, c.end(syscall.SIGKILL))
	}
	c.base, _, _ = strings.Cut(rest, " ")
	return c, nil
}

// end signals the process and waits for its end.
func (c *process) end(s os.Signal) error {
	if err := c.cmd.Process.Signal(s); err != nil {
		return err
	}
	_, _ = c.out.WriteTo(io.Discard) // it ends with the process
	return c.cmd.Wait()
}

// program runs the program to its end.
func program(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(t.Context(), args, &out, &err)
	return code, out.String(), err.String()
}

// Whenever a server is killed, the next one on its data ends the job, and what
// a client fetches over it all is whole.
func TestAnExportSurvivesAServerThatIsKilled(t *testing.T) {
	dir := t.TempDir()
	data, made := filepath.Join(dir, "data"), filepath.Join(dir, "made")
	if err := (&demoCommand{Count: 10, Seed: 1}).makePatients(filepath.Join(made, "sample.ndjson")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(made, "large.ndjson"), large(), 0o600); err != nil {
		t.Fatal(err)
	}
	code, loaded, text := program(t, "load", "--data", data, made)
	if code != exitOK {
		t.Fatalf("load: %s", text)
	}
	loaded, _, _ = strings.Cut(loaded, " resources") // "1,234"

	for _, files := range []int{1, 8} {
		out := filepath.Join(dir, "out"+strconv.Itoa(files))
		killAt(t, data, out, files)
		code, text, wrong := program(t, "verify", out)
		if code != exitOK || !strings.Contains(text, " "+loaded+" resources") {
			t.Errorf("killed at %d files, %s resources were loaded: %s%s", files, loaded, text, wrong)
		}
		if err := os.RemoveAll(filepath.Join(data, "files")); err != nil {
			t.Fatal(err)
		}
	}
}

// killAt has a client export while its server is killed at a number of files,
// and another one comes up in its place.
func killAt(t *testing.T, data, out string, files int) {
	t.Helper()
	// Small files make the work long enough to be met in the middle.
	options := []string{"--data", data, "--audit", "off", "--export-file-size", "20000", "--listen"}
	first, err := serveProcess(data, append(options, "127.0.0.1:0")...)
	if err != nil {
		t.Fatal(err)
	}
	client := exec.Command("firebreak", "export", "--server", first.base, "--out", out)
	var said bytes.Buffer
	client.Stdout, client.Stderr = &said, &said
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	first.waitForFiles(t, filepath.Join(data, "files"), out, files)
	if err := first.end(syscall.SIGKILL); err == nil {
		t.Error("a server that is killed ends well")
	}
	second, err := serveProcess(data, append(options, first.address())...)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Wait(); err != nil {
		t.Errorf("killed at %d files: the export ends with %v: %s", files, err, &said)
	}
	if err := second.end(os.Interrupt); err != nil {
		t.Errorf("the second server: %v: %s", err, second.stderr)
	}
}

// large is so much that an export is many units.
func large() []byte {
	var b bytes.Buffer
	for _, typ := range []string{"Binary", "DocumentReference", "Media"} {
		for i := range 3 {
			fmt.Fprintf(&b, `{"resourceType":%q,"id":"large%d","data":"%s"}`+"\n", typ, i, strings.Repeat("A", 4<<20))
		}
	}
	return b.Bytes()
}

func (c *process) address() string {
	return strings.TrimSuffix(strings.TrimPrefix(c.base, "http://"), "/fhir")
}

// waitForFiles waits until the server has written so many files of a job, or
// the client has its manifest.
func (c *process) waitForFiles(t *testing.T, dir, out string, n int) {
	t.Helper()
	for {
		written, err := filepath.Glob(filepath.Join(dir, "*", "*.ndjson*"))
		state, _ := os.ReadFile(filepath.Join(out, fetch.StateName)) // there is none at first
		if err != nil || bytes.Contains(state, []byte("transactionTime")) || bytes.Contains(state, []byte("statusURL")) && len(written) >= n {
			return
		}
		res, err := http.Get("http://" + c.address() + "/healthz") // which takes its time
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
	}
}
