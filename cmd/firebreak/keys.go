package main

import (
	"context"

	"firebreak/operations/certificate"
)

// keysCommand is "firebreak keys".
type keysCommand struct {
	List   keysListCommand   `cmd:"" help:"List the keys of a file. The last one signs."`
	Rotate keysRotateCommand `cmd:"" help:"Add a new key, which signs from now on; the others go on to verify. A running server takes it by itself."`
}

// keysFile names the file.
type keysFile struct {
	File string `help:"File with the signing keys, such as firebreak-data/signing-keys.json." required:"" type:"path" placeholder:"FILE"`
}

type keysListCommand struct{ keysFile }

// Run is command.
func (c keysListCommand) Run(_ context.Context, s streams) error {
	keys, err := readKeys(c.File)
	if err == nil {
		listKeys(s, keys)
	}
	return err
}

type keysRotateCommand struct{ keysFile }

// Run is command.
func (c keysRotateCommand) Run(_ context.Context, s streams) error {
	keys, err := rotateKeys(c.File)
	if err == nil {
		listKeys(s, keys)
	}
	return err
}

func listKeys(s streams, keys certificate.Keys) {
	rows := [][]string{{"kid", "use"}}
	for _, kid := range keys.IDs() {
		rows = append(rows, []string{kid, "verifies"})
	}
	rows[len(rows)-1][1] = "signs"
	table(s.out, rows)
}
