// Package e2e tests the stand-in from outside: it builds the program, starts it as a user would and speaks to it
// through MongoDB's Go driver.
package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// program is the built binary, sharedDir and sharedURI the instance that most tests share.
var program, sharedDir, sharedURI string

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

func runAll(m *testing.M) int {
	if os.Geteuid() != 0 {
		fmt.Println("the stand-in needs root for its chroot")
		return 1
	}
	dir, err := os.MkdirTemp("", "standin")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "mongodb")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, "..").CombinedOutput(); err != nil {
		fmt.Printf("build: %v\n%s", err, out)
		return 1
	}
	sharedDir = filepath.Join(dir, "shared")
	if sharedURI, err = cli("start", "--dir", sharedDir); err != nil {
		fmt.Println(err)
		return 1
	}
	defer func() {
		if _, err := cli("stop", "--dir", sharedDir); err != nil {
			fmt.Println(err)
		}
	}()
	return m.Run()
}

// cli runs the program and returns what it prints.
func cli(args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// own starts an instance for one test, which may do to it what it likes.
func own(t *testing.T) (dir, uri string) {
	t.Helper()
	dir = t.TempDir()
	uri, err := cli("start", "--dir", dir)
	must(t, err)
	t.Cleanup(func() {
		_, err := cli("stop", "--dir", dir)
		if err != nil {
			t.Error(err)
		}
	})
	return dir, uri
}

// connect gives a client of the shared instance.
func connect(t testing.TB, opts ...*options.ClientOptions) *mongo.Client {
	t.Helper()
	return connectTo(t, sharedURI, opts...)
}

func connectTo(t testing.TB, uri string, opts ...*options.ClientOptions) *mongo.Client {
	t.Helper()
	c, err := mongo.Connect(append([]*options.ClientOptions{options.Client().ApplyURI(uri)}, opts...)...)
	must(t, err)
	t.Cleanup(func() { _ = c.Disconnect(context.Background()) })
	return c
}

// collection gives an empty collection of the test's own database.
func collection(t testing.TB, c *mongo.Client) *mongo.Collection {
	t.Helper()
	name := strings.NewReplacer("/", "_", " ", "_", "$", "_", ".", "_").Replace(t.Name())
	if len(name) > 50 {
		name = name[:50]
	}
	coll := c.Database(name).Collection("c")
	must(t, coll.Drop(context.Background()))
	return coll
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), d)
	t.Cleanup(stop)
	return ctx
}

// all reads a cursor to its end.
func all(t testing.TB, cur *mongo.Cursor, err error) []bson.M {
	t.Helper()
	must(t, err)
	var out []bson.M
	must(t, cur.All(context.Background(), &out))
	return out
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// failCommand sets the fail point and takes it back when the test ends.
func failCommand(t testing.TB, c *mongo.Client, mode any, data bson.D) {
	t.Helper()
	set := func(mode any) error {
		return c.Database("admin").RunCommand(context.Background(), bson.D{
			{Key: "configureFailPoint", Value: "failCommand"}, {Key: "mode", Value: mode}, {Key: "data", Value: data},
		}).Err()
	}
	must(t, set(mode))
	t.Cleanup(func() { _ = set("off") })
}
