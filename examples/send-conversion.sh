#!/bin/sh
# Reports a sale to Tributary, signed by Standard Webhooks. Needs curl and openssl.
#
#   examples/send-conversion.sh CLICK_ID ORDER_ID AMOUNT CURRENCY
#
# TRIBUTARY_URL, SOURCE_ID and SOURCE_SECRET come from the environment. Calling it again with the
# same order is safe: an order is paid once.
set -eu
[ $# -eq 4 ] || { echo "usage: $0 CLICK_ID ORDER_ID AMOUNT CURRENCY" >&2; exit 2; }

now=$(date -u '+%s %Y-%m-%dT%H:%M:%SZ')
timestamp=${now% *}
id="order-$2-$timestamp-$$" # a new id for each message; a retry sends id and body unchanged
body=$(printf '{"type":"conversion.created","timestamp":"%s","data":{"click_id":"%s","event":"sale","order_id":"%s","amount":"%s","currency":"%s"}}' \
    "${now#* }" "$1" "$2" "$3" "$4")

# The key is the decoded part behind whsec_; the signature covers id, timestamp and the raw body.
key=$(printf '%s' "${SOURCE_SECRET#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
signature=$(printf '%s.%s.%s' "$id" "$timestamp" "$body" |
    openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A)

# Not stored, or no answer: curl sends it again, later. A refusal says which field, why, what to do.
curl -sS --retry 4 --retry-connrefused "$TRIBUTARY_URL/v1/webhooks/$SOURCE_ID" \
    -H 'content-type: application/json' \
    -H "webhook-id: $id" \
    -H "webhook-timestamp: $timestamp" \
    -H "webhook-signature: v1,$signature" \
    --data-binary "$body"
echo
