#!/usr/bin/env python3
"""Writes signed conversion webhooks as raw HTTP requests, one record each, for wrk.

    requests.py HOST:PORT SOURCE_ID SECRET CLICK_ID N [PER_REQUEST] > requests.bin

A record is its length as eight decimal digits, then the request. Every conversion has an order and a
message id of its own, so none is a duplicate. With PER_REQUEST each request is a batch of so many.
"""
import base64, hashlib, hmac, sys, time, uuid

host, source, secret, click_id, n = sys.argv[1:6]
per_request = int(sys.argv[6]) if len(sys.argv) > 6 else None
key = base64.b64decode(secret.removeprefix("whsec_"))
run, now = uuid.uuid4().hex[:12], int(time.time())
stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
out = sys.stdout.buffer


def sale(order):
    return (f'{{"type":"conversion.created","timestamp":"{stamp}","data":{{"click_id":"{click_id}",'
            f'"event":"sale","order_id":"{run}-{order}","amount":"149.90","currency":"EUR"}}}}')


for i in range(int(n)):
    message, path, body = f"msg_{run}_{i}", f"/v1/webhooks/{source}", sale(i)
    if per_request:
        sales = ",".join(sale(f"{i}-{j}") for j in range(per_request))
        path, body = f"{path}/batch", f'{{"type":"batch","data":[{sales}]}}'
    body = body.encode()
    mac = hmac.new(key, f"{message}.{now}.".encode() + body, hashlib.sha256).digest()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\ncontent-type: application/json\r\n"
        f"webhook-id: {message}\r\nwebhook-timestamp: {now}\r\n"
        f"webhook-signature: v1,{base64.b64encode(mac).decode()}\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode()
    out.write(b"%08d" % (len(head) + len(body)) + head + body)
