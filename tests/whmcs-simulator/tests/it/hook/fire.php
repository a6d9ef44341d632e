// Does what WHMCS does with the files of includes/hooks: reads them, and calls what they have
// registered when something happens.
define('WHMCS', true);
error_reporting(E_ALL);
set_error_handler(function ($number, $message) { throw new ErrorException($message); });
$registered = [];
function add_hook($point, $priority, $function) { $GLOBALS['registered'][$point][] = $function; }
function logActivity($text) { echo $text, "\n"; }
require $argv[1] . '/includes/hooks/stowage.php';
// Ids come as numbers and as texts. Source: WHMCS developer documentation, "Hooks".
$vars = [
    'invoiceid' => '2', 'orderid' => 3, 'orderId' => 3, 'userId' => 1, 'invoiceId' => 2,
    'userid' => '1', 'relid' => 4, 'serviceid' => 4, 'reason' => 'moved',
    'params' => ['userid' => 1, 'serviceid' => '4'],
];
foreach ($registered as $functions) {
    foreach ($functions as $function) {
        $function($vars);
    }
}
