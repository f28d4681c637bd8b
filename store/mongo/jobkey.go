package mongo

import (
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// What belongs to a job has an _id that begins with the tenant and the job, so
// that all of one job is a range of the index that every collection has, in
// the order in which it is listed. Strings are compared by their bytes.

// escapes keeps a name from reaching into the next one's place.
var escapes = strings.NewReplacer("%", "%25", "/", "%2F")

// unescapes gives a name back.
var unescapes = strings.NewReplacer("%25", "%", "%2F", "/")

// key joins names to an _id. The last one stays as it is, so that things are
// in the order of their own names.
func key(names ...string) string {
	return prefix(names[:len(names)-1]...) + names[len(names)-1]
}

// prefix is what every key begins with whose first names are these.
func prefix(names ...string) string {
	var b strings.Builder
	for _, n := range names {
		b.WriteString(escapes.Replace(n))
		b.WriteByte('/')
	}
	return b.String()
}

// under is a range of _id: all keys with this prefix.
func under(prefix string) bson.D {
	return field("_id", bson.D{{Key: "$gte", Value: prefix}, {Key: "$lt", Value: beyond(prefix)}})
}

// after is the part of that range whose names follow the given one.
func after(prefix, name string) bson.D {
	return field("_id", bson.D{{Key: "$gt", Value: prefix + name}, {Key: "$lt", Value: beyond(prefix)}})
}

// beyond is the least string after all those with the prefix, which ends in "/".
func beyond(prefix string) string { return strings.TrimSuffix(prefix, "/") + "0" }
