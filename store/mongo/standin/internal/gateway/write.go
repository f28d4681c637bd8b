package gateway

import (
	"mongodb-standin/internal/bsonx"
	"mongodb-standin/internal/mongoerr"

	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
)

// The extension's functions for writes. Each answers with MongoDB's document and whether every write succeeded.
const (
	insertSQL = `SELECT p_result, p_success FROM documentdb_api.insert($1::text, $2::documentdb_core.bson, $3::documentdb_core.bsonsequence)`
	updateSQL = `SELECT p_result, p_success FROM documentdb_api.update($1::text, $2::documentdb_core.bson, $3::documentdb_core.bsonsequence)`
	deleteSQL = `SELECT p_result, p_success FROM documentdb_api.delete($1::text, $2::documentdb_core.bson, $3::documentdb_core.bsonsequence)`
	modifySQL = `SELECT p_result, p_success FROM documentdb_api.find_and_modify($1::text, $2::documentdb_core.bson)`
)

var (
	insertOnceSQL = remembering(insertSQL, "$4", "$5")
	updateOnceSQL = remembering(updateSQL, "$4", "$5")
	deleteOnceSQL = remembering(deleteSQL, "$4", "$5")
	modifyOnceSQL = remembering(modifySQL, "$3", "$4")
)

func insert(m *command) (bsoncore.Document, error) {
	return m.writeBatch(insertSQL, insertOnceSQL, "documents")
}

func update(m *command) (bsoncore.Document, error) {
	return m.writeBatch(updateSQL, updateOnceSQL, "updates")
}

func remove(m *command) (bsoncore.Document, error) {
	return m.writeBatch(deleteSQL, deleteOnceSQL, "deletes")
}

// writeBatch runs an insert, update or delete, whose parts stand in the body or in a sequence of the given name.
func (m *command) writeBatch(sql, onceSQL, parts string) (bsoncore.Document, error) {
	result, err := m.write(sql, onceSQL, []byte(m.db), m.body, m.req.Sequences[parts])
	if err != nil || result.Lookup("writeErrors").Type == 0 {
		return result, err
	}
	return m.translateWriteErrors(result, parts)
}

// write runs the statement, in the form that remembers its answer where the client may send it again.
func (m *command) write(sql, onceSQL string, args ...[]byte) (bsoncore.Document, error) {
	if m.hasNumber && !m.inTxn {
		sql = onceSQL
		args = append(args, []byte(m.session.id), int8Bytes(m.txnNumber))
	}
	rows, err := m.query(sql, args...)
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 {
		return nil, mongoerr.New(mongoerr.InternalError, "the storage engine gave %d results", len(rows))
	}
	return rows[0][0], nil
}

// findAndModify changes one document and returns it. The extension refuses a hint here: it is left out, as it is
// nothing but advice on the plan.
func findAndModify(m *command) (bsoncore.Document, error) {
	m.body = bsonx.Filter(m.body, func(k string) bool { return k != "hint" })
	if m.name != "findAndModify" {
		m.body = renameFirst(m.body, "findAndModify")
	}
	return m.write(modifySQL, modifyOnceSQL, []byte(m.db), m.body)
}

// renameFirst gives the first element another name: commands have old spellings.
func renameFirst(doc bsoncore.Document, name string) bsoncore.Document {
	first := true
	return bsonx.Doc(func(d []byte) []byte {
		bsonx.Each(doc, func(_ string, e bsoncore.Element) {
			if first {
				d, first = bsoncore.AppendValueElement(d, name, e.Value()), false
				return
			}
			d = append(d, e...)
		})
		return d
	})
}

// translateWriteErrors replaces the extension's codes by MongoDB's. In a transaction a conflict fails the command.
func (m *command) translateWriteErrors(result bsoncore.Document, parts string) (bsoncore.Document, error) {
	var errs []bsoncore.Value
	for _, v := range bsonx.Values(result, "writeErrors") {
		doc, _ := v.DocumentOK()
		index, _ := bsonx.Int(doc, "index")
		code, _ := bsonx.Int(doc, "code")
		e := mongoerr.FromPacked(code, bsonx.Str(doc, "errmsg"))
		if e.Code == mongoerr.DuplicateKey {
			e = m.duplicateKey(e, m.part(parts, int(index)))
		}
		if e.Code == mongoerr.WriteConflict && m.inTxn {
			return nil, e
		}
		errs = append(errs, documentValue(writeError(int32(index), e)))
	}
	out := bsonx.Filter(result, func(k string) bool { return k != "writeErrors" })
	return bsonx.Append(out, func(d []byte) []byte {
		return bsoncore.AppendArrayElement(d, "writeErrors", bsoncore.BuildArray(nil, errs...))
	}), nil
}

func writeError(index int32, e *mongoerr.Error) bsoncore.Document {
	return bsonx.Doc(func(d []byte) []byte {
		d = bsoncore.AppendInt32Element(d, "index", index)
		d = bsoncore.AppendInt32Element(d, "code", e.Code)
		bsonx.Each(e.Extra, func(_ string, el bsoncore.Element) { d = append(d, el...) })
		return bsoncore.AppendStringElement(d, "errmsg", e.Message)
	})
}

// part gives one document, update or delete of the command.
func (m *command) part(parts string, index int) bsoncore.Document {
	var found bsoncore.Document
	if seq := m.req.Sequences[parts]; seq != nil {
		bsonx.Docs(seq, func(i int, doc bsoncore.Document) {
			if i == index {
				found = doc
			}
		})
		return found
	}
	if vs := bsonx.Values(m.full, parts); index < len(vs) {
		found, _ = vs[index].DocumentOK()
	}
	return found
}

func documentValue(d bsoncore.Document) bsoncore.Value {
	return bsoncore.Value{Type: bsoncore.TypeEmbeddedDocument, Data: d}
}
