// Drives one of the official TypeScript clients: a JSON script on standard input, a JSON transcript on standard output.
// in:  {sdk: "1" | "2", pin: revision or "", url (HTTP+SSE when it ends in /sse), headers,
//       steps: [[method of the client, argument], …], replies: {method that a server may ask: the result to give}}
// out: {revision, answers: [{result} or {error: {code, message, data}}], asked: [[method, params], …]}

const script = JSON.parse(await new Response(process.stdin).text());

const { Client, StreamableHTTPClientTransport, SSEClientTransport, ...types } =
  script.sdk === "1"
    ? {
        ...(await import("@modelcontextprotocol/sdk/client/index.js")),
        ...(await import("@modelcontextprotocol/sdk/client/streamableHttp.js")),
        ...(await import("@modelcontextprotocol/sdk/client/sse.js")),
        ...(await import("@modelcontextprotocol/sdk/types.js")),
      }
    : await import("@modelcontextprotocol/client");

const QUESTIONS = {
  "elicitation/create": ["elicitation", "ElicitRequestSchema"],
  "sampling/createMessage": ["sampling", "CreateMessageRequestSchema"],
  "roots/list": ["roots", "ListRootsRequestSchema"],
};
const replies = Object.entries(script.replies);

const options = { capabilities: Object.fromEntries(replies.map(([method]) => [QUESTIONS[method][0], {}])) };
if (script.pin) options.versionNegotiation = { mode: { pin: script.pin } };
const client = new Client({ name: "harness", version: "1" }, options);
const asked = [];
for (const [method, reply] of replies) {
  client.setRequestHandler(script.sdk === "1" ? types[QUESTIONS[method][1]] : method, async ({ params }) => {
    asked.push([method, params ?? {}]);
    return reply;
  });
}
const Transport = script.url.endsWith("/sse") ? SSEClientTransport : StreamableHTTPClientTransport;
const transport = new Transport(new URL(script.url), {
  requestInit: { headers: script.headers },
});
await client.connect(transport);

const answers = [];
for (const [method, argument] of script.steps) {
  try {
    answers.push({ result: await client[method](argument) });
  } catch ({ code, message, data }) {
    answers.push({ error: { code, message, data } });
  }
}
const revision = client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion ?? null;
await client.close();
console.log(JSON.stringify({ revision, answers, asked }));
