<?php
/**
 * Tells Stowage what has happened here, so that it need not wait until it asks.
 *
 * Goes into includes/hooks/ of WHMCS; its settings into includes/stowage.config.php. See README.md.
 *
 * Each message is signed with HMAC-SHA256 over "<timestamp>.<body>". Nothing here waits longer than
 * three seconds or fails: Stowage asks by itself for what it was not told.
 */

if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

/** Sends one message. */
function stowage_tell(string $event, array $ids): void
{
    $file = dirname(__DIR__) . '/stowage.config.php';
    $config = is_readable($file) ? include $file : null;
    if (!is_array($config) || empty($config['url']) || empty($config['secret'])) {
        return;
    }
    try {
        $ids = array_filter($ids, static fn ($id) => is_numeric($id) && (int) $id > 0);
        // Without it two messages of one second would be one.
        $nonce = bin2hex(random_bytes(8));
        $body = json_encode(['event' => $event, 'nonce' => $nonce] + array_map('intval', $ids));
        $timestamp = (string) time();
        $signature = hash_hmac('sha256', $timestamp . '.' . $body, $config['secret']);
        $curl = curl_init($config['url']);
        curl_setopt_array($curl, [
            CURLOPT_POST => true,
            CURLOPT_POSTFIELDS => $body,
            CURLOPT_HTTPHEADER => [
                'Content-Type: application/json',
                'X-Stowage-Timestamp: ' . $timestamp,
                'X-Stowage-Signature: sha256=' . $signature,
            ],
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_FOLLOWLOCATION => false,
            CURLOPT_CONNECTTIMEOUT => 2,
            CURLOPT_TIMEOUT => 3,
        ]);
        curl_exec($curl);
        $status = (int) curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
        if (($status < 200 || $status > 299) && function_exists('logActivity')) {
            logActivity("Stowage was not told of $event: " . ($status ?: curl_error($curl)));
        }
    } catch (\Throwable $error) {
        if (function_exists('logActivity')) {
            logActivity("Stowage was not told of $event: " . $error->getMessage());
        }
    }
}

foreach (
    ['InvoiceCreated', 'InvoicePaid', 'InvoiceUnpaid', 'InvoiceCancelled', 'InvoiceRefunded'] as $event
) {
    add_hook($event, 1, static function ($vars) use ($event) {
        stowage_tell($event, ['invoiceid' => $vars['invoiceid'] ?? 0]);
    });
}

foreach (['AcceptOrder', 'CancelOrder', 'PendingOrder', 'FraudOrder', 'DeleteOrder'] as $event) {
    add_hook($event, 1, static function ($vars) use ($event) {
        stowage_tell($event, ['orderid' => $vars['orderid'] ?? 0]);
    });
}

add_hook('OrderPaid', 1, static function ($vars) {
    stowage_tell('OrderPaid', [
        'orderid' => $vars['orderId'] ?? 0,
        'userid' => $vars['userId'] ?? 0,
        'invoiceid' => $vars['invoiceId'] ?? 0,
    ]);
});

add_hook('CancellationRequest', 1, static function ($vars) {
    stowage_tell('CancellationRequest', [
        'userid' => $vars['userid'] ?? 0,
        'serviceid' => $vars['relid'] ?? 0,
    ]);
});

foreach (['ServiceEdit', 'ServiceDelete'] as $event) {
    add_hook($event, 1, static function ($vars) use ($event) {
        stowage_tell($event, [
            'userid' => $vars['userid'] ?? 0,
            'serviceid' => $vars['serviceid'] ?? 0,
        ]);
    });
}

foreach (
    ['AfterModuleCreate', 'AfterModuleSuspend', 'AfterModuleUnsuspend', 'AfterModuleTerminate'] as $event
) {
    add_hook($event, 1, static function ($vars) use ($event) {
        stowage_tell($event, [
            'userid' => $vars['params']['userid'] ?? 0,
            'serviceid' => $vars['params']['serviceid'] ?? 0,
        ]);
    });
}
