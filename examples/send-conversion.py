#!/usr/bin/env python3
"""Reports a sale to Tributary, signed by Standard Webhooks. Needs Python 3 alone.

  examples/send-conversion.py CLICK_ID ORDER_ID AMOUNT CURRENCY

TRIBUTARY_URL, SOURCE_ID and SOURCE_SECRET come from the environment."""
import base64, hashlib, hmac, json, os, sys, time, urllib.request

if len(sys.argv) != 5:
    sys.exit(f"usage: {sys.argv[0]} CLICK_ID ORDER_ID AMOUNT CURRENCY")
click_id, order_id, amount, currency = sys.argv[1:]
now = int(time.time())
message_id = f"order-{order_id}-{now}"  # a retry sends id and body unchanged
body = json.dumps({"type": "conversion.created",
                   "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
                   "data": {"click_id": click_id, "event": "sale", "order_id": order_id,
                            "amount": amount, "currency": currency}}).encode()
key = base64.b64decode(os.environ["SOURCE_SECRET"].removeprefix("whsec_"))
mac = hmac.new(key, f"{message_id}.{now}.".encode() + body, hashlib.sha256).digest()
request = urllib.request.Request(
    f"{os.environ['TRIBUTARY_URL']}/v1/webhooks/{os.environ['SOURCE_ID']}", body,
    {"content-type": "application/json", "webhook-id": message_id, "webhook-timestamp": str(now),
     "webhook-signature": "v1," + base64.b64encode(mac).decode()})
try:
    print(urllib.request.urlopen(request, timeout=30).read().decode())
except urllib.error.HTTPError as refused:  # the body says which field, why, and what to do
    sys.exit(refused.read().decode())
