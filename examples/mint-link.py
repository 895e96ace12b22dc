#!/usr/bin/env python3
"""Mints a referral link offline, with the partner's own key (trbm_…).

    MINT_KEY=trbm_… mint-link.py BASE_URL LINK_NUMBER [YYYY-MM-DD]

LINK_NUMBER is yours to choose, from 2147483648 to 4294967295; the date is the last day (UTC).
Sub-ids and a deep link may follow as parameters: …?sub1=sidebar&url=https%3A%2F%2Fshop.example%2Fitem
"""
import base64, datetime, hashlib, hmac, os, struct, sys

base, number, *until = sys.argv[1:]
key = base64.urlsafe_b64decode(os.environ["MINT_KEY"].removeprefix("trbm_") + "==")
days = (datetime.date.fromisoformat(until[0]) - datetime.date(2020, 1, 1)).days if until else 0
payload = key[:8] + struct.pack(">IH", int(number), days)
mac = hmac.new(key[8:], b"tributary/link/v2\0" + payload, hashlib.sha256).digest()[:16]
print(f"{base}/r/{base64.urlsafe_b64encode(payload + mac).decode()}")
