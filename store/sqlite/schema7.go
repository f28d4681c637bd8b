package sqlite

// schema7 has claims find what of a job is left, among thousands of units that
// are done.
const schema7 = `
CREATE INDEX unit_left ON unit (tenant, job, phase) WHERE state <> 'succeeded';
`
