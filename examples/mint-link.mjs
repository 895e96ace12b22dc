// Mints a referral link offline, with the partner's own key (trbm_…).
//
//     MINT_KEY=trbm_… node mint-link.mjs BASE_URL LINK_NUMBER [YYYY-MM-DD]
//
// LINK_NUMBER is yours to choose, from 2147483648 to 4294967295; the date is the last day (UTC).
// Sub-ids and a deep link may follow as parameters: …?sub1=sidebar&url=https%3A%2F%2Fshop.example%2Fitem
import { createHmac } from 'node:crypto';

const [base, number, until] = process.argv.slice(2);
const key = Buffer.from(process.env.MINT_KEY.slice(5), 'base64url');
const days = until ? (Date.parse(until) - Date.parse('2020-01-01')) / 86_400_000 : 0;
const payload = Buffer.alloc(14);
key.copy(payload, 0, 0, 8);
payload.writeUInt32BE(Number(number), 8);
payload.writeUInt16BE(days, 12);
const mac = createHmac('sha256', key.subarray(8)).update('tributary/link/v2\0').update(payload).digest();
console.log(`${base}/r/${Buffer.concat([payload, mac.subarray(0, 16)]).toString('base64url')}`);
