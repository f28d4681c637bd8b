package mongotest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
)

// replicaSet is the name of the set whose only member a mongod becomes.
const replicaSet = "rs0"

// alreadyInitialized is the code by which a member of a set refuses to found
// one.
const alreadyInitialized = 23

// mongod runs MongoDB's own server, as a replica set of one node.
type mongod struct {
	program, dir string

	address string // kept over a restart
	process *os.Process
	ended   chan struct{} // closed when the process is gone
}

func (m *mongod) start(ctx context.Context) (string, error) {
	if err := m.begin(); err != nil {
		return "", err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		select {
		case <-m.ended:
		case <-ctx.Done():
		}
	}()
	uri := "mongodb://" + m.address + "/?replicaSet=" + replicaSet
	err := m.found(ctx)
	if err == nil {
		err = awaitPrimary(ctx, uri)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", m.program, err, m.lastWords())
	}
	return uri, nil
}

// begin starts the process, unless it runs.
func (m *mongod) begin() error {
	if m.running() {
		return nil
	}
	if m.address == "" {
		address, err := freeAddress()
		if err != nil {
			return err
		}
		m.address = address
	}
	host, port, err := net.SplitHostPort(m.address)
	if err != nil {
		return err
	}
	data := filepath.Join(m.dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	// The process outlives the call that starts it.
	cmd := exec.CommandContext(context.Background(), m.program, "--dbpath", data, "--bind_ip", host, "--port", port,
		"--replSet", replicaSet, "--setParameter", "enableTestCommands=1", "--nounixsocket",
		"--logpath", m.log(), "--logappend", "--wiredTigerCacheSizeGB", "0.25")
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	m.process, m.ended = cmd.Process, ended
	go func() {
		defer close(ended)
		// How it ended is told by its log.
		_ = cmd.Wait()
	}()
	return nil
}

func (m *mongod) running() bool {
	if m.process == nil {
		return false
	}
	select {
	case <-m.ended:
		return false
	default:
		return true
	}
}

// freeAddress is one that nobody listens at, for now.
func freeAddress() (string, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// found makes the process a replica set, unless it is one.
func (m *mongod) found(ctx context.Context) error {
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://" + m.address + "/?directConnection=true"))
	if err != nil {
		return err
	}
	set := bson.D{{Key: "_id", Value: replicaSet}, {Key: "members", Value: bson.A{
		bson.D{{Key: "_id", Value: 0}, {Key: "host", Value: m.address}},
	}}}
	err = client.Database("admin").RunCommand(ctx, bson.D{{Key: "replSetInitiate", Value: set}}).Err()
	if e := mongo.ServerError(nil); errors.As(err, &e) && e.HasErrorCode(alreadyInitialized) {
		err = nil
	}
	return errors.Join(err, client.Disconnect(context.WithoutCancel(ctx)))
}

// awaitPrimary waits until the set has a primary.
func awaitPrimary(ctx context.Context, uri string) error {
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		return err
	}
	return errors.Join(client.Ping(ctx, readpref.Primary()), client.Disconnect(context.WithoutCancel(ctx)))
}

func (m *mongod) kill(ctx context.Context) error { return m.end(ctx, syscall.SIGKILL) }

func (m *mongod) stop(ctx context.Context) error { return m.end(ctx, syscall.SIGTERM) }

// end signals the process and waits until it is gone; one that does not go in
// time is killed.
func (m *mongod) end(ctx context.Context, signal os.Signal) error {
	if !m.running() {
		return nil
	}
	if err := m.process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-m.ended:
		return nil
	case <-ctx.Done():
	}
	err := fmt.Errorf("process %s does not end: %w", strconv.Itoa(m.process.Pid), ctx.Err())
	return errors.Join(err, m.process.Kill())
}

func (m *mongod) log() string { return filepath.Join(m.dir, "mongod.log") }

// lastWords are the end of the log.
func (m *mongod) lastWords() []byte {
	const enough = 4000
	log, err := os.ReadFile(m.log())
	if err != nil {
		return nil
	}
	log = log[max(0, len(log)-enough):]
	return log[bytes.IndexByte(log, '\n')+1:]
}
