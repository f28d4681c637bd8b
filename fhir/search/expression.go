package search

import (
	"fmt"
	"strings"
)

// path is one member of a union in an expression: a type and the steps from
// it.
type path struct {
	typ   string
	steps []step
}

type op uint8

const (
	child   op = iota // .name
	as                // as name, .as(name), .ofType(name)
	whereIs           // .where(resolve() is name)
	whereEq           // .where(name='value')
	index             // [name]
)

type step struct {
	op          op
	name, value string
}

// parse reads an expression of a search parameter. R4 uses a small part of
// FHIRPath; what is not of it is an error.
func parse(expression string) ([]path, error) {
	p := parser{tokens: tokens(expression)}
	var paths []path
	for {
		one, err := p.path()
		if err != nil {
			return nil, fmt.Errorf("expression %q: %w", expression, err)
		}
		paths = append(paths, one)
		if p.done() {
			return paths, nil
		}
		if !p.take("|") {
			return nil, fmt.Errorf("expression %q: %q is not understood", expression, p.next())
		}
	}
}

// parser steps through tokens; "" is the end.
type parser struct{ tokens []string }

func (p *parser) done() bool { return len(p.tokens) == 0 }

func (p *parser) peek() string {
	if p.done() {
		return ""
	}
	return p.tokens[0]
}

func (p *parser) next() string {
	token := p.peek()
	if !p.done() {
		p.tokens = p.tokens[1:]
	}
	return token
}

// take steps over the tokens if they come next, all of them.
func (p *parser) take(tokens ...string) bool {
	if len(p.tokens) < len(tokens) {
		return false
	}
	for i, token := range tokens {
		if p.tokens[i] != token {
			return false
		}
	}
	p.tokens = p.tokens[len(tokens):]
	return true
}

// name takes a name and what must follow it.
func (p *parser) name(after ...string) (string, error) {
	name := p.next()
	if !isName(name) || !p.take(after...) {
		return "", fmt.Errorf("%q is not understood", name+" "+p.peek())
	}
	return name, nil
}

// path reads "Type.step.step", "(Type.step as Type)" and what follows these.
func (p *parser) path() (path, error) {
	if p.take("(") {
		inner, err := p.path()
		if err != nil {
			return path{}, err
		}
		if !p.take(")") {
			return path{}, fmt.Errorf("%q is not understood", p.peek())
		}
		return p.steps(inner)
	}
	typ, err := p.name()
	if err != nil {
		return path{}, err
	}
	return p.steps(path{typ: typ})
}

// steps reads the steps that follow.
func (p *parser) steps(to path) (path, error) {
	for {
		var (
			s   step
			err error
		)
		switch {
		case p.take("as"):
			s.op = as
			s.name, err = p.name()
		case p.take("["):
			s = step{op: index, name: p.next()}
			p.take("]")
		case p.take("."):
			s, err = p.call()
		default:
			return to, nil
		}
		if err != nil {
			return path{}, err
		}
		to.steps = append(to.steps, s)
	}
}

// call reads what follows a dot: a function or a member.
func (p *parser) call() (step, error) {
	s := step{op: child}
	var err error
	switch {
	case p.take("as", "("), p.take("ofType", "("):
		s.op = as
		s.name, err = p.name(")")
	case p.take("where", "(", "resolve", "(", ")", "is"):
		s.op = whereIs
		s.name, err = p.name(")")
	case p.take("where", "("):
		s.op = whereEq
		s.name, err = p.name("=")
		if s.value = p.next(); err == nil && (len(s.value) < 3 || s.value[0] != '\'' || !p.take(")")) {
			err = fmt.Errorf("%q is not understood", s.value)
		}
		s.value = strings.Trim(s.value, "'")
	default:
		s.name, err = p.name()
		if p.peek() == "(" {
			err = fmt.Errorf("function %q is not understood", s.name)
		}
	}
	return s, err
}

// tokens splits an expression into names, strings with their quotes, and
// single signs.
func tokens(expression string) []string {
	var list []string
	for rest := strings.TrimSpace(expression); rest != ""; rest = strings.TrimSpace(rest) {
		n := 1
		switch {
		case rest[0] == '\'':
			n = strings.IndexByte(rest[1:], '\'') + 2
		case isNameByte(rest[0]):
			for n < len(rest) && isNameByte(rest[n]) {
				n++
			}
		}
		list = append(list, rest[:n])
		rest = rest[n:]
	}
	return list
}

func isName(s string) bool { return s != "" && isNameByte(s[0]) && (s[0] < '0' || s[0] > '9') }

func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}
