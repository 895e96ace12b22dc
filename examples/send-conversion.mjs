#!/usr/bin/env node
// Reports a sale to Tributary, signed by Standard Webhooks. Needs Node 18 alone.
//
//   examples/send-conversion.mjs CLICK_ID ORDER_ID AMOUNT CURRENCY
//
// TRIBUTARY_URL, SOURCE_ID and SOURCE_SECRET come from the environment.
import { createHmac } from 'node:crypto';

const { TRIBUTARY_URL, SOURCE_ID, SOURCE_SECRET } = process.env;
const [click_id, order_id, amount, currency] = process.argv.slice(2);
if (!currency) {
  console.error('usage: send-conversion.mjs CLICK_ID ORDER_ID AMOUNT CURRENCY');
  process.exit(2);
}
const now = Math.floor(Date.now() / 1000);
const id = `order-${order_id}-${now}`; // a retry sends id and body unchanged
const data = { click_id, event: 'sale', order_id, amount, currency };
const timestamp = new Date(now * 1000).toISOString();
const body = JSON.stringify({ type: 'conversion.created', timestamp, data });
const key = Buffer.from(SOURCE_SECRET.replace(/^whsec_/, ''), 'base64');
const mac = createHmac('sha256', key).update(`${id}.${now}.${body}`).digest('base64');
const answer = await fetch(`${TRIBUTARY_URL}/v1/webhooks/${SOURCE_ID}`, {
  method: 'POST',
  body,
  headers: { 'content-type': 'application/json', 'webhook-id': id, 'webhook-timestamp': `${now}`,
    'webhook-signature': `v1,${mac}` },
});
console.log(await answer.text()); // a refusal says which field, why, and what to do
process.exitCode = answer.ok ? 0 : 1;
