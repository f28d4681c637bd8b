package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// product is the program that is measured.
type product struct {
	path       string
	err        io.Writer // what it says beside its work
	loadBefore string    // of the machine
}

// findProduct takes the program that was named, or the one beside this one.
func findProduct(path string, stderr io.Writer) (product, error) {
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return product{}, err
		}
		path = filepath.Join(filepath.Dir(self), "firebreak")
	}
	if _, err := os.Stat(path); err != nil {
		return product{}, fmt.Errorf("%w: build both programs with 'make build', or name it with --firebreak", err)
	}
	return product{path, stderr, loadAverage()}, nil
}

// version is what the program calls itself.
func (p product) version(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, p.path, "version").Output() //nolint:gosec // the program that is to be measured
	if err != nil {
		return "firebreak (unknown version)"
	}
	return strings.TrimSpace(string(out))
}

// command is a child that is asked to end when ctx does, and then made to.
func (p product) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.path, args...) //nolint:gosec // as above
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	return cmd
}

// work is what a child that has ended has cost.
type work struct {
	took time.Duration
	peak float64 // resident MiB
}

// peakEvery is how often the memory of a child is looked at that ends by
// itself: what it takes for its last milliseconds is not seen.
const peakEvery = 10 * time.Millisecond

// load runs "firebreak load" to its end. Its peak is looked up while it runs:
// the one that the kernel gives with the exit status has this program's own in
// it, as the child is this program until it becomes the other one.
func (p product) load(ctx context.Context, at place, paths ...string) (work, error) {
	cmd := p.command(ctx, append(append([]string{"load"}, at.args()...), paths...)...)
	cmd.Stdout, cmd.Stderr = p.err, p.err
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return work{}, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(peakEvery)
	defer tick.Stop()
	var w work
	for {
		select {
		case err := <-ended:
			w.took = time.Since(began)
			if err != nil {
				return w, fmt.Errorf("firebreak load: %w", err)
			}
			return w, nil
		case <-tick.C:
			if now, err := peakOf(cmd.Process.Pid); err == nil {
				w.peak = max(w.peak, now)
			}
		}
	}
}

// peakOf is the most memory that a process has had resident, in MiB.
func peakOf(pid int) (float64, error) {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(status, []byte("\nVmHWM:"))
	fields := strings.Fields(string(rest[:min(len(rest), 40)]))
	if len(fields) == 0 {
		return 0, errors.New("the process has no memory any more")
	}
	kib, err := strconv.ParseFloat(fields[0], 64)
	return kib / 1024, err
}

// server is a running "firebreak serve".
type server struct {
	product
	cmd   *exec.Cmd
	root  string // "http://127.0.0.1:12345"
	base  string // the FHIR base
	log   *os.File
	ended chan error
}

var serves = regexp.MustCompile(`^Firebreak .* serves ((http://[^/ ]+)/[^ ]+) from `)

// What a server is asked for besides serving.
const (
	noOperator  = "off"
	anyOperator = "127.0.0.1:0"
)

// serve starts a server on a free port of loopback, which logs into the data
// directory's folder, and returns when it can be asked. more are more options.
func (p product) serve(ctx context.Context, at place, operator string, more ...string) (*server, error) {
	log, err := os.CreateTemp(filepath.Dir(at.data), filepath.Base(at.data)+"-*.log")
	if err != nil {
		return nil, err
	}
	s := &server{product: p, log: log, ended: make(chan error, 1)}
	args := append([]string{"serve", "--listen", "127.0.0.1:0", "--operator-listen", operator}, at.args()...)
	s.cmd = p.command(ctx, append(args, more...)...)
	s.cmd.Stderr = log
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	found := serves.FindStringSubmatch(line)
	go func() {
		_, _ = io.Copy(io.Discard, lines) // what it says later is of no use
		s.ended <- s.cmd.Wait()
	}()
	if err != nil || found == nil {
		return nil, errors.Join(fmt.Errorf("firebreak serve did not say where it serves"), err, s.stop())
	}
	s.base, s.root = found[1], found[2]
	return s, nil
}

// peak is the most memory that the server has had resident so far, in MiB.
func (s *server) peak() (float64, error) { return peakOf(s.cmd.Process.Pid) }

// stop ends the server in order, and shows what it warned of.
func (s *server) stop() error {
	err := s.cmd.Process.Signal(syscall.SIGTERM)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	if ended := <-s.ended; ended != nil {
		err = errors.Join(err, fmt.Errorf("firebreak serve: %w", ended))
	}
	return errors.Join(err, s.warnings(), s.log.Close())
}

// maxWarnings is how many lines of a server's log are shown.
const maxWarnings = 10

func (s *server) warnings() error {
	if _, err := s.log.Seek(0, io.SeekStart); err != nil {
		return err
	}
	lines := bufio.NewScanner(s.log)
	lines.Buffer(nil, 1<<20)
	shown := 0
	for lines.Scan() && shown < maxWarnings {
		if t := lines.Text(); !strings.Contains(t, "level=INFO") {
			shown++
			_, _ = fmt.Fprintf(s.err, "firebreak serve: %s\n", t)
		}
	}
	return lines.Err()
}
