<?php
// What clients in PHP do: `http_build_query`, sent by `file_get_contents` and by curl.
// Arguments: address of the facade, token, id of a plan. Exits with 1 at the first wrong answer.
declare(strict_types=1);
set_error_handler(function (int $level, string $message): bool {
    throw new ErrorException($message);
});
[, $base, $token, $plan_id] = $argv;

function check(bool $fact, string $what, mixed $answer = null): void
{
    if (!$fact) {
        fwrite(STDERR, "wrong: $what: " . json_encode($answer) . "\n");
        exit(1);
    }
}

function stream(string $method, string $url, array $http): array
{
    $http += ['method' => $method, 'ignore_errors' => true, 'timeout' => 60];
    $text = file_get_contents($url, false, stream_context_create(['http' => $http]));
    [, $status] = explode(' ', $http_response_header[0]);
    return [(int) $status, json_decode($text, true, 512, JSON_THROW_ON_ERROR)];
}

function curl(string $url, array $options): array
{
    $handle = curl_init($url);
    curl_setopt_array($handle, $options + [CURLOPT_RETURNTRANSFER => true, CURLOPT_TIMEOUT => 60]);
    $text = curl_exec($handle);
    check(is_string($text), curl_error($handle));
    $status = curl_getinfo($handle, CURLINFO_HTTP_CODE);
    return [$status, json_decode($text, true, 512, JSON_THROW_ON_ERROR)];
}

$form = ['header' => "Content-Type: application/x-www-form-urlencoded\r\n"];
$senders = [
    'stream-post' => fn ($url, $fields) =>
        stream('POST', $url, $form + ['content' => http_build_query($fields)]),
    'curl-form' => fn ($url, $fields) =>
        curl($url, [CURLOPT_POST => true, CURLOPT_POSTFIELDS => http_build_query($fields)]),
    'curl-multipart' => fn ($url, $fields) =>
        curl($url, [CURLOPT_POST => true, CURLOPT_POSTFIELDS => $fields]),
];
$readers = $senders + [
    'stream-get' => fn ($url, $fields) =>
        stream('GET', $url . '?' . http_build_query($fields), []),
    'stream-get-body' => fn ($url, $fields) =>
        stream('GET', $url, $form + ['content' => http_build_query($fields)]),
    'curl-get-body' => fn ($url, $fields) => curl($url, [
        CURLOPT_CUSTOMREQUEST => 'GET',
        CURLOPT_POSTFIELDS => http_build_query($fields),
    ]),
];

$order = ['action' => 'create_order', 'token' => $token, 'plan_id' => (int) $plan_id];
[$status, $answer] = $senders['stream-post']("$base/s3/create_order", $order + [
    'bucket_name' => 'php-first',
    'location' => null,
]);
check($status === 200 && $answer['result'] === 'OK', 'create_order', $answer);
$s3uid = $answer['s3uid'];
check(is_string($s3uid) && is_int($answer['order_id']), 'types of create_order', $answer);

foreach ($senders as $name => $send) {
    $fields = ['token' => $token, 's3uid' => $s3uid, 'bucket_name' => "php-$name"];
    [, $answer] = $send("$base/s3/create_bucket", $fields);
    check($answer['bucket_name'] === "php-$name", "create_bucket by $name", $answer);
    [, $answer] = $send("$base/s3.php", $fields + ['action' => 'delete_bucket']);
    check($answer['action'] === 'delete_bucket', "delete_bucket by $name", $answer);
}
foreach ($readers as $name => $send) {
    $fields = ['token' => $token, 's3uid' => $s3uid];
    [$status, $answer] = $send("$base/s3/get_buckets", $fields);
    check($status === 200 && $answer['buckets'][0]['name'] === 'php-first', $name, $answer);
    check($answer['buckets'][0]['snapshots'] === [], "an empty list by $name", $answer);
    [, $answer] = $send("$base/s3/list_plans", $fields + ['active' => true, 'id' => $plan_id]);
    check($answer['plans'][0]['price']['price']['EUR'] === 9.8, "a price by $name", $answer);
    check($answer['plans'][0]['price']['base_price'] === 10.0, "a base price by $name", $answer);
    check($answer['plans'][0]['active'] === 1, "active by $name", $answer);
    [, $answer] = $send("$base/s3/get_files", $fields + ['bucket' => 'php-first', 'limit' => 5]);
    check($answer['files'] === [] && $answer['is_truncated'] === false, "files by $name", $answer);
    [$status, $answer] = $send("$base/s3/get_buckets", ['s3uid' => '7'] + $fields);
    check($status === 200 && $answer['code'] === -1, "a failure by $name", $answer);
    check($answer['error'] === $answer['message'], "its texts by $name", $answer);
    [$status, $answer] = $send("$base/s3/list_plans", ['token' => 'gone']);
    check($status === 401 && $answer['message'] === 'invalid token', "a 401 by $name", $answer);
}
// Nested fields become brackets; a field of curl's multipart may not nest.
$nested = ['params' => ['token' => $token, 's3uid' => $s3uid, 'max_keys' => 1, 'page' => null]];
foreach (['stream-post', 'curl-form', 'stream-get', 'stream-get-body', 'curl-get-body'] as $name) {
    $fields = $nested + ['bucket_name' => 'php-first', 'ids' => [1, 2]];
    [, $answer] = $readers[$name]("$base/s3/get_files", $fields);
    check($answer['result'] === 'OK' && $answer['key_count'] === 0, "brackets by $name", $answer);
}
echo "all was right\n";
