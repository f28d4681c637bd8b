package search

import (
	"fmt"
	"slices"
	"sync"

	"firebreak/fhir/r4"
)

// plan is what to take from the resources of one type. It does not change
// once it is made.
type plan struct {
	root        *node
	params      []string // the codes that terms may have, sorted
	compartment int      // where in params Compartment is
	ref         int      // where in params Ref is
}

// node is a place in resources of a type: what to take there, and the members
// that lead on. A nil node is a place where nothing is taken.
type node struct {
	members table[*node]
	refs    []action // for the literal of the Reference that is here
	texts   []action // for the string that is here

	// by and cases tell apart objects by one of their members: where(type='x')
	// is by "type", and a case for "x" that holds all of this node as well.
	by    string
	cases map[string]*node
}

// action gives a term to a search parameter.
type action struct {
	param       int
	target      string // only for references to this type; "" for all
	compartment bool   // the parameter is one of the type's compartment
}

var plans = sync.OnceValue(func() map[string]func() *plan {
	all := make(map[string]func() *plan)
	for _, typ := range r4.Types() {
		all[typ] = sync.OnceValue(func() *plan { return mustPlan(typ) })
	}
	return all
})

var unknown = sync.OnceValue(func() *plan { return mustPlan("") })

// planOf gives the plan of a type; the one for unknown types takes Ref alone.
func planOf(typ string) *plan {
	if of, ok := plans()[typ]; ok {
		return of()
	}
	return unknown()
}

// mustPlan panics where R4's own tables are not understood, which tests rule
// out for every type.
func mustPlan(typ string) *plan {
	p, err := newPlan(typ)
	if err != nil {
		panic(err)
	}
	return p
}

func newPlan(typ string) (*plan, error) {
	p := &plan{params: []string{Compartment, Ref}}
	params := slices.DeleteFunc(slices.Clone(r4.Params(typ)), func(p r4.Param) bool { return p.Type != r4.Reference })
	for _, param := range params {
		p.params = append(p.params, param.Code)
	}
	slices.Sort(p.params)
	p.compartment = slices.Index(p.params, Compartment)
	p.ref = slices.Index(p.params, Ref)
	root := &draft{}
	for _, param := range params {
		a := action{
			param:       slices.Index(p.params, param.Code),
			compartment: slices.Contains(r4.CompartmentParams(typ), param.Code),
		}
		if err := compile(root, param.Expression, a); err != nil {
			return nil, fmt.Errorf("search parameter %s of %s: %w", param.Code, typ, err)
		}
	}
	var err error
	if p.root, err = root.node(); err != nil {
		return nil, fmt.Errorf("search parameters of %s: %w", typ, err)
	}
	return p, nil
}

// find gives the node of a member; it may be called on nil.
func (n *node) find(key []byte) *node {
	if n == nil {
		return nil
	}
	return n.members.find(key)
}

// table finds values by short names. It is faster than a map where most names
// asked for are absent.
type table[T any] struct {
	mask   uint64
	names  []string
	values []T
}

func (t *table[T]) put(name string, value T) {
	t.mask |= bit([]byte(name))
	t.names = append(t.names, name)
	t.values = append(t.values, value)
}

// find gives the zero value where there is no such name.
func (t *table[T]) find(name []byte) T {
	if t.mask&bit(name) != 0 {
		for i, n := range t.names {
			if n == string(name) {
				return t.values[i]
			}
		}
	}
	var none T
	return none
}

func bit(name []byte) uint64 {
	if len(name) == 0 {
		return 0
	}
	return 1 << ((5*uint(name[0]) + 3*uint(name[len(name)-1]) + uint(len(name))) & 63)
}
