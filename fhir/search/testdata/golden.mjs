// Writes testdata/golden/references.json: for each resource in
// testdata/resources what fhirpath.js, the reference engine, finds by the
// whole official expression of each reference parameter of its type, and by
// type for every Reference and Attachment in it. Run by hand, in this folder:
//
//	npm ci && npm run golden
//
// What refers to nothing outside of the resource (#contained, data:) is left
// out and versions are cut off, as the documentation of search.Terms says.
import fhirpath from 'fhirpath';
import r4 from 'fhirpath/fhir-context/r4/index.js';
import fs from 'node:fs';

const top = new URL('../../../', import.meta.url);
const table = (name) =>
  fs.readFileSync(new URL(`fhir/r4/${name}.tsv`, top), 'utf8')
    .split('\n').filter((line) => line && !line.startsWith('#')).map((line) => line.split('\t'));

const params = table('params').filter(([, , type]) => type === 'reference')
  .map(([code, , , bases, , expression]) => ({code, bases: bases.split(' '), expression}));
const compartment = new Map(table('compartment').map(([type, codes]) => [type, codes.split(' ')]));

// resolve answers with an empty resource of the type that the literal names.
const resolve = (references) => references.flatMap((node) => {
  const literal = node.data?.reference ?? '';
  const type = /(?:^|\/)([A-Z][A-Za-z]+)\/[^/]+(?:\/_history\/[^/]+)?$/.exec(literal)?.[1];
  if (!type || literal.startsWith('urn:')) return [];
  return [node.constructor.makeResNode(node.ctx, {resourceType: type}, null, null, null, null)];
});
const options = {userInvocationTable: {resolve: {fn: resolve, arity: {0: []}, internalStructures: true}}};
// "as" takes one item only, yet R4 writes it after elements that repeat:
// what is meant is ofType.
const evaluate = (resource, expression) =>
  fhirpath.evaluate(resource, expression.replace(/ as (\w+)\)/g, '.ofType(FHIR.$1))'), {}, r4, options);

const outside = (literal) => literal && !literal.startsWith('#') && !literal.startsWith('data:');
const unversioned = (literal) =>
  literal.startsWith('urn:') ? literal : literal.replace(/\/_history\/[^/]*$/, '');
const literals = (list) => list.filter(outside).map(unversioned);

// values are those of a parameter: the literal of a Reference, a canonical or
// uri as it is; a resource, as in Bundle.entry[0].resource, has none.
const values = (found) => found.flatMap((item) => {
  if (typeof item === 'string') return [item];
  if (item.resourceType) return [];
  return literals([item.reference]);
});

function terms(resource) {
  const type = resource.resourceType;
  const all = {
    _ref: [
      ...literals(evaluate(resource, 'descendants().where($this is FHIR.Reference).reference')),
      ...literals(evaluate(resource, 'descendants().where($this is FHIR.Attachment).url')),
    ],
    _compartment: type === 'Patient' ? [`Patient/${resource.id}`] : [],
  };
  for (const {code, bases, expression} of params) {
    if (!bases.includes(type)) continue;
    all[code] = values(evaluate(resource, expression));
    if (compartment.get(type)?.includes(code)) {
      all._compartment.push(...all[code].filter((value) => /^Patient\/[A-Za-z0-9.-]{1,64}$/.test(value)));
    }
  }
  const sorted = Object.keys(all).sort().filter((code) => all[code].length > 0);
  return Object.fromEntries(sorted.map((code) => [code, [...new Set(all[code])].sort()]));
}

const golden = {};
const folder = new URL('testdata/resources/', top);
for (const name of fs.readdirSync(folder).filter((n) => n.endsWith('.json')).sort()) {
  golden[name] = terms(JSON.parse(fs.readFileSync(new URL(name, folder), 'utf8')));
}
fs.writeFileSync(new URL('testdata/golden/references.json', top), JSON.stringify(golden, null, 1) + '\n');
