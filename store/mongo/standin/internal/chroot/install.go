package chroot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// extension is the Debian package that brings PostgreSQL along.
const extension = "postgresql-18-documentdb"

// suites are Debian's releases to take it from, the calmer one first.
var suites = []string{"testing", "sid"}

// Cache is the folder that all instances share: the small Debian, and a fresh data folder to copy.
type Cache struct{ Dir string }

// DefaultCache is the cache folder where none is named: below XDG_CACHE_HOME, or the system's.
func DefaultCache() string {
	if d := os.Getenv("MONGODB_STANDIN_CACHE"); d != "" {
		return d
	}
	if d := os.Getenv("XDG_CACHE_HOME"); d != "" {
		return filepath.Join(d, "mongodb-standin")
	}
	return "/var/cache/mongodb-standin"
}

// Root is the folder of the small Debian.
func (c Cache) Root() string { return filepath.Join(c.Dir, "root") }

// Template is a data folder as it is after the extension was created in it.
func (c Cache) Template() string { return filepath.Join(c.Dir, "template") }

// Install fills the cache, unless it is filled. Several processes may call it at once: one works, the others wait.
// makeTemplate makes the data folder once the programs are there.
func (c Cache) Install(ctx context.Context, progress io.Writer, makeTemplate func(dir string) error) error {
	if exists(c.Template()) {
		return nil
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return err
	}
	unlock, err := LockFile(filepath.Join(c.Dir, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if err := c.installRoot(ctx, progress); err != nil {
		return err
	}
	if exists(c.Template()) {
		return nil
	}
	fmt.Fprintln(progress, "making a database to copy")
	partial := c.Template() + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	if err := makeTemplate(partial); err != nil {
		return fmt.Errorf("template: %w", err)
	}
	if err := os.Rename(filepath.Join(partial, "data"), c.Template()); err != nil {
		return err
	}
	return os.RemoveAll(partial)
}

func (c Cache) installRoot(ctx context.Context, progress io.Writer) error {
	if exists(c.Root()) {
		return nil
	}
	if os.Geteuid() != 0 {
		return errors.New("installing needs root, as debootstrap does")
	}
	if err := needDebootstrap(ctx, progress); err != nil {
		return err
	}
	var errs []error
	for _, suite := range suites {
		err := c.bootstrap(ctx, suite, progress)
		if err == nil {
			return nil
		}
		fmt.Fprintf(progress, "Debian %s did not do: %v\n", suite, err)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// needDebootstrap installs Debian's tool where it is missing.
func needDebootstrap(ctx context.Context, progress io.Writer) error {
	if _, err := exec.LookPath("debootstrap"); err == nil {
		return nil
	}
	for _, args := range [][]string{{"update", "-q"}, {"install", "-q", "-y", "--no-install-recommends", "debootstrap"}} {
		fmt.Fprintln(progress, "apt-get", strings.Join(args, " "))
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, out)
		}
	}
	return nil
}

// bootstrap makes the small Debian of one suite, in a folder aside that is renamed at the end.
func (c Cache) bootstrap(ctx context.Context, suite string, progress io.Writer) error {
	partial := c.Root() + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	args := []string{"--variant=minbase", "--include=" + extension, suite, partial}
	if mirror := aptMirror(ctx); mirror != "" {
		// debootstrap may be older than the suite: the rules of sid suit every newer one.
		args = append(args, mirror, "/usr/share/debootstrap/scripts/sid")
	}
	fmt.Fprintf(progress, "debootstrap of Debian %s with %s, about a minute\n", suite, extension)
	cmd := exec.CommandContext(ctx, "debootstrap", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	out := &tail{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("debootstrap: %w\n%s", err, out)
	}
	for _, dir := range []string{DataDir, SocketDir, "dev/shm"} {
		if err := os.MkdirAll(filepath.Join(partial, dir), 0o755); err != nil {
			return err
		}
	}
	// The downloaded packages are of no more use.
	if err := os.RemoveAll(filepath.Join(partial, "var/cache/apt")); err != nil {
		return err
	}
	return os.Rename(partial, c.Root())
}

// aptMirror is where this machine gets Debian's packages from, "" for debootstrap's own choice.
func aptMirror(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format",
		"$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Created-By: Packages").Output()
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSpace(line), "|")
		if len(f) == 3 && f[0] == "Debian" && f[1] == "Debian" {
			return f[2]
		}
	}
	return ""
}

// tail keeps the end of what is written to it, for error messages.
type tail struct{ b []byte }

// Write keeps the last of what it is given.
func (t *tail) Write(p []byte) (int, error) {
	const keep = 4000
	t.b = append(t.b, p...)
	if len(t.b) > keep {
		t.b = t.b[len(t.b)-keep:]
	}
	return len(p), nil
}

// String gives what was kept.
func (t *tail) String() string { return string(t.b) }

// LockFile waits for an exclusive lock on a file and returns the function that releases it.
func LockFile(name string) (func(), error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return func() { f.Close() }, nil
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
