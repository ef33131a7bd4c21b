// Receive Signing Relay's webhooks in Node: npm install && WEBHOOK_SECRET=whsec_… node verify.mjs
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.WEBHOOK_SECRET);

createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  try {
    const notification = webhook.verify(Buffer.concat(chunks), request.headers); // the raw bytes
    console.log(notification.request_id, notification.signature ?? notification.message);
    response.writeHead(204).end();
  } catch {
    response.writeHead(401).end();
  }
}).listen(Number(process.env.PORT ?? 3000), "127.0.0.1", function () {
  console.log(`listening on ${this.address().port}`);
});
