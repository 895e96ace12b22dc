#!/usr/bin/env node
// Reports a sale to Tributary, signed by Standard Webhooks. Needs Node 18 alone.
//
//   examples/send-conversion.mjs CLICK_ID ORDER_ID AMOUNT CURRENCY
//
// TRIBUTARY_URL, SOURCE_ID and SOURCE_SECRET come from the environment.
import { createHmac } from 'node:crypto';
const { TRIBUTARY_URL, SOURCE_ID, SOURCE_SECRET } = process.env;
const [click_id, order_id, amount, currency] = process.argv.slice(2);
if (!currency) { console.error('usage: CLICK_ID ORDER_ID AMOUNT CURRENCY'); process.exit(2); }
const id = `order-${order_id}-${Date.now()}`; // a retry sends id and body unchanged
const data = { click_id, event: 'sale', order_id, amount, currency };
const body = JSON.stringify({ type: 'conversion.created', timestamp: new Date(), data });
const key = Buffer.from(SOURCE_SECRET.replace(/^whsec_/, ''), 'base64');
let answer, tries = 0;
do { // not stored, or no answer: send it again, later
  await new Promise((wake) => setTimeout(wake, tries * 1000));
  const now = Math.floor(Date.now() / 1000);
  const mac = createHmac('sha256', key).update(`${id}.${now}.${body}`).digest('base64');
  const headers = { 'content-type': 'application/json', 'webhook-id': id,
    'webhook-timestamp': `${now}`, 'webhook-signature': `v1,${mac}` };
  answer = await fetch(`${TRIBUTARY_URL}/v1/webhooks/${SOURCE_ID}`,
    { method: 'POST', body, headers }).catch(() => Response.error());
} while (++tries < 5 && [0, 429, 503].includes(answer.status));
console.log(await answer.text() || 'no answer'); // a refusal says which field, why, and what to do
process.exitCode = answer.ok ? 0 : 1;
