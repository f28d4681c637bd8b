package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firebreak/store/files"
	"firebreak/store/files/filestest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// s3World is a world whose exports lie in a bucket of a real S3 server.
type s3World struct {
	*world
	client *s3.Client
	bucket string
}

// newS3World has the S3 server end after its own, when no connection is left
// to be open.
func newS3World(t *testing.T, g *filestest.Gateway, place storage) s3World {
	t.Helper()
	w := s3World{newWorld(t, place, 3, 4, false), clientOf(g), "exports"}
	w.server = g.Dir()
	w.stop = slices.Insert(w.stop, 0, g.Kill)
	return w
}

func clientOf(g *filestest.Gateway) *s3.Client {
	who := func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: filestest.AccessKey, SecretAccessKey: filestest.SecretKey}, nil
	}
	return s3.New(s3.Options{
		BaseEndpoint: &g.Endpoint, Region: "us-east-1", UsePathStyle: true, Credentials: aws.CredentialsProviderFunc(who),
	})
}

// uploads are the keys of the multipart uploads that have not ended.
func (w s3World) uploads() (keys []string) {
	w.Helper()
	got, err := w.client.ListMultipartUploads(w.Context(), &s3.ListMultipartUploadsInput{Bucket: &w.bucket})
	w.ok(err)
	for _, u := range got.Uploads {
		keys = append(keys, aws.ToString(u.Key))
	}
	return keys
}

// objects calls look with each object, as the server gives it.
func (w s3World) objects(look func(key string, body []byte)) {
	w.Helper()
	pages := s3.NewListObjectsV2Paginator(w.client, &s3.ListObjectsV2Input{Bucket: &w.bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(w.Context())
		w.ok(err)
		for _, o := range page.Contents {
			got, err := w.client.GetObject(w.Context(), &s3.GetObjectInput{Bucket: &w.bucket, Key: o.Key})
			w.ok(err)
			body, err := io.ReadAll(got.Body)
			w.ok(errors.Join(err, got.Body.Close()))
			look(aws.ToString(o.Key), body)
		}
	}
}

// have counts the objects with something of a patient.
func (w s3World) have(i int) (n int) {
	w.Helper()
	w.objects(func(_ string, body []byte) {
		if slices.ContainsFunc(w.needles(i), func(needle []byte) bool { return bytes.Contains(body, needle) }) {
			n++
		}
	})
	return n
}

// abandon leaves an upload of an export's attempt that was killed, with
// something of a patient in the part that was sent.
func (w s3World) abandon(i int) {
	w.Helper()
	b, err := files.NewBucket(w.Context(), w.place.Files)
	w.ok(err)
	folders, err := b.Folders(w.Context())
	w.ok(err)
	f, err := b.Create(w.Context(), folders[0]+"/1-killed.7.000001.Observation.ndjson")
	w.ok(err)
	w.Cleanup(f.Abort)
	line := fmt.Sprintf(`{"resourceType":"Observation","id":"o","valueString":%q}`+"\n", w.say(i, "upload"))
	_, err = io.WriteString(f, strings.Repeat(line, 7<<20/len(line)))
	w.ok(err)
	sent := func() bool {
		return slices.ContainsFunc(w.found(i), func(at string) bool { return strings.Contains(at, w.canaries[i]+" in upload") })
	}
	for end := time.Now().Add(time.Minute); !sent(); {
		if time.Now().After(end) {
			w.Fatal("no part of the upload comes to the server")
		}
	}
}

// After the purges no object has anything of the patients, and no upload that
// was never ended, whoever left it.
func TestOnS3NothingIsLeftOfAPurgedPatientInTheBucket(t *testing.T) {
	g := filestest.StartGateway(t)
	for name, value := range filestest.Environment() {
		t.Setenv(name, value)
	}
	place := storage{Data: filepath.Join(t.TempDir(), "new"), Files: g.Bucket(t, "exports", "of/firebreak")}
	var w s3World
	t.Run("the server runs", func(t *testing.T) {
		w = newS3World(t, g, place)
		for i := range w.canaries {
			w.abandon(i)
			if w.have(i) == 0 {
				t.Fatalf("before the purge no object has anything of patient %d: it would not be found", i)
			}
		}
		if len(w.uploads()) == 0 {
			t.Fatal("before the purge no upload is unfinished: it would not be found")
		}
		w.purgeInTurn("on S3")
	})
	if t.Failed() {
		return
	}
	w.T, w.client = t, clientOf(g.Again(t))
	w.look("after the server has ended", all(len(w.canaries)))
	for i := range w.canaries {
		if n := w.have(i); n > 0 {
			t.Errorf("%d objects have something of patient %d", n, i)
		}
	}
	if left := w.uploads(); len(left) > 0 {
		t.Errorf("uploads are left: %v", left)
	}
}
