package mongo

import (
	"fmt"
	"regexp"
	"strings"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// connect makes a client of ours; it connects as it is used. What is wrong with
// the URI is said without what is quoted of it: where the @ is missing, or a
// sign that must be escaped is not, that may be of the password.
func connect(o *options.ClientOptions) (*mongo.Client, error) {
	client, err := mongo.Connect(o)
	if err != nil {
		quoted := regexp.MustCompile(`(for )?"(\\.|[^"\\])*"|address [^ ]+`)
		return nil, fmt.Errorf("mongo: connect: %s", quoted.ReplaceAllStringFunc(err.Error(), unsaid))
	}
	return client, nil
}

// unsaid is what takes the place of something quoted: itself if it is the name
// of an option or a scheme.
func unsaid(quoted string) string {
	switch {
	case strings.HasPrefix(quoted, "for "), quoted == `"mongodb"`, quoted == `"mongodb+srv"`:
		return quoted
	case strings.HasPrefix(quoted, "address "):
		return "an address"
	}
	return `"…"`
}

// defaultDatabase is used where the URI names none.
const defaultDatabase = "firebreak"

// databaseOf is the database that a URI names.
func databaseOf(uri string) string {
	if _, name, _ := cut(uri); name != "" {
		return name
	}
	return defaultDatabase
}

// cut takes a URI apart: up to the database, the database, and the options.
func cut(uri string) (servers, database, query string) {
	scheme, rest, _ := strings.Cut(uri, "://")
	rest, query, _ = strings.Cut(rest, "?")
	hosts, database, _ := strings.Cut(rest, "/")
	return scheme + "://" + hosts, database, query
}

// longest is the most bytes of a database's name.
const longest = 63

// Beside is a URI like the one given, but of another database, whose name ends
// in the suffix.
func Beside(uri, suffix string) string {
	servers, database, query := cut(uri)
	name := databaseOf(uri)
	options := []string{}
	if query != "" {
		options = append(options, query)
	}
	if authenticatesInDatabase(servers, query) {
		if database == "" {
			database = "admin"
		}
		options = append(options, "authSource="+database)
	}
	return servers + "/" + name[:min(len(name), longest-len(suffix))] + suffix + "?" + strings.Join(options, "&")
}

// authenticatesInDatabase tells whether the user is looked for in the database
// that the URI names, as nothing else says where.
func authenticatesInDatabase(servers, query string) bool {
	query = strings.ToLower(query)
	external := strings.Contains(query, "authmechanism=mongodb-") || strings.Contains(query, "authmechanism=gssapi")
	return strings.HasPrefix(servers, "mongodb://") && strings.Contains(servers, "@") && !strings.Contains(query, "authsource=") && !external
}
