package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// encryption are the options of TLS.
type encryption struct {
	TLSCert string `name:"tls-cert" help:"Certificate chain for HTTPS, as PEM. It is read anew when the file changes." type:"path" placeholder:"FILE"`
	TLSKey  string `name:"tls-key" help:"Key of the certificate, as PEM." type:"path" placeholder:"FILE"`
}

// usesTLS tells whether clients speak HTTPS.
func (e encryption) usesTLS() bool { return e.TLSCert != "" }

// tlsConfig is that of a server; nil where there is to be no TLS.
func (e encryption) tlsConfig(log *slog.Logger) (*tls.Config, error) {
	switch {
	case e.TLSCert == "" && e.TLSKey == "":
		return nil, nil //nolint:nilnil // no TLS is not an error
	case e.TLSCert == "" || e.TLSKey == "":
		return nil, errors.New("--tls-cert and --tls-key go together: give both, or neither")
	}
	c := &servedCertificate{files: e, log: log}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}, nil
}

// servedCertificate is the one that clients are shown, as its files have it.
type servedCertificate struct {
	files encryption
	log   *slog.Logger

	mu     sync.Mutex
	seen   stamp // of the files when they were last read
	loaded *tls.Certificate
}

// stamp tells whether two files have changed.
type stamp struct {
	certAt, keyAt     time.Time
	certSize, keySize int64
}

// get is tls.Config.GetCertificate. Files that cannot be used, as one of them
// may be written now, leave the certificate as it was; they are read again when
// they change again.
func (c *servedCertificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.load(); err != nil {
		c.log.Warn("the changed certificate cannot be used; the one before stays", "error", err)
	}
	return c.loaded, nil
}

// load reads the files if they have changed since they were read.
func (c *servedCertificate) load() error {
	now, err := c.files.stamp()
	if now == c.seen && err == nil {
		return nil
	}
	c.seen = now
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.files.TLSCert, c.files.TLSKey)
	if err != nil {
		return err
	}
	c.loaded = &pair
	return nil
}

func (e encryption) stamp() (stamp, error) {
	cert, err := os.Stat(e.TLSCert)
	var key fs.FileInfo
	if err == nil {
		key, err = os.Stat(e.TLSKey)
	}
	if err != nil {
		return stamp{}, err
	}
	return stamp{cert.ModTime(), key.ModTime(), cert.Size(), key.Size()}, nil
}
