#!/usr/bin/env php
<?php
// Reports a sale to Tributary, signed by Standard Webhooks. Needs PHP 7.4 alone.
//
//   examples/send-conversion.php CLICK_ID ORDER_ID AMOUNT CURRENCY
//
// TRIBUTARY_URL, SOURCE_ID and SOURCE_SECRET come from the environment.
if ($argc !== 5) { fwrite(STDERR, "usage: CLICK_ID ORDER_ID AMOUNT CURRENCY\n"); exit(2); }
$data = array_combine(['click_id', 'order_id', 'amount', 'currency'], array_slice($argv, 1)) + ['event' => 'sale'];
$id = "order-{$data['order_id']}-" . hrtime(true); // a retry sends id and body unchanged
$body = json_encode(['type' => 'conversion.created', 'timestamp' => gmdate('Y-m-d\TH:i:s\Z'), 'data' => $data]);
$key = base64_decode(preg_replace('/^whsec_/', '', getenv('SOURCE_SECRET')));
$url = getenv('TRIBUTARY_URL') . '/v1/webhooks/' . getenv('SOURCE_ID');
foreach ([1, 2, 3, 4, 0] as $wait) {
    [$now, $http_response_header] = [time(), []];
    $mac = base64_encode(hash_hmac('sha256', "$id.$now.$body", $key, true));
    $headers = ['content-type: application/json', "webhook-id: $id",
        "webhook-timestamp: $now", "webhook-signature: v1,$mac"];
    $answer = @file_get_contents($url, false, stream_context_create(['http' => ['method' => 'POST',
        'content' => $body, 'header' => $headers, 'timeout' => 30, 'ignore_errors' => true]]));
    $status = (int) substr($http_response_header[0] ?? 'HTTP/1.1 503', 9, 3);
    if (!$wait || !in_array($status, [429, 503])) break; // not stored, or no answer: send it again, later
    sleep($wait);
}
echo $answer === false ? 'no answer' : $answer, "\n"; // a refusal says which field, why, and what to do
exit($status < 300 ? 0 : 1);
