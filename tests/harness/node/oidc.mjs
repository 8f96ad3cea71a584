// An authorization server on `oidc-provider`: rotation with reuse detection, registration, RFC 8707, RFC 9207.
// Nobody is asked anything: whoever comes is signed in as the account that their `login` cookie names, or as "somebody".
// arguments: port, resource URL, log file. Each token answer is a line of JSON in the log. While the file `<log>.hold`
// exists, answers of the token endpoint wait after the server has done its part.

import { appendFileSync, existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import Provider from "oidc-provider";

const [port, resource, log] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const lifetime = Number(process.env.ACCESS_S ?? 3600);

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "resource-server",
      client_secret: "resource-server-secret",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    },
  ],
  scopes: ["openid", "offline_access"],
  clientDefaults: { grant_types: ["authorization_code", "refresh_token"] },
  features: {
    devInteractions: { enabled: false },
    registration: { enabled: process.env.REGISTRATION !== "off" },
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true, allowedPolicy: () => true },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: "tools",
        audience: resource,
        accessTokenTTL: lifetime,
        accessTokenFormat: "opaque",
      }),
    },
  },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: async (ctx, client) => client.grantTypeAllowed("refresh_token"),
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  cookies: { keys: ["only-for-tests"] },
  ttl: { AccessToken: lifetime, RefreshToken: 86400, Session: 3600, Grant: 86400, Interaction: 600 },
});

const note = (line) => appendFileSync(log, `${JSON.stringify(line)}\n`);

async function grantOf(details) {
  const { params, session } = details;
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope("openid offline_access");
  grant.addResourceScope(resource, "tools");
  return grant.save();
}

provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith("/interaction/")) return next();
  const details = await provider.interactionDetails(ctx.req, ctx.res);
  const account = ctx.cookies.get("login") ?? "somebody";
  const result =
    details.prompt.name === "login"
      ? { login: { accountId: account } }
      : { consent: { grantId: await grantOf(details) } };
  await provider.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: true });
  ctx.respond = false;
});

provider.use(async (ctx, next) => {
  await next();
  if (ctx.path !== "/token") return;
  const grant = ctx.oidc?.params?.grant_type;
  note({ grant, status: ctx.status, error: ctx.body?.error ?? "", client: ctx.oidc?.client?.clientId ?? "" });
  while (existsSync(`${log}.hold`)) await sleep(50);
});

provider.on("grant.revoked", () => note({ event: "revoked" }));
provider.on("server_error", (ctx, error) => note({ event: "server_error", error: String(error.stack) }));
provider.proxy = true;
provider.listen(Number(port), "127.0.0.1");
