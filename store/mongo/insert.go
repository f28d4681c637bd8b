package mongo

import (
	"context"
	"slices"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// document is one that has its own _id.
type document interface{ id() string }

// pageOf is how many documents one statement inserts or reads.
const pageOf = 1000

// bareRow is a document that is but its _id, or all of one that is asked for.
type bareRow struct {
	ID string `bson:"_id"`
}

func (r bareRow) id() string { return r.ID }

// insertMissing inserts the documents whose _id is not there yet. It runs in a
// transaction that keeps others from inserting them, and asks first: a
// duplicate key would undo the transaction.
func insertMissing[D document](ctx context.Context, c *mongo.Collection, docs []D) error {
	for page := range slices.Chunk(docs, pageOf) {
		seen, err := thereOf(ctx, c, page)
		if err != nil {
			return err
		}
		var missing []D
		for _, d := range page {
			if !seen[d.id()] {
				seen[d.id()] = true
				missing = append(missing, d)
			}
		}
		if len(missing) == 0 {
			continue
		}
		if _, err := c.InsertMany(ctx, missing); err != nil {
			return err
		}
	}
	return nil
}

// thereOf tells which of a page of documents are there.
func thereOf[D document](ctx context.Context, c *mongo.Collection, page []D) (map[string]bool, error) {
	ids := make([]string, len(page))
	for i, d := range page {
		ids[i] = d.id()
	}
	rows, err := rowsOf[bareRow](ctx, c, field("_id", field("$in", ids)),
		options.Find().SetHint(byID).SetProjection(field("_id", 1)).SetBatchSize(pageOf+1))
	seen := make(map[string]bool, len(page))
	for _, r := range rows {
		seen[r.ID] = true
	}
	return seen, err
}

// namesIn lists up to n documents that are but their _id: what follows the
// prefix, in order, after the given name.
func namesIn(ctx context.Context, c *mongo.Collection, prefix, name string, n int) ([]string, error) {
	if n <= 0 {
		return nil, nil // a limit of 0 would be none
	}
	rows, err := rowsOf[bareRow](ctx, c, after(prefix, name),
		options.Find().SetHint(byID).SetSort(field("_id", 1)).SetLimit(int64(n)).SetBatchSize(batchOf(n)).SetProjection(field("_id", 1)))
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = r.ID[len(prefix):]
	}
	return out, err
}

// batchOf has a page come in one answer, and the cursor closed with it, where
// the page is not too large for that.
func batchOf(limit int) int32 { return int32(min(limit, pageOf) + 1) }
