// An official TypeScript client that knows nothing but a URL and has a person at a browser.
// in:  a line {sdk: "1" | "2", url, redirect}; later a line {code, iss} that the browser brought
// out: a line {open: address for the browser}; later a line {tools: names, scope, refreshed}
import { createInterface } from "node:readline";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const script = JSON.parse((await lines.next()).value);
const one = script.sdk === "1";
const { Client, StreamableHTTPClientTransport, auth } = one
  ? {
      ...(await import("@modelcontextprotocol/sdk/client/index.js")),
      ...(await import("@modelcontextprotocol/sdk/client/streamableHttp.js")),
      ...(await import("@modelcontextprotocol/sdk/client/auth.js")),
    }
  : await import("@modelcontextprotocol/client");

const kept = {};
const provider = {
  redirectUrl: script.redirect,
  clientMetadata: {
    client_name: `TypeScript ${script.sdk}`,
    redirect_uris: [script.redirect],
    token_endpoint_auth_method: "none",
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
  },
  clientInformation: () => kept.client,
  saveClientInformation: (client) => void (kept.client = client),
  tokens: () => kept.tokens,
  saveTokens: (tokens) => void (kept.tokens = tokens),
  redirectToAuthorization: (address) => console.log(JSON.stringify({ open: address.href })),
  saveCodeVerifier: (verifier) => void (kept.verifier = verifier),
  codeVerifier: () => kept.verifier,
  saveDiscoveryState: (state) => void (kept.discovery = state),
  discoveryState: () => kept.discovery,
};

const begin = () => new StreamableHTTPClientTransport(new URL(script.url), { authProvider: provider });
const first = begin();
try {
  await new Client({ name: "authorizing", version: "1" }).connect(first);
} catch (error) {
  if (!kept.verifier) throw error;
}
const answer = JSON.parse((await lines.next()).value);
await (one ? first.finishAuth(answer.code) : first.finishAuth(answer.code, answer.iss));

const client = new Client({ name: "authorizing", version: "1" });
await client.connect(begin());
const { tools } = await client.listTools();
await client.close();

const before = kept.tokens;
const outcome = await auth(provider, { serverUrl: script.url });
console.log(
  JSON.stringify({
    tools: tools.map((tool) => tool.name),
    scope: before.scope,
    refreshed: outcome === "AUTHORIZED" && kept.tokens.access_token !== before.access_token,
  }),
);
process.exit(0);
