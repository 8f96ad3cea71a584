// A server on the TypeScript SDK 2.x over stdio. It answers whichever era it is opened in.

import { McpServer, acceptedContent, fromJsonSchema, inputRequired } from "@modelcontextprotocol/server";
import { serveStdio } from "@modelcontextprotocol/server/stdio";

const object = (properties) =>
  fromJsonSchema({ type: "object", properties, required: Object.keys(properties) });
const said = (text) => ({ content: [{ type: "text", text }] });
const colour = { type: "object", properties: { colour: { type: "string" } }, required: ["colour"] };

function factory() {
  const server = new McpServer({ name: "typescript", version: "1" }, { instructions: "Written in TypeScript." });
  const readOnly = { readOnlyHint: true };
  server.registerTool(
    "echo",
    { inputSchema: object({ text: { type: "string" } }), annotations: readOnly },
    async ({ text }) => said(text),
  );
  server.registerTool("ask", { inputSchema: object({}), annotations: readOnly }, async (_, context) => {
    const answer = acceptedContent(context.mcpReq.inputResponses, "asked", fromJsonSchema(colour));
    if (answer) return said(`likes ${answer.colour}`);
    const asked = inputRequired.elicit({ message: "Which colour?", requestedSchema: colour });
    return inputRequired({ inputRequests: { asked } });
  });
  server.registerResource("note", "note://typescript", {}, async (uri) => ({
    contents: [{ uri: uri.href, text: "A note." }],
  }));
  server.registerPrompt("greet", { argsSchema: object({ name: { type: "string" } }) }, async ({ name }) => ({
    messages: [{ role: "user", content: { type: "text", text: `Greet ${name}.` } }],
  }));
  return server;
}

serveStdio(factory);
