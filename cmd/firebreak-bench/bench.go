package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
)

// bench is one run. Its steps share the database that the first one fills.
type bench struct {
	opts    options
	work    string    // the folder that is removed at the end
	err     io.Writer // tells how far it is
	product product
	db      database
	home    place // where the set is loaded to
	set     set
	groups  []group // those whose export is measured
	rows    []row
	notes   []string // what is said below the rows
}

// step measures rows that come out of the same work.
type step struct {
	rows []string
	run  func(*bench, context.Context) error
	own  bool // it does not need the set to be loaded

	instances bool // it needs a database for several instances
}

// steps are in the order in which they run: those that write come last, and
// after them those that remove.
func (o options) steps() []step {
	list := strings.Fields
	all := []step{
		{rows: list("load load-last load-rss disk"), run: (*bench).load},
		{rows: list("export export-group export-rss download end-to-end"), run: (*bench).exports},
		{rows: list("instances-export instances-units"), run: (*bench).instancesExport, instances: true},
		{rows: list("load-again"), run: (*bench).loadAgain},
		{rows: list("read read-p50 read-p99 read-paced-p99"), run: (*bench).reads},
		{rows: list("create create-p50 create-p99"), run: (*bench).creates},
		{rows: list("instances-load"), run: (*bench).instancesLoad, own: true, instances: true},
		{rows: list("large-load large-load-rss large-export large-export-rss"), run: (*bench).large, own: true},
		{rows: list("preview preview-bytes"), run: (*bench).previews},
		{rows: list("purge purge-outcome purge-beside purge-writes purge-writes-max purge-reads-p99 purge-patient purge-patient-sync purge-rss"), run: (*bench).purges},
		{rows: list("purge-holding purge-holding-end purge-holding-read purge-read purge-list purge-list-accepted"), run: (*bench).holdings},
	}
	return slices.DeleteFunc(all, func(s step) bool { return s.instances && o.Store == "" })
}

// names lists the rows. Of export-group there is one for each group.
func (o options) names() []string {
	var all []string
	for _, s := range o.steps() {
		all = append(all, s.rows...)
	}
	return all
}

// known tells whether a name stands for any row.
func (o options) known(name string) bool {
	return slices.ContainsFunc(o.names(), func(r string) bool { return stands(name, r) })
}

// stands tells whether a name means the row, or a family that it is of.
func stands(name, row string) bool {
	rest, ok := strings.CutPrefix(row, name)
	return ok && (rest == "" || rest[0] == '-' || rest[0] == '/')
}

// wants tells whether any of the rows was asked for.
func (b *bench) wants(rows ...string) bool {
	if len(b.opts.Only) == 0 {
		return true
	}
	return slices.ContainsFunc(rows, func(r string) bool {
		return slices.ContainsFunc(b.opts.Only, func(name string) bool { return stands(name, r) })
	})
}

// say tells how far it is.
func (b *bench) say(format string, args ...any) {
	_, _ = fmt.Fprintf(b.err, "firebreak-bench: "+format+"\n", args...)
}

func (b *bench) run(ctx context.Context) error {
	b.say("reading %s", b.opts.Set)
	var err error
	if b.set, err = readSet(b.opts.Set); err != nil {
		return err
	}
	b.groups = b.set.measured()
	todo := slices.DeleteFunc(b.opts.steps(), func(s step) bool { return !b.wants(s.rows...) })
	if slices.ContainsFunc(todo, func(s step) bool { return !s.own }) && todo[0].rows[0] != "load" {
		todo = append(b.opts.steps()[:1:1], todo...)
	}
	for _, s := range todo {
		b.say("measuring %s", strings.Join(s.rows, ", "))
		if err := s.run(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", s.rows[0], err)
		}
	}
	return nil
}
