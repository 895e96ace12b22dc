<?php
// Mints a referral link offline, with the partner's own key (trbm_…).
//
//     MINT_KEY=trbm_… php mint-link.php BASE_URL LINK_NUMBER [YYYY-MM-DD]
//
// LINK_NUMBER is yours to choose, from 2147483648 to 4294967295; the date is the last day (UTC).
// Sub-ids and a deep link may follow as parameters: …?sub1=sidebar&url=https%3A%2F%2Fshop.example%2Fitem
[, $base, $number] = $argv;
$key = base64_decode(strtr(substr(getenv('MINT_KEY'), 5), '-_', '+/'));
$day = fn(string $text) => intdiv(strtotime("$text UTC"), 86400);
$days = isset($argv[3]) ? $day($argv[3]) - $day('2020-01-01') : 0;
$payload = substr($key, 0, 8) . pack('Nn', (int) $number, $days);
$mac = hash_hmac('sha256', "tributary/link/v2\0" . $payload, substr($key, 8), true);
echo $base, '/r/', strtr(base64_encode($payload . substr($mac, 0, 16)), '+/', '-_'), "\n";
