package auth

import (
	"maps"
	"slices"
	"strings"
)

// Scopes are what SMART scopes grant
// (https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html).
// The zero value grants nothing. Scopes are a value: they are compared with ==
// and never change.
//
// Scopes of system/ hold for any principal, those of user/ only for one that
// has a user. Two kinds are understood and grant nothing, because what they
// limit cannot be kept yet: scopes with a query (system/Observation.rs?…),
// which come with search, and those of patient/ for resources, which need
// compartments in search. They are not widened to what they would grant without
// their limit. Scopes for purges of patients are apart: see MayPurge.
type Scopes struct {
	// Each is " Type.letters Type.letters ", sorted by type, "" for nothing:
	// letters granted on a type are found without parsing again.
	system, user string

	purge purges

	// unkept tells that there were scopes which grant nothing yet.
	unkept bool
}

// ParseScopes reads the value of a scope claim: scopes with spaces between. A
// scope counts if it is exactly (patient|user|system)/(Type|*).permission, with
// a type that known knows (nil: any well-formed name) and as permission read,
// write or * (SMART v1: rs, cud, cruds) or at least one of the letters c, r, u,
// d, s in this order (v2); or if it is exactly (patient|user|system)/$patient-purge,
// perhaps with one of the vendors and a slash before the $. What is anything
// else, such as openid, launch or a misspelling, is ignored.
func ParseScopes(s string, known func(string) bool, vendors ...string) Scopes {
	var got Scopes
	system, user := grants{}, grants{}
	for scope := range strings.SplitSeq(s, " ") {
		got.purge = got.purge.with(parsePurge(scope, vendors))
		level, typ, granted, hasQuery := parseScope(scope)
		switch {
		case granted == 0 || typ != AnyType && known != nil && !known(typ):
		case hasQuery || level == "patient":
			got.unkept = true
		case level == "system":
			system[typ] |= granted
		case level == "user":
			user[typ] |= granted
		}
	}
	got.system, got.user = system.String(), user.String()
	return got
}

// empty tells whether nothing is granted.
func (s Scopes) empty() bool { return s.system == "" && s.user == "" && s.purge == purges{} }

// hint tells of scopes that grant nothing yet, "" if there were none.
func (s Scopes) hint() string {
	if !s.unkept {
		return ""
	}
	return "; scopes of patient/ for resources and scopes with a query grant nothing on this server yet"
}

// isLevel tells whether a scope of SMART may begin so.
func isLevel(s string) bool { return s == "patient" || s == "user" || s == "system" }

// parseScope takes a scope apart; it grants no action if it is not one of
// SMART.
func parseScope(s string) (level, typ string, granted actions, hasQuery bool) {
	s, query, hasQuery := strings.Cut(s, "?")
	level, rest, _ := strings.Cut(s, "/")
	typ, permission, _ := strings.Cut(rest, ".")
	switch {
	case !isLevel(level), typ != AnyType && !isTypeName(typ), hasQuery && query == "":
		return "", "", 0, false
	}
	return level, typ, parsePermission(permission), hasQuery
}

func parsePermission(s string) actions {
	switch s {
	case "read":
		return actionsOf("rs")
	case "write":
		return actionsOf("cud")
	case "*":
		return actionsOf(letters)
	}
	return actionsOf(s)
}

// actions is a set of actions, a bit for each letter.
type actions uint8

// actionsOf reads letters in their order; none if they are not so.
func actionsOf(s string) actions {
	var set actions
	last := -1
	for i := range len(s) {
		at := strings.IndexByte(letters, s[i])
		if at <= last {
			return 0
		}
		set |= 1 << at
		last = at
	}
	return set
}

// String gives the letters.
func (set actions) String() string {
	var b strings.Builder
	for i := range len(letters) {
		if set&(1<<i) != 0 {
			b.WriteByte(letters[i])
		}
	}
	return b.String()
}

// grants are actions by type.
type grants map[string]actions

// String gives the form that Scopes keeps.
func (g grants) String() string {
	if len(g) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteByte(' ')
	for _, typ := range slices.Sorted(maps.Keys(g)) {
		b.WriteString(typ + "." + g[typ].String() + " ")
	}
	return b.String()
}

// allow tells whether the action is granted on the type to a principal with or
// without a user.
func (s Scopes) allow(a Action, typ string, hasUser bool) bool {
	letter := letters[a-1]
	return granted(s.system, typ, letter) || hasUser && granted(s.user, typ, letter)
}

func granted(list, typ string, letter byte) bool {
	return hasLetter(list, AnyType, letter) || isTypeName(typ) && hasLetter(list, typ, letter)
}

func hasLetter(list, typ string, letter byte) bool {
	_, rest, _ := strings.Cut(list, " "+typ+".")
	given, _, _ := strings.Cut(rest, " ")
	return strings.IndexByte(given, letter) >= 0
}

// isTypeName tells whether s could be the name of a type of resource.
func isTypeName(s string) bool {
	const upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	const longest = 64
	return s != "" && len(s) <= longest && strings.IndexByte(upper, s[0]) >= 0 &&
		strings.Trim(s, upper+"abcdefghijklmnopqrstuvwxyz") == ""
}
