package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pair is a certificate for this machine and its key, as PEM.
type pair struct{ cert, key []byte }

func newPair(t *testing.T, serial int64) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "firebreak"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	}
}

// write replaces a file, and makes sure that it looks changed.
func write(t *testing.T, path string, b []byte, age time.Duration) {
	t.Helper()
	at := time.Now().Add(-age)
	if err := errors.Join(os.WriteFile(path, b, 0o600), os.Chtimes(path, at, at)); err != nil {
		t.Fatal(err)
	}
}

// secure serves with TLS, to a client that trusts the pair.
func secure(t *testing.T, first pair) (*site, encryption) {
	t.Helper()
	dir := t.TempDir()
	files := encryption{TLSCert: filepath.Join(dir, "cert.pem"), TLSKey: filepath.Join(dir, "key.pem")}
	write(t, files.TLSCert, first.cert, time.Hour)
	write(t, files.TLSKey, first.key, time.Hour)
	s := serveIn(t, serving{encryption: files})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(first.cert)
	s.client.Transport = &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	return s, files
}

func TestWithTLSEveryURLIsHTTPS(t *testing.T) {
	s, _ := secure(t, newPair(t, 1))
	s.put("Patient/a", "")
	status, manifest := s.exportAll()
	if !strings.HasPrefix(s.Base(), "https://") || !strings.HasPrefix(status, s.Base()) || strings.Contains(manifest, `"http://`) {
		t.Errorf("base %s, status %s, manifest %s", s.Base(), status, manifest)
	}
}

func TestTLSBefore12IsRefused(t *testing.T) {
	s, _ := secure(t, newPair(t, 1))
	for version, ok := range map[uint16]bool{
		tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true,
	} {
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: version}}
		conn, err := d.DialContext(t.Context(), "tcp", s.listener.Addr().String())
		if err == nil {
			_ = conn.Close()
		}
		if (err == nil) != ok {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
}

func TestAChangedCertificateIsShownToTheNextClient(t *testing.T) {
	first, second := newPair(t, 1), newPair(t, 2)
	s, files := secure(t, first)
	serial := func() int64 {
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
		conn, err := d.DialContext(t.Context(), "tcp", s.listener.Addr().String())
		s.ok(err)
		defer func() { _ = conn.Close() }()
		return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	for _, step := range []struct {
		name string
		do   func()
		want int64
	}{
		{"at the start", func() {}, 1},
		{"while one of the two is new", func() { write(t, files.TLSCert, second.cert, time.Minute) }, 1},
		{"when both are", func() { write(t, files.TLSKey, second.key, time.Minute) }, 2},
		{"when one is gone", func() { _ = os.Remove(files.TLSKey) }, 2},
		{"when one is junk", func() { write(t, files.TLSKey, []byte("junk"), time.Second) }, 2},
	} {
		step.do()
		if got := serial(); got != step.want {
			t.Errorf("%s: certificate %d, want %d", step.name, got, step.want)
		}
	}
}

func TestTLSNeedsBothFiles(t *testing.T) {
	good := newPair(t, 1)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(t, cert, good.cert, 0)
	write(t, key, newPair(t, 2).key, 0)
	for _, e := range []encryption{
		{TLSCert: cert}, {TLSKey: key}, {TLSCert: cert, TLSKey: key}, {TLSCert: cert, TLSKey: filepath.Join(dir, "none")},
	} {
		o := serving{storage: storage{Data: t.TempDir()}, encryption: e, Listen: "127.0.0.1:0"}
		if _, err := NewServer(t.Context(), o, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%+v is served", e)
		}
		// What was taken is given back.
		o.encryption = encryption{}
		s, err := NewServer(t.Context(), o, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
