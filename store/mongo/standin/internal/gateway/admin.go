package gateway

import (
	"os"
	"runtime"
	"time"

	"mongodb-standin/internal/bsonx"
	"mongodb-standin/internal/mongoerr"

	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
)

func ok(*command) (bsoncore.Document, error) { return empty(), nil }

func buildInfo(*command) (bsoncore.Document, error) {
	return bsonx.Doc(func(d []byte) []byte {
		d = bsoncore.AppendStringElement(d, "version", serverVersion)
		d = bsoncore.AppendStringElement(d, "gitVersion", "mongodb-standin")
		d = bsoncore.AppendArrayElement(d, "modules", bsoncore.BuildArray(nil))
		d = bsoncore.AppendStringElement(d, "sysInfo", "a stand-in for tests over PostgreSQL and documentdb")
		d = bsoncore.AppendArrayElement(d, "versionArray", bsoncore.BuildArray(nil, int32Value(7), int32Value(0), int32Value(0), int32Value(0)))
		d = bsoncore.AppendInt32Element(d, "bits", 64)
		d = bsoncore.AppendBooleanElement(d, "debug", false)
		d = bsoncore.AppendInt32Element(d, "maxBsonObjectSize", maxObjectSize)
		return bsoncore.AppendArrayElement(d, "storageEngines", bsoncore.BuildArray(nil, stringValue("documentdb")))
	}), nil
}

func int32Value(n int32) bsoncore.Value {
	return bsoncore.Value{Type: bsoncore.TypeInt32, Data: bsoncore.AppendInt32(nil, n)}
}

// getParameter knows the few parameters that clients ask for.
func getParameter(m *command) (bsoncore.Document, error) {
	all := bsonx.Str(m.body, "getParameter") == "*"
	return bsonx.Doc(func(d []byte) []byte {
		if all || m.body.Lookup("featureCompatibilityVersion").Type != 0 {
			i, e := bsoncore.AppendDocumentElementStart(d, "featureCompatibilityVersion")
			e = bsoncore.AppendStringElement(e, "version", "7.0")
			d, _ = bsoncore.AppendDocumentEnd(e, i)
		}
		if all || m.body.Lookup("transactionLifetimeLimitSeconds").Type != 0 {
			d = bsoncore.AppendInt32Element(d, "transactionLifetimeLimitSeconds", int32(m.s.lifetime.Load()))
		}
		if all || m.body.Lookup("enableTestCommands").Type != 0 {
			d = bsoncore.AppendBooleanElement(d, "enableTestCommands", true)
		}
		return d
	}), nil
}

// setParameter sets the one parameter that tests of transactions set.
func setParameter(m *command) (bsoncore.Document, error) {
	seconds, ok := bsonx.Int(m.body, "transactionLifetimeLimitSeconds")
	if !ok || seconds < 1 {
		return nil, mongoerr.New(mongoerr.InvalidOptions, "the only parameter to set is transactionLifetimeLimitSeconds, from 1")
	}
	was := m.s.lifetime.Swap(seconds)
	return bsonx.Doc(func(d []byte) []byte { return bsoncore.AppendInt32Element(d, "was", int32(was)) }), nil
}

func connectionStatus(*command) (bsoncore.Document, error) {
	return bsonx.Doc(func(d []byte) []byte {
		i, d := bsoncore.AppendDocumentElementStart(d, "authInfo")
		d = bsoncore.AppendArrayElement(d, "authenticatedUsers", bsoncore.BuildArray(nil))
		d = bsoncore.AppendArrayElement(d, "authenticatedUserRoles", bsoncore.BuildArray(nil))
		d, _ = bsoncore.AppendDocumentEnd(d, i)
		return d
	}), nil
}

func hostInfo(*command) (bsoncore.Document, error) {
	name, _ := os.Hostname()
	return bsonx.Doc(func(d []byte) []byte {
		i, d := bsoncore.AppendDocumentElementStart(d, "system")
		d = bsoncore.AppendDateTimeElement(d, "currentTime", time.Now().UnixMilli())
		d = bsoncore.AppendStringElement(d, "hostname", name)
		d = bsoncore.AppendInt32Element(d, "numCores", int32(runtime.NumCPU()))
		d, _ = bsoncore.AppendDocumentEnd(d, i)
		return d
	}), nil
}

func getLog(m *command) (bsoncore.Document, error) {
	return bsonx.Doc(func(d []byte) []byte {
		if m.collection() == "*" {
			return bsoncore.AppendArrayElement(d, "names", bsoncore.BuildArray(nil, stringValue("global"), stringValue("startupWarnings")))
		}
		d = bsoncore.AppendInt32Element(d, "totalLinesWritten", 0)
		return bsoncore.AppendArrayElement(d, "log", bsoncore.BuildArray(nil))
	}), nil
}

