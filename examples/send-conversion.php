#!/usr/bin/env php
<?php
// Reports a sale to Tributary, signed by Standard Webhooks. Needs PHP 7.4 alone.
//
//   examples/send-conversion.php CLICK_ID ORDER_ID AMOUNT CURRENCY
//
// TRIBUTARY_URL, SOURCE_ID and SOURCE_SECRET come from the environment.
if ($argc !== 5) {
    fwrite(STDERR, "usage: send-conversion.php CLICK_ID ORDER_ID AMOUNT CURRENCY\n");
    exit(2);
}
[, $click, $order, $amount, $currency] = $argv;
$now = time();
$id = "order-$order-$now"; // a retry sends id and body unchanged
$body = json_encode(['type' => 'conversion.created', 'timestamp' => gmdate('Y-m-d\TH:i:s\Z', $now),
    'data' => ['click_id' => $click, 'event' => 'sale', 'order_id' => $order,
        'amount' => $amount, 'currency' => $currency]]);
$key = base64_decode(preg_replace('/^whsec_/', '', getenv('SOURCE_SECRET')));
$mac = base64_encode(hash_hmac('sha256', "$id.$now.$body", $key, true));
$answer = file_get_contents(getenv('TRIBUTARY_URL') . '/v1/webhooks/' . getenv('SOURCE_ID'), false,
    stream_context_create(['http' => ['method' => 'POST', 'content' => $body, 'ignore_errors' => true,
        'header' => ['content-type: application/json', "webhook-id: $id",
            "webhook-timestamp: $now", "webhook-signature: v1,$mac"]]]));
echo $answer, "\n"; // a refusal says which field, why, and what to do
exit(preg_match('/ 2\d\d /', $http_response_header[0] ?? '') ? 0 : 1);
