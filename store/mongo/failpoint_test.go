package mongo_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/r4"
	"firebreak/fhir/search"
	"firebreak/store"
	"firebreak/store/mongo/mongotest"

	"github.com/oklog/ulid/v2"
	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// north is the tenant of the tests that break things.
const north = store.Tenant("north")

// victim is the name by which a fail point knows the store that it is to hit.
const victim = "victim"

// named is a URI that gives its client the name.
func named(uri string) string {
	if !strings.Contains(uri, "?") {
		return uri + "?appName=" + victim
	}
	return uri + "&appName=" + victim
}

// faults sets the fail point of an engine, of which there is one.
type faults struct {
	t      testing.TB
	client *driver.Client
}

func faultsOf(t testing.TB, e *mongotest.Engine) *faults {
	t.Helper()
	return &faults{t, connect(t, e.URI())}
}

// connect gives a client that is closed with the test.
func connect(t testing.TB, uri string) *driver.Client {
	t.Helper()
	client, err := driver.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Disconnect(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return client
}

// always is as often as a fail point may hit without an end.
const always = -1

// hit has the next commands of these names that the victim sends fail in a way.
func (f *faults) hit(times int, how way, commands ...string) {
	f.t.Helper()
	mode := any(bson.D{{Key: "times", Value: times}})
	if times == always {
		mode = "alwaysOn"
	}
	data := append(bson.D{{Key: "failCommands", Value: commands}, {Key: "appName", Value: victim}}, how.data...)
	f.configure(mode, data)
}

// after lets the victim's first command through.
func (f *faults) after(first int, how way, commands ...string) {
	f.t.Helper()
	data := append(bson.D{{Key: "failCommands", Value: commands}, {Key: "appName", Value: victim}}, how.data...)
	f.configure(bson.D{{Key: "skip", Value: first}}, data)
}

func (f *faults) off() {
	f.t.Helper()
	f.configure("off", bson.D{})
}

func (f *faults) configure(mode any, data bson.D) {
	f.t.Helper()
	// Not the test's context: a fail point is also set from what runs beside it.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := f.client.Database("admin").RunCommand(ctx, bson.D{
		{Key: "configureFailPoint", Value: "failCommand"}, {Key: "mode", Value: mode}, {Key: "data", Value: data},
	}).Err()
	if err != nil {
		f.t.Errorf("set the fail point: %v", err)
	}
}

// way is how a command fails.
type way struct {
	name string
	data bson.D
}

func hangUp() way {
	return way{"closed connection", bson.D{{Key: "closeConnection", Value: true}}}
}

func code(n int, labels ...string) way {
	w := way{fmt.Sprint("error ", n), bson.D{{Key: "errorCode", Value: n}}}
	if len(labels) > 0 {
		w.data = append(w.data, bson.E{Key: "errorLabels", Value: labels})
	}
	return w
}

func unheard(n int) way {
	return way{fmt.Sprint("write concern error ", n), bson.D{{Key: "writeConcernError", Value: bson.D{
		{Key: "code", Value: n}, {Key: "codeName", Value: "Failed"}, {Key: "errmsg", Value: "a majority did not answer"},
	}}}}
}

func blocked(d time.Duration) way {
	return way{"blocked", bson.D{{Key: "blockConnection", Value: true}, {Key: "blockTimeMS", Value: d.Milliseconds()}}}
}

// transientLabel is by what a server says that a transaction may be run again.
const transientLabel = "TransientTransactionError"

// waysOf are the ways in which a command may fail though nothing is wrong with
// what it asks.
func waysOf(command string) []way {
	ways := []way{hangUp(), code(112, transientLabel), code(251, transientLabel)}
	for _, n := range []int{6, 7, 89, 91, 189, 262, 10107, 11600, 11601, 11602, 13435} {
		ways = append(ways, code(n))
	}
	if command == "commitTransaction" {
		ways = append(ways, code(50), code(8000), unheard(64), unheard(91), unheard(100))
	}
	return ways
}

// breakable are the commands that writing and reading consist of.
func breakable() []string {
	return []string{"findAndModify", "update", "insert", "commitTransaction", "abortTransaction", "find"}
}

// with are the commands that are to fail so that one of them does: nothing is
// undone where nothing failed.
func with(command string) []string {
	if command == "abortTransaction" {
		return []string{"insert", "abortTransaction"}
	}
	return []string{command}
}

// patient is a Put of a Patient who says something.
func patient(t testing.TB, id, says string) store.Put {
	t.Helper()
	body := fmt.Sprintf(`{"resourceType":"Patient","id":%q,"text":{"status":"generated","div":%q}}`, id, says)
	r, err := fhir.Reader{Known: r4.IsType}.Read([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return store.Put{Resource: r, Terms: search.Terms(r.ID.Type, r.ID.ID, r.Body), Owner: store.Owner{Client: "loader"}}
}

// deleted is a Put that deletes a Patient.
func deleted(id string) store.Put {
	return store.Put{Resource: fhir.Resource{ID: fhir.ID{Type: "Patient", ID: id}}, Delete: true}
}

func commit(ctx context.Context, s store.Store, puts ...store.Put) ([]store.Applied, error) {
	return s.Commit(ctx, north, store.Batch{ID: ulid.Make(), Puts: puts})
}

// scanned are the versions of a selection.
func scanned(ctx context.Context, s store.Store, sel store.Selection) ([]store.Version, error) {
	ranges, err := s.Split(ctx, north, sel, 1<<20)
	if err != nil {
		return nil, err
	}
	var out []store.Version
	for _, r := range ranges {
		err := s.Scan(ctx, north, sel, r, "", func(v *store.Version) error {
			one := *v
			one.Body = slices.Clone(v.Body)
			out = append(out, one)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// again makes a call until it does not answer ErrTransient any more, and tells
// how often it did.
func again(t testing.TB, what string, call func() error) (unsure int, err error) {
	t.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; unsure++ {
		if err = call(); !errors.Is(err, store.ErrTransient) {
			return unsure, err
		}
	}
	t.Errorf("%s answers %d times that the database is away: %v", what, unsure, err)
	return unsure, err
}