func serverStatus(m *command) (bsoncore.Document, error) {
	m.s.mu.Lock()
	clients := len(m.s.clients)
	m.s.mu.Unlock()
	v, _ := m.s.topology.view()
	return bsonx.Doc(func(d []byte) []byte {
		d = bsoncore.AppendStringElement(d, "host", m.s.Address())
		d = bsoncore.AppendStringElement(d, "version", serverVersion)
		d = bsoncore.AppendStringElement(d, "process", "mongodb-standin")
		d = bsoncore.AppendInt64Element(d, "pid", int64(os.Getpid()))
		d = bsoncore.AppendDoubleElement(d, "uptime", time.Since(m.s.started).Seconds())
		d = bsoncore.AppendDateTimeElement(d, "localTime", time.Now().UnixMilli())
		i, d := bsoncore.AppendDocumentElementStart(d, "connections")
		d = bsoncore.AppendInt32Element(d, "current", int32(clients))
		d, _ = bsoncore.AppendDocumentEnd(d, i)
		i, d = bsoncore.AppendDocumentElementStart(d, "repl")
		d = m.s.appendReplicaSet(d, v)
		d, _ = bsoncore.AppendDocumentEnd(d, i)
		i, d = bsoncore.AppendDocumentElementStart(d, "metrics")
		j, d := bsoncore.AppendDocumentElementStart(d, "cursor")
		k, d := bsoncore.AppendDocumentElementStart(d, "open")
		d = bsoncore.AppendInt64Element(d, "total", int64(m.s.cursors.count()))
		d, _ = bsoncore.AppendDocumentEnd(d, k)
		d, _ = bsoncore.AppendDocumentEnd(d, j)
		d, _ = bsoncore.AppendDocumentEnd(d, i)
		return d
	}), nil
}

func replSetGetStatus(m *command) (bsoncore.Document, error) {
	v, _ := m.s.topology.view()
	state, text := int32(1), "PRIMARY"
	if !v.primary {
		state, text = 2, "SECONDARY"
	}
	member := bsonx.Doc(func(d []byte) []byte {
		d = bsoncore.AppendInt32Element(d, "_id", 0)
		d = bsoncore.AppendStringElement(d, "name", m.s.Address())
		d = bsoncore.AppendDoubleElement(d, "health", 1)
		d = bsoncore.AppendInt32Element(d, "state", state)
		d = bsoncore.AppendStringElement(d, "stateStr", text)
		return bsoncore.AppendBooleanElement(d, "self", true)
	})
	return bsonx.Doc(func(d []byte) []byte {
		d = bsoncore.AppendStringElement(d, "set", m.s.cfg.ReplicaSet)
		d = bsoncore.AppendDateTimeElement(d, "date", time.Now().UnixMilli())
		d = bsoncore.AppendInt32Element(d, "myState", state)
		d = bsoncore.AppendInt64Element(d, "term", int64(v.term))
		return bsoncore.AppendArrayElement(d, "members", bsoncore.BuildArray(nil, documentValue(member)))
	}), nil
}

// initiate says that the replica set is there already, as it is from the start.
func initiate(m *command) (bsoncore.Document, error) {
	if m.db != "admin" {
		return nil, mongoerr.New(mongoerr.Unauthorized, "replSetInitiate may only be run against the admin database.")
	}
	return nil, mongoerr.New(mongoerr.AlreadyInitialized, "already initialized")
}

// stepDown makes the server a secondary for the seconds asked for. It keeps clients connected, as MongoDB does since
// 4.2, and rolls back the open transactions.
func stepDown(m *command) (bsoncore.Document, error) {
	if m.db != "admin" {
		return nil, mongoerr.New(mongoerr.Unauthorized, "replSetStepDown may only be run against the admin database.")
	}
	seconds, ok := bsonx.Int(m.body, m.name)
	if !ok || seconds < 0 {
		return nil, mongoerr.New(mongoerr.BadValue, "stepdown period must be a positive integer")
	}
	m.s.topology.change(func(t *topology) { t.steppedDown = true })
	m.s.sessions.abortTransactions()
	time.AfterFunc(time.Duration(seconds)*time.Second, func() {
		m.s.topology.change(func(t *topology) { t.steppedDown = false })
	})
	return empty(), nil
}

func configureFailPoint(m *command) (bsoncore.Document, error) { return m.s.faults.configure(m) }

func currentOp(m *command) (bsoncore.Document, error) {
	rows, err := m.query(`SELECT document FROM documentdb_api.current_op_command($1::documentdb_core.bson)`, m.body)
	if err != nil {
		return nil, err
	}
	return normalOK(rows[0][0])
}
