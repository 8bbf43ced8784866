// A Lambda function in Node that does what get-member does: look at the key, read the member.
// Its loop asks the Runtime API as Lambda's own client for Node does, and nothing more.

import { createHash, timingSafeEqual } from "node:crypto";
import { DynamoDBClient, GetItemCommand } from "@aws-sdk/client-dynamodb";

const { AWS_LAMBDA_RUNTIME_API, AWS_ENDPOINT_URL_DYNAMODB, KEYS_TABLE, MEMBERS_TABLE } = process.env;
const dynamodb = new DynamoDBClient({ endpoint: AWS_ENDPOINT_URL_DYNAMODB });

async function handle(event) {
  const [, encoded] = event.headers.authorization.split(" ");
  const [keyId, secret] = Buffer.from(encoded, "base64").toString().split(":", 2);
  const key = await dynamodb.send(
    new GetItemCommand({ TableName: KEYS_TABLE, Key: { key_id: { S: keyId } } }),
  );
  const digest = createHash("sha256").update(secret).digest("hex");
  if (!timingSafeEqual(Buffer.from(key.Item.secret_hash.S), Buffer.from(digest))) {
    return { statusCode: 401 };
  }
  const [account, client] = event.pathParameters.id.split("~");
  const member = await dynamodb.send(
    new GetItemCommand({
      TableName: MEMBERS_TABLE,
      Key: { account_id: { S: account }, client_member_id: { S: client } },
      ConsistentRead: true,
    }),
  );
  if (!member.Item) return { statusCode: 404 };
  const fields = Object.entries(member.Item).map(([name, value]) => [name, value.S]);
  return { statusCode: 200, body: JSON.stringify(Object.fromEntries(fields)) };
}

const runtime = `http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation`;
for (;;) {
  const invocation = await fetch(`${runtime}/next`);
  const id = invocation.headers.get("lambda-runtime-aws-request-id");
  const answer = JSON.stringify(await handle(await invocation.json()));
  await fetch(`${runtime}/${id}/response`, { method: "POST", body: answer });
}
