package auth

import (
	"slices"
	"strings"
)

// purgeScope is what follows the level, and perhaps a vendor, in a scope that
// allows purges of patients.
const purgeScope = "$patient-purge"

// purges are the levels that a scope allows purges of patients at.
type purges struct{ system, user, patient bool }

// with gives p with the level of one more scope.
func (p purges) with(level string) purges {
	switch level {
	case "system":
		p.system = true
	case "user":
		p.user = true
	case "patient":
		p.patient = true
	}
	return p
}

// parsePurge gives the level of a scope for purges, "" if it is none.
func parsePurge(scope string, vendors []string) string {
	level, rest, _ := strings.Cut(scope, "/")
	if vendor, name, ok := strings.Cut(rest, "/"); ok && slices.Contains(vendors, vendor) {
		rest = name
	}
	if rest != purgeScope || !isLevel(level) {
		return ""
	}
	return level
}

// isVendor tells whether s can be the vendor in a scope.
func isVendor(s string) bool {
	const wordly = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-"
	return s != "" && strings.Trim(s, wordly) == ""
}

// MayPurge answers nil if p may purge the records of exactly these patients,
// else an error as May's, which names system/$patient-purge or
// user/$patient-purge. The patients are ids; nil stands for patients that are
// not known yet, such as the members of a Group.
//
// A purge may touch resources of any type. So a scope for resources suffices
// only if delete and update are granted on all types together, and none that is
// narrowed to types. patient/$patient-purge is for the launch patient alone,
// and never for patients that are not known.
func MayPurge(p Principal, patients []string) error {
	switch {
	case p.local:
		return nil
	case p.Client == "":
		return errNobody()
	case p.scopes.purge.system, p.scopes.purge.user && p.User != "", p.ownRecord(patients),
		May(p, Delete, AnyType) == nil && May(p, Update, AnyType) == nil:
		return nil
	}
	hint := p.scopes.hint()
	if p.scopes.purge.patient {
		hint += "; patient/" + purgeScope + " is for the record of the token's own patient alone"
	}
	return errMissing(p.level()+purgeScope, hint)
}

// ownRecord tells whether p has a scope for its own patient, and these are
// nobody else.
func (p Principal) ownRecord(patients []string) bool {
	return p.scopes.purge.patient && p.Patient != "" && len(patients) > 0 &&
		!slices.ContainsFunc(patients, func(id string) bool { return id != p.Patient })
}
