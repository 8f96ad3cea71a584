// A certified OpenID provider (npm oidc-provider). Everything about it comes as JSON in argv: issuer, port, client,
// accounts (subject → claims), keys (JWKS with private parts).
import { Provider } from "oidc-provider";

const given = JSON.parse(process.argv[2]);

const provider = new Provider(given.issuer, {
  clients: [
    {
      client_id: given.client.id,
      client_secret: given.client.secret,
      redirect_uris: given.client.redirects,
      grant_types: ["authorization_code"],
      response_types: ["code"],
    },
  ],
  jwks: given.keys,
  cookies: { keys: ["of the tests"] },
  claims: {
    openid: ["sub"],
    email: ["email", "email_verified"],
    profile: ["name", "groups", "contractor", "department"],
  },
  pkce: { required: () => true },
  ttl: { AccessToken: 600, AuthorizationCode: 60, IdToken: 600, Session: 600, Grant: 600, Interaction: 600 },
  features: { devInteractions: { enabled: true } },
  async findAccount(ctx, sub) {
    return { accountId: sub, claims: async () => ({ sub, ...given.accounts[sub] }) };
  },
});

provider.listen(given.port, "127.0.0.1", () => console.log("ready"));
