#!/usr/bin/env python3
"""Reports a sale to Tributary, signed by Standard Webhooks. Needs Python 3.9 alone.

  examples/send-conversion.py CLICK_ID ORDER_ID AMOUNT CURRENCY

TRIBUTARY_URL, SOURCE_ID and SOURCE_SECRET come from the environment."""
import base64, hmac, json, os, sys, time, urllib.request as web

if len(sys.argv) != 5: sys.exit("usage: CLICK_ID ORDER_ID AMOUNT CURRENCY")
data = dict(zip(["click_id", "order_id", "amount", "currency"], sys.argv[1:]), event="sale")
message_id = f"order-{data['order_id']}-{time.time_ns()}"  # a retry sends id and body unchanged
at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
body = json.dumps({"type": "conversion.created", "timestamp": at, "data": data}).encode()
key = base64.b64decode(os.environ["SOURCE_SECRET"].removeprefix("whsec_"))
url = f"{os.environ['TRIBUTARY_URL']}/v1/webhooks/{os.environ['SOURCE_ID']}"
for wait in (1, 2, 3, 4, 0):
    now = str(int(time.time()))
    mac = base64.b64encode(hmac.digest(key, f"{message_id}.{now}.".encode() + body, "sha256"))
    headers = {"content-type": "application/json", "webhook-id": message_id,
               "webhook-timestamp": now, "webhook-signature": "v1," + mac.decode()}
    try:
        print(web.urlopen(web.Request(url, body, headers), timeout=30).read().decode())
        break
    except OSError as error:  # not stored, or no answer: send it again, later
        if not wait or getattr(error, "code", 503) not in (429, 503):  # a refusal says what to do
            sys.exit(error.read().decode() if hasattr(error, "read") else f"no answer: {error}")
        time.sleep(wait)
