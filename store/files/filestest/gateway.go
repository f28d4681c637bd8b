package filestest

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// AccessKey and SecretKey are the credentials of every Gateway.
const (
	AccessKey = "firebreak"
	SecretKey = "only-for-tests"
)

// Environment is what tests put into the environment, where buckets look for
// credentials: those of every Gateway, and none of the machine's.
func Environment() map[string]string {
	return map[string]string{
		"AWS_ACCESS_KEY_ID": AccessKey, "AWS_SECRET_ACCESS_KEY": SecretKey, "AWS_SESSION_TOKEN": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_PROFILE": "", "AWS_EC2_METADATA_DISABLED": "true",
	}
}

// gatewayBinary is the environment variable that names the binary of a
// versitygw.
const gatewayBinary = "FIREBREAK_TEST_S3GW"

// startTime is how long a gateway may take to answer.
const startTime = time.Minute

// Gateway is a versitygw, an S3 server over a local directory, that runs until
// the test ends.
type Gateway struct {
	// Endpoint is its URL, on a loopback address.
	Endpoint string

	binary, dir string
	server      *exec.Cmd
	said        bytes.Buffer
	ended       sync.Once
}

// StartGateway runs the versitygw that FIREBREAK_TEST_S3GW names, over a
// temporary directory. Without one the test is skipped, or fails where CI is
// set.
func StartGateway(t testing.TB) *Gateway {
	t.Helper()
	binary := os.Getenv(gatewayBinary)
	switch {
	case binary == "" && os.Getenv("CI") != "":
		t.Fatalf("%s is not set: nothing may be skipped here; make test-engines sets it", gatewayBinary)
	case binary == "":
		t.Skipf("%s is not set to the binary of a versitygw: make test-engines installs one and sets it", gatewayBinary)
	}
	g := &Gateway{binary: binary, dir: t.TempDir()}
	g.start(t)
	return g
}

// Dir is where the gateway keeps all that it has: the content of objects, and
// of the parts of uploads that have not ended, is in files below it.
func (g *Gateway) Dir() string { return g.dir }

// Again is another gateway over the same directory, to be run when this one was
// killed. It has another address.
func (g *Gateway) Again(t testing.TB) *Gateway {
	t.Helper()
	again := &Gateway{binary: g.binary, dir: g.dir}
	again.start(t)
	return again
}

func (g *Gateway) start(t testing.TB) {
	t.Helper()
	data, meta := filepath.Join(g.dir, "data"), filepath.Join(g.dir, "meta")
	for _, d := range []string{data, meta} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	address := freeAddress(t)
	g.Endpoint = "http://" + address
	//nolint:gosec // the test says which binary
	g.server = exec.CommandContext(context.WithoutCancel(t.Context()), g.binary, "--port", address, "--access", AccessKey, "--secret", SecretKey,
		"--keep-alive", "--quiet", "--health", "/health", "posix", "--sidecar", meta, data)
	g.server.Stdout, g.server.Stderr = &g.said, &g.said
	if err := g.server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Kill)
	g.awaitHealth(t)
}

// freeAddress is a loopback address that nobody had just now.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return address
}

// awaitHealth asks the gateway until it answers. It gives no sign by itself.
func (g *Gateway) awaitHealth(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTime)
	defer cancel()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for !g.healthy(ctx) {
		select {
		case <-retry.C:
		case <-ctx.Done():
			g.Kill()
			t.Fatalf("the gateway does not answer: %v\n%s", context.Cause(ctx), &g.said)
		}
	}
}

func (g *Gateway) healthy(ctx context.Context) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.Endpoint+"/health", http.NoBody)
	if err != nil {
		return false
	}
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	return answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
}

// Kill ends the gateway as a power cut would, and waits until it has ended.
func (g *Gateway) Kill() {
	g.ended.Do(func() {
		_ = g.server.Process.Kill() // it may have ended by itself
		_ = g.server.Wait()
	})
}

// Bucket makes a bucket and gives the address of it, or of what lies below a
// prefix in it, as files.NewBucket takes it.
func (g *Gateway) Bucket(t testing.TB, name, prefix string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(g.dir, "data", name), 0o700); err != nil {
		t.Fatal(err)
	}
	return Address(g.Endpoint, name, prefix)
}

// Address is that of a bucket that a server at an endpoint has.
func Address(endpoint, bucket, prefix string) string {
	q := url.Values{"endpoint": {endpoint}, "region": {"us-east-1"}, "use_path_style": {"true"}}
	u := url.URL{Scheme: "s3", Host: bucket, Path: "/" + prefix, RawQuery: q.Encode()}
	return u.String()
}
