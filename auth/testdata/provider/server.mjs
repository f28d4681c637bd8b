// An OpenID provider with one client, for the tests of package auth. Its
// arguments are the client's public JWK set and the audience of the resource
// server. It prints its issuer, and ends with its standard input.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [jwks, audience] = process.argv.slice(2);

const privateJwk = (type, options, rest) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), use: 'sig', ...rest,
});

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const algorithm = (client) => client.clientId.split('-').pop();
  const client = (id) => ({
    client_id: id,
    jwks: JSON.parse(jwks),
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: 'ES384',
    grant_types: ['client_credentials'],
    response_types: [],
    redirect_uris: [],
  });
  const provider = new Provider(issuer, {
    clients: [client('backend-RS256'), client('backend-ES384')],
    jwks: {
      keys: [
        privateJwk('rsa', { modulusLength: 2048 }, { kid: 'rsa', alg: 'RS256' }),
        privateJwk('ec', { namedCurve: 'P-384' }, { kid: 'ec', alg: 'ES384' }),
      ],
    },
    clientAuthMethods: ['private_key_jwt'],
    enabledJWA: { clientAuthSigningAlgValues: ['ES384'] },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => audience,
        getResourceServerInfo: (ctx, resource, who) => ({
          audience,
          scope: 'system/*.rs',
          accessTokenFormat: 'jwt',
          accessTokenTTL: 300,
          jwt: { sign: { alg: algorithm(who) } },
        }),
      },
    },
  });
  server.on('request', provider.callback());
  console.log(JSON.stringify({ issuer }));
});

process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
