package files

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const (
	atOnce      = 8 // how many requests are made at once to remove many
	abortRounds = 3 // how often uploads are aborted that are listed again
)

// upload is a multipart upload that was begun.
type upload struct{ key, id string }

// Folders is Files.
func (b *Bucket) Folders(ctx context.Context) ([]string, error) {
	_, ofObjects, err := b.objects(ctx, b.prefix, "/")
	if err != nil {
		return nil, err
	}
	_, ofUploads, err := b.uploads(ctx, b.prefix, "/")
	var folders []string
	for _, f := range slices.Concat(ofObjects, ofUploads) {
		if f = strings.TrimSuffix(strings.TrimPrefix(f, b.prefix), "/"); plain(f) {
			folders = append(folders, f)
		}
	}
	slices.Sort(folders)
	return slices.Compact(folders), err
}

// Names is Files.
func (b *Bucket) Names(ctx context.Context, folder string) ([]string, error) {
	if err := checkFolder(folder); err != nil {
		return nil, err
	}
	keys, _, err := b.objects(ctx, b.prefix+folder+"/", "/")
	if err != nil {
		return nil, err
	}
	uploads, _, err := b.uploads(ctx, b.prefix+folder+"/", "/")
	for _, u := range uploads {
		keys = append(keys, u.key)
	}
	var names []string
	for _, k := range keys {
		name := strings.TrimPrefix(k, b.prefix)
		if _, _, bad := split(name); bad == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// Remove is Files.
func (b *Bucket) Remove(ctx context.Context, names ...string) error {
	var errs []error
	var keys []string
	folders := map[string][]string{}
	for _, name := range names {
		folder, _, err := split(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		keys = append(keys, b.prefix+name)
		folders[folder] = append(folders[folder], b.prefix+name)
	}
	for folder, keys := range folders {
		errs = append(errs, b.abort(ctx, b.prefix+folder+"/", func(u upload) bool { return slices.Contains(keys, u.key) }))
	}
	return errors.Join(append(errs, b.removeAll(ctx, keys))...)
}

// RemoveFolder is Files.
func (b *Bucket) RemoveFolder(ctx context.Context, folder string) error {
	if err := checkFolder(folder); err != nil {
		return err
	}
	prefix := b.prefix + folder + "/"
	aborted := b.abort(ctx, prefix, func(upload) bool { return true })
	keys, _, err := b.objects(ctx, prefix, "")
	return errors.Join(aborted, err, b.removeAll(ctx, keys))
}

// objects lists the keys with a prefix, and with a delimiter in their place the
// prefixes up to it of those that have it further on.
func (b *Bucket) objects(ctx context.Context, prefix, delimiter string) (keys, prefixes []string, err error) {
	pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{
		Bucket: aws.String(b.name), Prefix: aws.String(prefix), Delimiter: given(delimiter),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("files: list: %w", err)
		}
		for _, o := range page.Contents {
			keys = append(keys, aws.ToString(o.Key))
		}
		prefixes = append(prefixes, common(page.CommonPrefixes)...)
	}
	return keys, prefixes, nil
}

// uploads is objects, of multipart uploads that were begun.
func (b *Bucket) uploads(ctx context.Context, prefix, delimiter string) (begun []upload, prefixes []string, err error) {
	pages := s3.NewListMultipartUploadsPaginator(b.client, &s3.ListMultipartUploadsInput{
		Bucket: aws.String(b.name), Prefix: aws.String(prefix), Delimiter: given(delimiter),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("files: list uploads: %w", err)
		}
		for _, u := range page.Uploads {
			begun = append(begun, upload{aws.ToString(u.Key), aws.ToString(u.UploadId)})
		}
		prefixes = append(prefixes, common(page.CommonPrefixes)...)
	}
	return begun, prefixes, nil
}

// given is a parameter that is not sent if it is empty.
func given(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func common(of []types.CommonPrefix) []string {
	var all []string
	for _, p := range of {
		all = append(all, aws.ToString(p.Prefix))
	}
	return all
}

// abort has the server forget the uploads below a prefix that are wanted gone.
// A part that is under way may outlive that, and S3 asks to abort again then.
func (b *Bucket) abort(ctx context.Context, prefix string, gone func(upload) bool) error {
	for range abortRounds {
		all, _, err := b.uploads(ctx, prefix, "")
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(u upload) bool { return !gone(u) })
		if len(all) == 0 {
			return nil
		}
		if err := b.abortAll(ctx, all); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bucket) abortAll(ctx context.Context, all []upload) error {
	return each(all, func(u upload) error {
		_, err := b.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
			Bucket: aws.String(b.name), Key: aws.String(u.key), UploadId: aws.String(u.id),
		})
		if said(err, "NoSuchUpload") {
			return nil
		}
		return err
	})
}

func (b *Bucket) removeAll(ctx context.Context, keys []string) error {
	return each(keys, func(key string) error { return b.remove(ctx, key) })
}

// remove removes an object. That there is none is no error on S3. It does not
// ask for many at once, which not all servers know.
func (b *Bucket) remove(ctx context.Context, key string) error {
	_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(b.name), Key: aws.String(key)})
	return err
}

// each does something to all, some at once, and goes on after an error. Of many
// errors it tells one and how many there are.
func each[T any](all []T, do func(T) error) error {
	var wait sync.WaitGroup
	turns := make(chan struct{}, atOnce)
	errs := make([]error, len(all))
	for i, one := range all {
		turns <- struct{}{}
		wait.Go(func() {
			errs[i] = do(one)
			<-turns
		})
	}
	wait.Wait()
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("files: remove: %d of %d failed: %w", len(errs), len(all), errs[0])
}
