package auth

import "slices"

// MayPurgeHolding answers nil if p may purge what it owns itself of these
// types, nil for all, else an error as May's. It takes delete on each of the
// types, or on all types together where none is named; or a scope for purges of
// patients at the level of the system or, of one that has a user, of users. One
// of a patient never does: what its owner has may be of anyone.
func MayPurgeHolding(p Principal, types []string) error {
	if !p.local && p.Client != "" && (p.scopes.purge.system || p.scopes.purge.user && p.User != "") {
		return nil
	}
	if len(types) == 0 {
		types = []string{AnyType}
	}
	for _, typ := range slices.Sorted(slices.Values(types)) {
		if err := May(p, Delete, typ); err != nil {
			return err
		}
	}
	return nil
}
