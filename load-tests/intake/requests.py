#!/usr/bin/env python3
"""Writes signed conversion webhooks as raw HTTP requests, one record each, for wrk.

    requests.py HOST:PORT SOURCE_ID SECRET CLICK_ID N > requests.bin

A record is its length as eight decimal digits, then the request. Every request has an order and a
message id of its own, so none is a duplicate.
"""
import base64, hashlib, hmac, sys, time, uuid

host, source, secret, click_id, n = sys.argv[1:6]
key = base64.b64decode(secret.removeprefix("whsec_"))
run, now = uuid.uuid4().hex[:12], int(time.time())
stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
out = sys.stdout.buffer
for i in range(int(n)):
    message = f"msg_{run}_{i}"
    body = (
        f'{{"type":"conversion.created","timestamp":"{stamp}","data":{{"click_id":"{click_id}",'
        f'"event":"sale","order_id":"{run}-{i}","amount":"149.90","currency":"EUR"}}}}'
    ).encode()
    mac = hmac.new(key, f"{message}.{now}.".encode() + body, hashlib.sha256).digest()
    head = (
        f"POST /v1/webhooks/{source} HTTP/1.1\r\nHost: {host}\r\ncontent-type: application/json\r\n"
        f"webhook-id: {message}\r\nwebhook-timestamp: {now}\r\n"
        f"webhook-signature: v1,{base64.b64encode(mac).decode()}\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode()
    out.write(b"%08d" % (len(head) + len(body)) + head + body)
