package search

import (
	"fmt"
	"maps"
	"slices"

	"firebreak/fhir/r4"
)

// draft is a node in the making.
type draft struct {
	members     map[string]*draft
	refs, texts []action
	by          string
	cases       map[string]*draft
}

// member gives the draft of a member, a new one if need be.
func (d *draft) member(name string) *draft {
	if d.members == nil {
		d.members = make(map[string]*draft)
	}
	if d.members[name] == nil {
		d.members[name] = &draft{}
	}
	return d.members[name]
}

// when gives the draft for objects whose member by has the value.
func (d *draft) when(by, value string) (*draft, error) {
	if d.by != "" && d.by != by {
		return nil, fmt.Errorf("both %s and %s tell objects apart", d.by, by)
	}
	d.by = by
	if d.cases == nil {
		d.cases = make(map[string]*draft)
	}
	if d.cases[value] == nil {
		d.cases[value] = &draft{}
	}
	return d.cases[value], nil
}

// merge adds another draft, its cases apart, and all that is below it.
func (d *draft) merge(other *draft) error {
	d.refs = append(d.refs, other.refs...)
	d.texts = append(d.texts, other.texts...)
	for name, from := range other.members {
		to := d.member(name)
		if err := to.merge(from); err != nil {
			return err
		}
		for value, one := range from.cases {
			when, err := to.when(from.by, value)
			if err != nil {
				return err
			}
			if err := when.merge(one); err != nil {
				return err
			}
		}
	}
	return nil
}

// node finishes the draft.
func (d *draft) node() (*node, error) {
	n := &node{refs: d.refs, texts: d.texts, by: d.by}
	for _, name := range slices.Sorted(maps.Keys(d.members)) {
		m, err := d.members[name].node()
		if err != nil {
			return nil, err
		}
		n.members.put(name, m)
	}
	for value, one := range d.cases {
		if one.by != "" {
			return nil, fmt.Errorf("both %s and %s tell objects apart", d.by, one.by)
		}
		if err := one.merge(d); err != nil {
			return nil, err
		}
		m, err := one.node()
		if err != nil {
			return nil, err
		}
		if n.cases == nil {
			n.cases = make(map[string]*node)
		}
		n.cases[value] = m
	}
	return n, nil
}

// compile adds the expression of a reference parameter below root.
func compile(root *draft, expression string, a action) error {
	paths, err := parse(expression)
	if err != nil {
		return err
	}
	for _, p := range paths {
		c := compiler{at: root, context: p.typ, action: a}
		for _, s := range p.steps {
			if err := c.step(s); err != nil {
				return fmt.Errorf("expression %q: %w", expression, err)
			}
		}
		if err := c.finish(); err != nil {
			return fmt.Errorf("expression %q: %w", expression, err)
		}
	}
	return nil
}

// compiler walks one path. The last element named is held back, because what
// follows may say which type of a choice is meant.
type compiler struct {
	at      *draft
	context string // the path or type under which the table has the elements that are below at
	action  action

	name    string // of the element held back; "" for none
	element r4.Element
	indexed bool
}

func (c *compiler) step(s step) error {
	switch s.op {
	case child:
		if err := c.enter(); err != nil {
			return err
		}
		e, ok := r4.At(c.context + "." + s.name)
		if !ok {
			return fmt.Errorf("there is no element %s.%s", c.context, s.name)
		}
		c.name, c.element = s.name, e
	case as:
		c.element.Types = narrow(c.element.Types, s.name)
		if len(c.element.Types) == 0 {
			return fmt.Errorf("%s is never %s", c.name, s.name)
		}
	case whereIs:
		c.action.target = s.name
	case whereEq:
		if err := c.enter(); err != nil {
			return err
		}
		at, err := c.at.when(s.name, s.value)
		c.at = at
		return err
	case index:
		c.indexed = true
	}
	return nil
}

// enter steps into the element held back.
func (c *compiler) enter() error {
	if c.name == "" {
		return nil
	}
	path := c.context + "." + c.name
	switch {
	case c.action.target != "":
		return fmt.Errorf("%s is stepped through after its type was asked", path)
	case c.element.Same != "":
		c.at, c.context = c.at.member(c.name), c.element.Same
	case len(c.element.Types) != 1:
		return fmt.Errorf("%s is of several types", path)
	default:
		typ := c.element.Types[0]
		c.at, c.context = c.at.member(c.element.Member(c.name, typ)), typ
		if typ == "BackboneElement" || typ == "Element" {
			c.context = path
		}
	}
	c.name = ""
	return nil
}

// finish gives the action to the element held back, in each of its types that
// refers to something. A resource inside of the resource refers to nothing,
// but stands where a reference could.
func (c *compiler) finish() error {
	done := false
	for _, typ := range c.element.Types {
		switch typ {
		case "Reference":
			to := c.at.member(c.element.Member(c.name, typ))
			to.refs = append(to.refs, c.action)
		case "canonical", "uri":
			if c.action.target != "" {
				return fmt.Errorf("a %s does not name a type", typ)
			}
			to := c.at.member(c.element.Member(c.name, typ))
			to.texts = append(to.texts, c.action)
		case "Resource":
			done = true
			continue
		default:
			continue
		}
		if c.indexed {
			return fmt.Errorf("an index before %s is not understood", c.name)
		}
		done = true
	}
	if c.name == "" || !done {
		return fmt.Errorf("%s.%s holds no reference", c.context, c.name)
	}
	return nil
}

// narrow keeps the types that are the one asked for or specialise it: a
// canonical is a uri.
func narrow(types []string, to string) []string {
	var kept []string
	for _, typ := range types {
		for base := typ; base != ""; base = r4.Base(base) {
			if base == to {
				kept = append(kept, typ)
			}
		}
	}
	return kept
}
